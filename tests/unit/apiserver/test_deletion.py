"""What a delete does: gone, marked, or left."""

from typing import Any

import pytest

from pybernetes.api.errors import Conflict, Invalid
from pybernetes.api.resources import PODS
from pybernetes.apiserver.deletion import DeleteOptions, check, delete_options, finished, plan

from .conftest import Call

NOW = 1_000_000.0


def obj(**metadata: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": "a", "uid": "u", "resourceVersion": "7", **metadata}}


def planned(found: dict[str, Any], *, grace: int = 0, **options: Any) -> tuple[str, dict[str, Any]]:
    return plan(found, DeleteOptions(**options), grace_seconds=grace, now=NOW)


def test_plain_object_goes_at_once() -> None:
    assert planned(obj())[0] == "remove"


def test_finalizers_hold_it() -> None:
    act, marked = planned(obj(finalizers=["x/y"], generation=3))
    assert act == "mark"
    assert marked["metadata"]["deletionTimestamp"] == "1970-01-12T13:46:40Z"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
    assert marked["metadata"]["generation"] == 4
    assert not finished(marked)
    marked["metadata"].pop("finalizers")
    assert finished(marked)


def test_grace_holds_it_until_the_kubelet_says_zero() -> None:
    act, marked = planned(obj(), grace=30)
    assert act == "mark"
    assert marked["metadata"]["deletionTimestamp"] == "1970-01-12T13:47:10Z"
    assert not finished(marked)
    assert planned(marked, grace=30)[0] == "keep"
    assert planned(marked, grace=40, grace_seconds=40)[0] == "keep"
    act, sooner = planned(marked, grace=5, grace_seconds=5)
    assert (act, sooner["metadata"]["deletionTimestamp"]) == ("mark", "1970-01-12T13:46:45Z")
    assert planned(marked, grace=0, grace_seconds=0)[0] == "remove"


@pytest.mark.parametrize(
    ("policy", "before", "after"),
    [
        ("Foreground", [], ["foregroundDeletion"]),
        ("Orphan", ["foregroundDeletion", "x/y"], ["x/y", "orphan"]),
        ("Background", ["foregroundDeletion", "orphan", "x/y"], ["x/y"]),
        ("", ["foregroundDeletion"], ["foregroundDeletion"]),
    ],
)
def test_policies_are_finalizers(policy: str, before: list[str], after: list[str]) -> None:
    act, marked = planned(obj(finalizers=before), policy=policy)
    assert act == "mark"
    assert marked["metadata"]["finalizers"] == after


def test_namespace_waits_for_its_own_finalizers() -> None:
    namespace = {"kind": "Namespace", "metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}}
    act, marked = planned(namespace)
    assert act == "mark"
    assert marked["status"]["phase"] == "Terminating"
    assert planned(marked)[0] == "keep"
    assert planned(marked | {"spec": {}})[0] == "remove"


def test_preconditions() -> None:
    check(obj(), DeleteOptions(uid="u", revision="7"), PODS)
    for options in (DeleteOptions(uid="v"), DeleteOptions(revision="8")):
        with pytest.raises(Conflict, match="Precondition failed"):
            check(obj(), options, PODS)


def test_options_from_body_or_query() -> None:
    assert delete_options({}, {"gracePeriodSeconds": 3}).grace_seconds == 3
    assert delete_options({"orphanDependents": True}, {}).policy == "Orphan"
    assert delete_options({"dryRun": ["All"]}, {}).dry_run
    for bad in (
        {"propagationPolicy": "Maybe"},
        {"dryRun": ["Some"]},
        {"propagationPolicy": "Orphan", "orphanDependents": True},
    ):
        with pytest.raises(Invalid):
            delete_options(bad, {})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"dryRun": 894}, "json: cannot unmarshal number into Go struct field DeleteOptions.dryRun of type []string"),
        ({"dryRun": [1]}, "json: cannot unmarshal number into Go struct field DeleteOptions.dryRun of type string"),
        ({"preconditions": "x"}, "json: cannot unmarshal string into Go struct field DeleteOptions.preconditions"),
        (
            {"propagationPolicy": []},
            "json: cannot unmarshal array into Go struct field DeleteOptions.propagationPolicy",
        ),
        ({"gracePeriodSeconds": "1"}, "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodS"),
    ],
)
async def test_options_of_the_wrong_type_are_refused(call: Call, options: dict[str, Any], told: str) -> None:
    maps = "/api/v1/namespaces/default/configmaps"
    assert (await call("POST", maps, {"metadata": {"name": "a"}}))[0] == 201
    for path in (f"{maps}/a", maps):
        code, status = await call("DELETE", path, options)
        assert (code, status["reason"]) == (400, "BadRequest")
        assert status["message"].startswith(
            f'DeleteOptions in version "v1" cannot be handled as a DeleteOptions: {told}'
        )
    assert (await call("GET", f"{maps}/a"))[0] == 200
