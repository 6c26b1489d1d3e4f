"""What the author of a write is told besides the answer (Warning: 299)."""

import asyncio
import base64
import secrets
from typing import Any

from pybernetes.api.objects import Obj

from .conftest import Call
from .test_custom import CRDS, TREES, definition, established, tree, version

PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
MERGE = "application/merge-patch+json"
POD: Obj = {"spec": {"containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": -1}}
GRACE = "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
ORPHANS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or "
    "set propagationPolicy=Orphan to suppress this warning"
)


def told(call: Call) -> str:
    headers: dict[str, str] = call.headers  # type: ignore[attr-defined]
    return headers.get("warning", "")


async def test_warnings_come_with_what_was_written(call: Call) -> None:
    code, _ = await call("POST", f"{PODS}?dryRun=All", {"metadata": {"name": "a"}, **POD})
    assert (code, told(call)) == (201, f'299 - "{GRACE}"')
    code, _ = await call("POST", PODS, {"metadata": {"generateName": "a-"}, **POD})
    assert (code, told(call)) == (201, f'299 - "{GRACE}"')


async def test_what_is_refused_warns_of_nothing_else(call: Call) -> None:
    code, _ = await call("POST", PODS, {"metadata": {"name": "A"}, **POD})
    assert (code, told(call)) == (422, "")


async def test_a_secret_whose_key_is_not_its_certificates(call: Call) -> None:
    data = {name: base64.b64encode(b"x").decode() for name in ("tls.crt", "tls.key")}
    secret = {"metadata": {"name": "s"}, "type": "kubernetes.io/tls", "data": data}
    code, _ = await call("POST", "/api/v1/namespaces/default/secrets", secret)
    assert (code, told(call)) == (201, '299 - "tls: failed to find any PEM data in certificate input"')


async def test_finalizers_of_custom_resources_that_are_nobodys(call: Call) -> None:
    await established(call, definition())

    def held(name: str, *finalizers: str) -> Obj:
        return tree() | {"metadata": {"name": name, "finalizers": list(finalizers)}}

    code, made = await call("POST", TREES, held("a", "plain", "a.example.com", "example.com/x", "orphan"))
    clash = "to avoid accidental conflicts with other finalizer writers"
    better = "prefer a domain-qualified finalizer name"
    dotted = f'metadata.finalizers: \\"a.example.com\\": {better} including a path (/) {clash}'
    plain = f'metadata.finalizers: \\"plain\\": {better} {clash}'
    assert (code, told(call)) == (201, f'299 - "{dotted}", 299 - "{plain}"')
    made["metadata"]["labels"] = {"a": "b"}
    assert ((await call("PUT", f"{TREES}/a", made))[0], told(call)) == (200, "")
    made["metadata"]["finalizers"] = ["plain", "other"]
    del made["metadata"]["resourceVersion"]
    code, _ = await call("PATCH", f"{TREES}/a", {"metadata": {"finalizers": ["plain", "other"]}}, MERGE)
    assert (code, told(call)) == (200, f'299 - "{plain.replace("plain", "other")}"')


async def test_owners_that_are_told_twice_are_kept_once(call: Call) -> None:
    def owner(name: str, uid: str) -> Obj:
        return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}

    owners = [owner("a", "1"), owner("b", "2"), owner("a", "1"), owner("c", "1")]
    code, made = await call("POST", CONFIG_MAPS, {"metadata": {"name": "m", "ownerReferences": owners}})
    assert (code, made["metadata"]["ownerReferences"]) == (201, [owners[0], owners[1], owners[3]])
    assert ".metadata.ownerReferences contains duplicate entries; API server dedups" in told(call)
    assert told(call).endswith('duplicate UID(s) observed: 1"')
    code, made = await call("PATCH", f"{CONFIG_MAPS}/m", {"metadata": {"ownerReferences": owners[:3]}}, MERGE)
    assert (code, made["metadata"]["ownerReferences"]) == (200, owners[:2])
    assert "contains duplicate entries after mutating admission happens; API" in told(call)


