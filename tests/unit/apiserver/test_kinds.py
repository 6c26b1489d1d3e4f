"""What the strategies of kinds need from the registry, and every kind through the whole server once."""

import pytest

from pybernetes.api.objects import copied
from pybernetes.api.resources import RESOURCES, Resource
from support.admitted import admit

from .conftest import Call

JOBS = "/apis/batch/v1/namespaces/default/jobs"
STORED = [row for row in RESOURCES if "create" in row.verbs and "get" in row.verbs]


async def test_a_jobs_selector_holds_its_own_uid(call: Call) -> None:
    template = {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}
    code, job = await call("POST", JOBS, {"metadata": {"name": "j", "uid": "mine"}, "spec": {"template": template}})
    assert code == 201
    uid = job["metadata"]["uid"]
    assert uid != "mine"
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert job["spec"]["template"]["metadata"]["labels"]["controller-uid"] == uid


@pytest.mark.parametrize("row", STORED, ids=lambda row: f"{row.qualified}.{row.version}")
async def test_an_empty_object_is_stored_or_refused_with_every_cause(call: Call, row: Resource) -> None:
    empty = {"apiVersion": row.api_version, "kind": row.kind, "metadata": {"name": "x"}}
    causes = admit(copied(empty)).fields
    code, body = await call("POST", row.path("default"), copied(empty))
    if causes:
        assert (code, body["reason"]) in ((422, "Invalid"), (403, "Forbidden"), (400, "BadRequest"))
        if code == 422:
            assert set(causes) <= {cause["field"] for cause in body["details"]["causes"]}
    else:
        assert code in (201, 403)
