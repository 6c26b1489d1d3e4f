"""StatefulSets: order, identity, updates from the top."""

from collections.abc import AsyncIterator

import pytest

from pybernetes.api.objects import Obj, labels_of, name_of
from pybernetes.api.resources import NODES, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from pybernetes.controllers.revisions import HASH
from pybernetes.controllers.statefulset import StatefulSetController
from pybernetes.controllers.statefulset_plan import Work, plan, pod_for
from pybernetes.scheduler import Scheduler
from support.control_plane import Stage
from support.objects import node, pod, workload


def stateful(**spec: object) -> Obj:
    return workload("StatefulSet", serviceName="web", **spec)


def one(ordinal: int, *, revision: str = "r1", ready: bool = True, **more: object) -> Obj:
    return pod(f"web-{ordinal}", ready=ready, labels={HASH: revision}, **more)


def step(found: Obj, *pods: Obj, update: str = "r1") -> tuple[list[tuple[int, str]], list[str]]:
    work: Work = plan(found, pods, current="r1", update=update, gone=lambda pod: False, now=0.0)
    return work.create, [name_of(pod) for pod in work.delete]


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([], ([(0, "r1")], [])),
        ([one(0, ready=False)], ([], [])),
        ([one(0)], ([(1, "r1")], [])),
        ([one(0), one(2)], ([(1, "r1")], [])),
        ([one(0), one(1), one(2)], ([], [])),
        ([one(0), one(1, phase="Failed"), one(2)], ([], ["web-1"])),
        ([one(0), one(1), one(2), one(3), one(4)], ([], ["web-4"])),
    ],
)
def test_one_step_at_a_time(pods: list[Obj], expected: object) -> None:
    assert step(stateful(), *pods) == expected


@pytest.mark.parametrize(
    ("pods", "deleted"),
    [
        ([one(0), one(1), one(2)], ["web-2"]),
        ([one(0, ready=False), one(1, ready=False), one(2, ready=False)], []),
        ([one(0), one(1, ready=False), one(2)], ["web-2"]),
        ([one(0), one(1, ready=False), one(2, ready=False)], []),
        ([one(0), one(1), one(2, ready=False)], ["web-2"]),
        ([one(0, ready=False)], ["web-0"]),
    ],
)
def test_scaling_down_waits_for_pods_that_are_not_ready_but_for_the_lowest(pods: list[Obj], deleted: list[str]) -> None:
    assert step(stateful(replicas=0), *pods) == ([], deleted)


def test_parallel_sets_do_all_at_once() -> None:
    both = stateful(podManagementPolicy="Parallel", replicas=3, ordinals={"start": 5})
    assert step(both) == ([(5, "r1"), (6, "r1"), (7, "r1")], [])


@pytest.mark.parametrize(
    ("pods", "deleted"),
    [
        ([one(0), one(1), one(2)], ["web-2"]),
        ([one(0), one(1), one(2, revision="r2", ready=False)], []),
        ([one(0), one(1), one(2, revision="r2")], ["web-1"]),
    ],
)
def test_updates_go_from_the_highest_ordinal_down(pods: list[Obj], deleted: list[str]) -> None:
    assert step(stateful(), *pods, update="r2") == ([], deleted)


def test_a_partition_holds_the_rest_back() -> None:
    found = stateful(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    assert step(found, one(0), one(1), one(2, revision="r2"), update="r2") == ([], [])
    assert step(found, one(1), one(2, revision="r2"), update="r2") == ([(0, "r1")], [])
    assert step(stateful(updateStrategy={"type": "OnDelete"}), one(0), one(1), one(2), update="r2") == ([], [])


def test_identity() -> None:
    found = stateful(volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {}}])
    made = pod_for(found, found["spec"]["template"], 1, "web-abc")
    assert (made["metadata"]["name"], made["spec"]["hostname"], made["spec"]["subdomain"]) == ("web-1", "web-1", "web")
    assert labels_of(made) == {
        "app": "web", HASH: "web-abc", "statefulset.kubernetes.io/pod-name": "web-1",
        "apps.kubernetes.io/pod-index": "1",
    }  # fmt: skip
    assert made["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-1"}}]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    found = Stage()
    found.api.put(NODES, node("n1"))
    scheduler = Scheduler(found.client, informers=found.informers, events=found.shared.recorder("scheduler"))
    async with found.running(StatefulSetController(found.shared), scheduler):
        yield found


async def test_the_life_of_a_set(stage: Stage) -> None:
    api = stage.api
    made: list[str] = []
    api.react.append(
        lambda kind, plural, obj: made.append(name_of(obj)) if (kind, plural) == ("ADDED", "pods") else None
    )
    api.put(STATEFUL_SETS, stateful(volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {}}]))

    def status(field: str) -> object:
        return (api.one(STATEFUL_SETS, "web", "default").get("status") or {}).get(field)

    await api.until(lambda: status("readyReplicas") == 3)
    assert made == ["web-0", "web-1", "web-2"]
    assert sorted(name_of(o) for o in api.of(PERSISTENT_VOLUME_CLAIMS)) == ["data-web-0", "data-web-1", "data-web-2"]
    first = status("currentRevision")
    assert first == status("updateRevision") == labels_of(api.of(PODS)[0])[HASH]
    api.edit(
        STATEFUL_SETS, "web", "default", spec={"template": {"spec": {"containers": [{"name": "c", "image": "two"}]}}}
    )
    await api.until(
        lambda: status("updatedReplicas") == 3 == status("readyReplicas") and status("currentRevision") != first
    )
    assert made[3:] == ["web-2", "web-1", "web-0"]
    api.edit(STATEFUL_SETS, "web", "default", spec={"replicas": 1})
    await api.until(lambda: [name_of(o) for o in api.of(PODS)] == ["web-0"])
    assert ("SuccessfulCreate", "create Pod web-0 in StatefulSet web successful") in stage.events
