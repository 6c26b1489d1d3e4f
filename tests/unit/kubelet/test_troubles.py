import pytest

from pybernetes.kubelet.status import Waiting
from pybernetes.kubelet.troubles import POD, RETRY_SECONDS, Troubles


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def troubles(clock) -> Troubles:
    return Troubles(clock)


def test_each_failure_waits_longer(troubles, clock):
    for seconds in (*RETRY_SECONDS, RETRY_SECONDS[-1]):
        troubles.note("web", Waiting("CreateContainerError"))
        assert troubles.until("web") == clock.now + seconds
    assert troubles.next == troubles.until("web")
    clock.now = troubles.next
    assert troubles.next == 0.0


def test_what_works_again_starts_anew(troubles):
    troubles.note("web", Waiting("ErrImagePull"), 10.0)
    assert troubles.count("web") == 1
    troubles.drop("web")
    assert (troubles.count("web"), troubles.until("web"), dict(troubles.waiting)) == (0, 0.0, {})


def test_the_pods_own_trouble_is_no_containers(troubles):
    troubles.note(POD, Waiting("ContainerCreating"))
    troubles.hold("web", Waiting("CrashLoopBackOff", "back-off"))
    assert troubles.waiting == {"web": Waiting("CrashLoopBackOff", "back-off")}
    assert troubles.blocked == {"web": 0.0}
    assert troubles.until(POD) > 0


def test_new_configuration_is_tried_at_once(troubles):
    for name, reason in ((POD, "ContainerCreating"), ("a", "CreateContainerConfigError"), ("b", "ErrImagePull")):
        troubles.note(name, Waiting(reason), 60.0)
    troubles.retry()
    assert [troubles.until(name) > 0 for name in (POD, "a", "b")] == [False, False, True]


def test_a_pull_that_fails_turns_into_being_held_back(troubles, clock):
    troubles.note("web", Waiting("ErrImagePull", "no such image"), 10.0)
    assert troubles.give_up_pulling() == []
    clock.now += 2
    assert troubles.give_up_pulling() == ["web"]
    troubles.say("web", "Back-off: no such image")
    assert troubles.waiting["web"] == Waiting("ImagePullBackOff", "Back-off: no such image")
    assert troubles.give_up_pulling() == []
