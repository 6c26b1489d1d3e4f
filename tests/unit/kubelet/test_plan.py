"""The planner's decisions, as a table of what there is and what is done about it."""

import pytest

from pybernetes.kubelet.lifecycle import Backoff
from pybernetes.kubelet.plan import (
    Finish,
    MakeSandbox,
    Observed,
    RemoveContainer,
    StartContainer,
    StopContainer,
    plan,
)
from pybernetes.kubelet.runtime import Phase
from support.kubelet import container, pod, state

NOW = 1000.0


def actions(the_pod, *containers, **observed):
    observed.setdefault("sandbox", True)
    return plan(the_pod, Observed(containers=containers, **observed), now=NOW).actions


def test_a_pod_begins_with_its_sandbox():
    assert actions(pod(), sandbox=False) == [MakeSandbox()]


def test_a_sandbox_that_failed_is_tried_again_later():
    result = plan(pod(), Observed(sandbox_retry=NOW + 3), now=NOW)
    assert (result.actions, result.again) == ([], NOW + 3)


def test_all_main_containers_start_at_once():
    wanted = [StartContainer("a", 0), StartContainer("b", 0)]
    assert actions(pod("p", container("a"), container("b"))) == wanted


def test_nothing_to_do_while_all_run():
    assert actions(pod(), state()) == []


@pytest.mark.parametrize(
    ("policy", "code", "restarted"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_restart_policy(policy, code, restarted):
    found = actions(pod(restartPolicy=policy), state(exited=code), released=True)
    assert found == ([StartContainer("web", 1)] if restarted else [])


def test_the_first_restart_is_immediate_and_the_second_waits():
    first = actions(pod(), state(exited=1, at=NOW))
    assert first == [StartContainer("web", 1)]
    held = plan(
        pod(),
        Observed(
            containers=[state(attempt=1, exited=1, at=NOW - 1)],
            sandbox=True,
            backoffs={"web": Backoff(10.0, NOW - 2)},
        ),
        now=NOW,
    )
    assert held.actions == []
    assert held.waiting == {"web": "CrashLoopBackOff"}
    assert held.again == NOW + 9


def test_backoff_doubles_to_five_minutes_and_is_forgotten_after_ten():
    backoff, seconds = Backoff(), []
    for step in range(8):
        backoff = backoff.raised(float(step))
        seconds.append(backoff.seconds)
    assert seconds == [10, 20, 40, 80, 160, 300, 300, 300]
    assert backoff.raised(8 + 601).seconds == 10


def test_init_containers_run_in_order():
    the_pod = pod("p", initContainers=[container("one"), container("two")])
    assert actions(the_pod) == [StartContainer("one", 0, init=True)]
    assert actions(the_pod, state("one")) == []
    assert actions(the_pod, state("one", exited=0)) == [StartContainer("two", 0, init=True)]
    done = (state("one", exited=0), state("two", exited=0))
    assert actions(the_pod, *done) == [StartContainer("web", 0)]


def test_a_failed_init_container_fails_a_pod_that_never_restarts():
    the_pod = pod("p", initContainers=[container("one")], restartPolicy="Never")
    assert actions(the_pod, state("one", exited=1)) == [Finish(delete=False)]
    assert actions(the_pod, state("one", exited=1), released=True) == []


def test_a_sidecar_runs_beside_the_main_containers():
    the_pod = pod("p", initContainers=[container("proxy", restartPolicy="Always")])
    assert actions(the_pod) == [StartContainer("proxy", 0, init=True)]
    assert actions(the_pod, state("proxy")) == []
    assert actions(the_pod, state("proxy"), started=frozenset({"proxy-0"})) == [StartContainer("web", 0)]
    again = actions(the_pod, state("proxy", exited=0), state())
    assert again == [StartContainer("proxy", 1, init=True)]


def test_an_unhealthy_container_is_stopped_once():
    stop = StopContainer("web-0", "web", 30.0, "failed")
    assert actions(pod(), state(), unhealthy={"web-0": "failed"}) == [stop]
    assert actions(pod(), state(), unhealthy={"web-0": "failed"}, stopping=frozenset({"web-0"})) == []


def test_deletion_stops_main_containers_then_sidecars_then_finishes():
    the_pod = pod("p", initContainers=[container("proxy", restartPolicy="Always")])
    the_pod["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 5}
    both = (state("proxy"), state())
    assert actions(the_pod, *both) == [StopContainer("web-0", "web", 5.0, "Stopping container web")]
    assert actions(the_pod, *both, stopping=frozenset({"web-0"})) == []
    last = actions(the_pod, state("proxy"), state(exited=0))
    assert last == [StopContainer("proxy-0", "proxy", 5.0, "Stopping container proxy")]
    assert actions(the_pod, state("proxy", exited=0), state(exited=0)) == [Finish(delete=True)]


def test_an_orphan_gets_two_seconds():
    assert actions(pod(), state(), orphan=True)[0].grace_seconds == 2.0


def test_old_attempts_are_forgotten_but_for_the_previous():
    found = actions(pod(), state(attempt=3), state(attempt=2, exited=1), state(attempt=1, exited=1))
    assert found == [RemoveContainer("web-1")]


def test_a_container_that_was_created_but_never_started_is_made_anew():
    found = actions(pod(), state(phase=Phase.CREATED))
    assert found == [RemoveContainer("web-0"), StartContainer("web", 0)]


def test_a_container_that_cannot_be_created_waits_its_time():
    result = plan(pod(), Observed(sandbox=True, blocked={"web": NOW + 5}), now=NOW)
    assert (result.actions, result.again) == ([], NOW + 5)


def test_the_deadline_ends_the_pod():
    the_pod = pod(activeDeadlineSeconds=10) | {"status": {"startTime": "1970-01-01T00:16:00Z"}}  # 960
    assert [type(action) for action in actions(the_pod, state())] == [StopContainer]
    the_pod["status"]["startTime"] = "1970-01-01T00:16:35Z"
    assert plan(the_pod, Observed(containers=[state()], sandbox=True), now=NOW).again == 1005.0


DEBUG = {"name": "debug", "image": "host", "command": ["sh"]}


def test_an_ephemeral_container_is_started_beside_the_others_and_never_again():
    asked = pod(ephemeralContainers=[DEBUG])
    assert actions(asked, state()) == [StartContainer("debug", 0)]
    assert actions(asked, state(), state("debug")) == []
    assert actions(asked, state(), state("debug", exited=1)) == []


def test_an_ephemeral_container_ends_with_its_pod():
    asked = pod(ephemeralContainers=[DEBUG], restartPolicy="Never")
    ended = actions(asked, state(exited=0), state("debug"), released=True)
    assert [(type(each), each.name) for each in ended] == [(StopContainer, "debug")]
