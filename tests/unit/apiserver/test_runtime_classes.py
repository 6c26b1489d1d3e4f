"""RuntimeClass admission, against a whole API server."""

from typing import Any

import pytest

from pybernetes.api.objects import Obj
from pybernetes.apiserver.admission.runtime_classes import merged

from .conftest import Call

PODS = "/api/v1/namespaces/default/pods"
CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"
OVERHEAD = {"cpu": "10m", "memory": "1Mi"}
GPU = {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}


def pod(**spec: Any) -> Obj:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]} | spec}


async def runtime_class(call: Call, **fields: Any) -> None:
    code, answer = await call("POST", CLASSES, {"metadata": {"name": "gvisor"}, "handler": "runsc"} | fields)
    assert code == 201, answer


async def test_a_pod_is_given_the_overhead_and_the_scheduling_of_its_class(call: Call) -> None:
    scheduling = {"nodeSelector": {"kind": "safe"}, "tolerations": [GPU]}
    await runtime_class(call, overhead={"podFixed": OVERHEAD}, scheduling=scheduling)
    code, made = await call("POST", PODS, pod(runtimeClassName="gvisor", nodeSelector={"disk": "ssd"}))
    assert code == 201
    assert made["spec"]["overhead"] == OVERHEAD
    assert made["spec"]["nodeSelector"] == {"disk": "ssd", "kind": "safe"}
    assert GPU in made["spec"]["tolerations"]


async def test_a_class_without_more_changes_nothing(call: Call) -> None:
    await runtime_class(call)
    code, made = await call("POST", PODS, pod(runtimeClassName="gvisor"))
    assert (code, "overhead" in made["spec"], "nodeSelector" in made["spec"]) == (201, False, False)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"runtimeClassName": "nobody"}, 'pod rejected: RuntimeClass "nobody" not found'),
        (
            {"runtimeClassName": "gvisor", "overhead": {"cpu": "1"}},
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            {"runtimeClassName": "gvisor", "nodeSelector": {"kind": "fast"}},
            "conflict: runtimeClass.scheduling.nodeSelector[kind] = safe; pod.spec.nodeSelector[kind] = fast",
        ),
        (
            {"overhead": OVERHEAD},
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
    ],
)
async def test_what_does_not_fit_the_class_is_refused(call: Call, spec: Obj, said: str) -> None:
    await runtime_class(call, overhead={"podFixed": OVERHEAD}, scheduling={"nodeSelector": {"kind": "safe"}})
    code, status = await call("POST", PODS, pod(**spec))
    assert (code, status["message"]) == (403, f'pods "p" is forbidden: {said}')


async def test_an_overhead_written_otherwise_is_the_same(call: Call) -> None:
    await runtime_class(call, overhead={"podFixed": OVERHEAD})
    code, made = await call("POST", PODS, pod(runtimeClassName="gvisor", overhead={"cpu": "0.01", "memory": "1024Ki"}))
    assert (code, made["spec"]["overhead"]) == (201, OVERHEAD)


ANY = {"operator": "Exists"}
SHORT = {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
LONG = SHORT | {"tolerationSeconds": 9}
ONE = {"key": "gpu", "operator": "Equal", "value": "a", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("both", "kept"),
    [
        ([GPU, GPU], [GPU]),
        ([GPU, ANY], [ANY]),
        ([SHORT, LONG], [LONG]),
        ([ONE, GPU], [GPU]),
        ([ONE, ONE | {"value": "b"}], [ONE, ONE | {"value": "b"}]),
        ([GPU, GPU | {"effect": "NoExecute"}], [GPU, GPU | {"effect": "NoExecute"}]),
        ([GPU, GPU | {"key": "cpu"}], [GPU, GPU | {"key": "cpu"}]),
    ],
)
def test_of_tolerations_the_wider_one_stays(both: list[Obj], kept: list[Obj]) -> None:
    assert merged(both) == kept
