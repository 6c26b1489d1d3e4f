"""Priority classes: what a pod gets of them, one default at most, and those of the system stay."""

from typing import Any

from .conftest import Call

CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
PODS = "/api/v1/namespaces/default/pods"


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


async def test_a_pod_says_no_other_preemption_policy_than_its_class(call: Call) -> None:
    await call("POST", CLASSES, {"metadata": {"name": "meek"}, "value": 5, "preemptionPolicy": "Never"})
    wrong = pod("a", priorityClassName="meek", preemptionPolicy="PreemptLowerPriority")
    code, status = await call("POST", PODS, wrong)
    assert code == 403
    assert "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided" in status["message"]
    code, made = await call("POST", PODS, pod("a", priorityClassName="meek", preemptionPolicy="Never"))
    assert (code, made["spec"]["preemptionPolicy"]) == (201, "Never")
    assert (await call("POST", PODS, pod("b", preemptionPolicy="Never")))[0] == 403  # no class is as one that preempts


async def test_there_is_one_global_default(call: Call) -> None:
    first = {"metadata": {"name": "first"}, "value": 5, "globalDefault": True}
    assert (await call("POST", CLASSES, first))[0] == 201
    code, status = await call("POST", CLASSES, {"metadata": {"name": "other"}, "value": 3, "globalDefault": True})
    why = "PriorityClass first is already marked as default. Only one default can exist"
    assert (code, why in status["message"]) == (403, True)
    assert (await call("POST", CLASSES, {"metadata": {"name": "other"}, "value": 3}))[0] == 201
    merge = "application/merge-patch+json"
    assert (await call("PATCH", f"{CLASSES}/other", {"globalDefault": True}, merge))[0] == 403
    assert (await call("PATCH", f"{CLASSES}/first", {"description": "x"}, merge))[0] == 200
    assert (await call("PATCH", f"{CLASSES}/first", {"globalDefault": False}, merge))[0] == 200
    assert (await call("PATCH", f"{CLASSES}/other", {"globalDefault": True}, merge))[0] == 200


async def test_the_classes_of_the_system_stay(call: Call) -> None:
    code, status = await call("DELETE", f"{CLASSES}/system-node-critical")
    assert (code, "this is a system priority class and cannot be deleted" in status["message"]) == (403, True)
    assert (await call("GET", f"{CLASSES}/system-node-critical"))[0] == 200