async def job(call: Call, name: str, *finalizers: str) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    body: dict[str, Any] = {"metadata": {"name": name, "finalizers": list(finalizers)}, "spec": {"template": template}}
    assert (await call("POST", JOBS, body))[0] == 201


async def test_the_pods_of_a_job_stay_unless_it_is_said_what_becomes_of_them(call: Call) -> None:
    await job(call, "a")
    code, found = await call("DELETE", f"{JOBS}/a")
    assert (code, found["metadata"]["finalizers"], told(call)) == (200, ["orphan"], f'299 - "{ORPHANS}"')
    await job(call, "b")
    code, found = await call("DELETE", f"{JOBS}/b?propagationPolicy=Background")
    assert (code, found["kind"], told(call)) == (200, "Status", "")
    await job(call, "c", "foregroundDeletion")
    code, found = await call("DELETE", f"{JOBS}/c")
    assert (code, found["metadata"]["finalizers"]) == (200, ["foregroundDeletion"])
    await job(call, "d")
    code, found = await call("DELETE", JOBS, {"orphanDependents": False})
    assert (code, told(call)) == (200, "")
    code, _ = await call("GET", f"{JOBS}/d")
    assert code == 404


async def test_the_pods_of_a_replication_controller_stay_too(call: Call) -> None:
    path = "/api/v1/namespaces/default/replicationcontrollers"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    body = {"metadata": {"name": "r"}, "spec": {"selector": {"a": "b"}, "template": template}}
    assert (await call("POST", path, body))[0] == 201
    code, found = await call("DELETE", f"{path}/r")
    assert (code, found["metadata"]["finalizers"], told(call)) == (200, ["orphan"], "")


async def test_rules_that_were_broken_before_are_told_of_and_forgiven(call: Call) -> None:
    """KEP-4008: what stays as it was may stay, items of lists too that nobody can tell apart."""

    def crd(**rules: str) -> Obj:
        item: Obj = {"type": "object", "properties": {"n": {"type": "integer"}}}
        spec: Obj = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
        spec["properties"]["many"] = {"type": "array", "maxItems": 5, "items": item}
        for place, rule in (("item", item), ("a", spec["properties"]["a"])):
            if place in rules:
                rule["x-kubernetes-validations"] = [{"rule": rules[place]}]
        found = definition(version(schema={"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}))
        del found["spec"]["versions"][0]["subresources"]
        return found

    await established(call, crd())
    old = {"apiVersion": "example.com/v1", "kind": "Tree", "metadata": {"name": "a"}}
    assert (await call("POST", TREES, old | {"spec": {"a": 1, "many": [{"n": 1}, {"n": 5}]}}))[0] == 201
    patch = {"spec": crd(item="self.n > 3", a="self > 3")["spec"]}
    assert (await call("PATCH", f"{CRDS}/trees.example.com", patch, MERGE))[0] == 200
    first = "spec.a: Invalid value: 1: failed rule: self > 3"
    second = 'spec.many[0]: Invalid value: \\"object\\": failed rule: self.n > 3'
    async with asyncio.timeout(60):
        while not told(call):  # until the definition has been read
            code, _ = await call("PATCH", f"{TREES}/a", {"spec": {"b": secrets.randbelow(1 << 30)}}, MERGE)
            assert code == 200
    assert told(call) == f'299 - "{first}", 299 - "{second}"'
    code, answer = await call("PATCH", f"{TREES}/a", {"spec": {"a": 2}}, MERGE)
    assert (code, [one["field"] for one in answer["details"]["causes"]]) == (422, ["spec.a"])
    code, answer = await call("PATCH", f"{TREES}/a", {"spec": {"many": [{"n": 1}, {"n": 6}]}}, MERGE)
    assert (code, [one["field"] for one in answer["details"]["causes"]]) == (422, ["spec.many[0]"])
