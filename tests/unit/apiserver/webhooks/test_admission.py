"""Admission webhooks over TLS against a whole API server, by the names of the conformance suite (AdmissionWebhook)."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pybernetes.api.objects import Obj, decode, encode
from pybernetes.apiserver import ApiServer
from pybernetes.wire import Request, Response
from support.server import api_server
from unit.apiserver.conftest import Call, call_of  # type: ignore[import-not-found]

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
CONFIGS = "/apis/admissionregistration.k8s.io/v1"

Answer = Callable[[Obj], Obj]
"""The response of one AdmissionReview request."""


def patch(*operations: Obj, **more: Any) -> Obj:
    encoded = base64.b64encode(encode(list(operations))).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded} | more


def deny(message: str, **status: Any) -> Obj:
    return {"allowed": False, "status": {"message": message} | status}


class World:
    """A server, a webhook server beside it, and what the webhooks were asked."""

    def __init__(self, server: ApiServer, call: Call, hooks: Any) -> None:
        self.server, self.call, self.hooks = server, call, hooks
        self.answers: dict[str, Answer] = {}
        self.asked: list[Obj] = []
        self.port = 0

    async def handle(self, request: Request) -> Response:
        review = decode(request.body)
        asked = review["request"] | {"path": request.path}
        self.asked.append(asked)
        response = self.answers[request.path](asked)
        return Response(
            body=encode({**review, "request": None, "response": {"uid": asked["uid"], "allowed": True} | response})
        )

    async def add(self, path: str, answer: Answer, *, mutating: bool = False, **fields: Any) -> None:
        """A webhook at `path` on pods and ConfigMaps, `fields` of it given."""
        kind = "MutatingWebhookConfiguration" if mutating else "ValidatingWebhookConfiguration"
        self.answers[path] = answer
        rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods", "configmaps"]}
        hook = {
            "name": f"{path.strip('/')}.example.com",
            "clientConfig": {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self.hooks.bundle},
            "rules": [rule | fields.pop("rule", {})],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        } | fields
        body: Obj = {"kind": kind, "apiVersion": "admissionregistration.k8s.io/v1", "webhooks": [hook]}
        body["metadata"] = {"name": path.strip("/")}
        code, answered = await self.call("POST", f"{CONFIGS}/{kind.lower()}s", body)
        assert code == 201, answered


@pytest.fixture
async def world(hooks: Any) -> AsyncIterator[World]:
    async with running(hooks) as found:
        yield found


@asynccontextmanager
async def running(hooks: Any) -> AsyncIterator[World]:
    async with api_server() as server:
        call = call_of(server)
        await call("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        found = World(server, call, hooks)
        async with hooks.serving(found.handle) as port:
            found.port = port
            yield found


def config_map(name: str = "map", **data: str) -> Obj:
    return {"metadata": {"name": name}, "data": data}


def pod(name: str = "pod", image: str = "img") -> Obj:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": image}]}}


async def test_should_be_able_to_deny_pod_and_configmap_creation(world: World) -> None:
    await world.add("/deny", lambda request: deny("the pod contains unwanted container name", reason="Blocked"))
    code, status = await world.call("POST", PODS, pod())
    assert code == 400
    text = 'admission webhook "deny.example.com" denied the request: the pod contains unwanted container name'
    assert (status["message"], status["reason"], status["status"]) == (text, "Blocked", "Failure")
    assert (await world.call("POST", MAPS, config_map()))[0] == 400
    assert (await world.call("GET", f"{MAPS}/map"))[0] == 404
    asked = world.asked[0]
    assert asked["operation"] == "CREATE"
    assert asked["kind"] == {"group": "", "version": "v1", "kind": "Pod"}
    assert asked["resource"] == asked["requestResource"] == {"group": "", "version": "v1", "resource": "pods"}
    assert (asked["name"], asked["namespace"], asked["dryRun"]) == ("pod", "default", False)
    assert asked["userInfo"]["username"] == "admin"
    assert asked["options"]["kind"] == "CreateOptions"
    assert asked["object"]["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    assert asked["oldObject"] is None


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        ({}, 400, "without explanation"),
        ({"reason": "Because"}, 400, ": Because"),
        ({"code": 403, "message": "no"}, 403, ": no"),
        ({"code": 200, "message": "no"}, 400, ": no"),
    ],
)
async def test_the_status_of_a_denial_is_the_webhook_s_own(world: World, status: Obj, code: int, message: str) -> None:
    await world.add("/deny", lambda _: {"allowed": False, "status": status})
    answered = await world.call("POST", MAPS, config_map())
    assert answered[0] == answered[1]["code"] == code
    assert answered[1]["message"].endswith(message)


async def test_update_and_delete_are_asked_with_the_old_object(world: World) -> None:
    await world.call("POST", MAPS, config_map(a="1"))
    await world.add("/watch", lambda request: deny("kept") if request["operation"] == "DELETE" else {})
    assert (await world.call("PUT", f"{MAPS}/map", config_map(a="2")))[0] == 200
    code, status = await world.call("DELETE", f"{MAPS}/map")
    assert (code, status["message"]) == (400, 'admission webhook "watch.example.com" denied the request: kept')
    update, delete = world.asked
    assert (update["object"]["data"], update["oldObject"]["data"]) == ({"a": "2"}, {"a": "1"})
    assert (delete["object"], delete["oldObject"]["data"]) == (None, {"a": "2"})
    assert delete["options"]["kind"] == "DeleteOptions"
    code, _ = await world.call("DELETE", MAPS)
    assert code == 400


async def test_should_be_able_to_deny_attaching_pod(world: World) -> None:
    await world.call("POST", PODS, pod())
    rule = {"operations": ["CONNECT"], "resources": ["pods/attach", "pods/exec"]}
    await world.add("/attach", lambda _: deny("attaching to pod 'to-be-attached-pod' is not allowed"), rule=rule)
    code, status = await world.call("GET", f"{PODS}/pod/attach?stdin=true&container=c")
    assert code == 400
    assert "attaching to pod 'to-be-attached-pod' is not allowed" in status["message"]
    (asked,) = world.asked
    assert asked["operation"] == "CONNECT"
    assert (asked["subResource"], asked["name"], asked["namespace"]) == ("attach", "pod", "default")
    assert asked["object"] == {"kind": "PodAttachOptions", "apiVersion": "v1", "stdin": True, "container": "c"}
    assert asked["kind"]["kind"] == "PodAttachOptions"


async def test_should_mutate_configmap(world: World) -> None:
    def after(needs: str, key: str) -> Answer:
        add = {"op": "add", "path": f"/data/{key}", "value": "yes"}
        return lambda request: patch(add) if needs in request["object"]["data"] else {}

    await world.add("/stage-1", after("start", "stage-1"), mutating=True)
    await world.add("/stage-2", after("stage-1", "stage-2"), mutating=True)
    code, made = await world.call("POST", MAPS, config_map(start="yes"))
    assert (code, made["data"]) == (201, {"start": "yes", "stage-1": "yes", "stage-2": "yes"})


async def test_should_mutate_pod_and_apply_defaults_after_mutation(world: World) -> None:
    added = {"name": "webhook-added-init-container", "image": "webhook-added-image"}
    operation = {"op": "add", "path": "/spec/initContainers", "value": [added]}
    await world.add("/pod", lambda _: patch(operation), mutating=True, rule={"operations": ["CREATE"]})
    code, made = await world.call("POST", PODS, pod())
    assert code == 201
    (container,) = made["spec"]["initContainers"]
    assert container["name"] == "webhook-added-init-container"
    assert container["terminationMessagePolicy"] == "File"
    assert container["imagePullPolicy"] == "Always"


async def test_what_a_webhook_makes_invalid_is_refused(world: World) -> None:
    bad = {"op": "add", "path": "/data/no%20key!", "value": "x"}
    await world.add("/bad", lambda _: patch(bad), mutating=True)
    assert (await world.call("POST", MAPS, config_map(a="1")))[0] == 422


async def test_should_mutate_everything_except_skip_me_configmaps(world: World) -> None:
    selector = {"matchExpressions": [{"key": "skip-me", "operator": "NotIn", "values": ["true"]}]}
    label = {"op": "add", "path": "/data/mutated", "value": "true"}
    await world.add("/skip", lambda _: patch(label), mutating=True, objectSelector=selector)
    skipped = config_map("skipped", a="1")
    skipped["metadata"]["labels"] = {"skip-me": "true"}
    assert (await world.call("POST", MAPS, skipped))[1]["data"] == {"a": "1"}
    assert "mutated" in (await world.call("POST", MAPS, config_map("other", a="1")))[1]["data"]


async def test_a_namespace_selector_leaves_other_namespaces_alone(world: World) -> None:
    for name, labels in (("watched", {"watched": "yes"}), ("free", {})):
        await world.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    await world.add("/no", lambda _: deny("no"), namespaceSelector={"matchLabels": {"watched": "yes"}})
    assert (await world.call("POST", "/api/v1/namespaces/watched/configmaps", config_map()))[0] == 400
    assert (await world.call("POST", "/api/v1/namespaces/free/configmaps", config_map()))[0] == 201


async def test_should_not_be_able_to_mutate_or_prevent_deletion_of_webhook_configuration_objects(world: World) -> None:
    rule = {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
    await world.add("/all", lambda _: deny("all"), rule=rule)
    await world.add("/more", lambda _: deny("more"), rule=rule)
    assert (await world.call("POST", MAPS, config_map()))[0] == 400
    assert (await world.call("DELETE", f"{CONFIGS}/validatingwebhookconfigurations/all"))[0] == 200
    assert (await world.call("DELETE", f"{CONFIGS}/validatingwebhookconfigurations/more"))[0] == 200
    assert (await world.call("POST", MAPS, config_map("after")))[0] == 201


async def test_should_unconditionally_reject_operations_on_fail_closed_webhook(world: World) -> None:
    service = {"namespace": "default", "name": "e2e-test-webhook", "path": "/configmaps"}
    config = {"service": service, "caBundle": world.hooks.bundle}
    await world.add("/closed", lambda _: {}, clientConfig=config, failurePolicy="Fail")
    code, status = await world.call("POST", MAPS, config_map())
    post = (
        'Post "https://e2e-test-webhook.default.svc:443/configmaps?timeout=10s": service "e2e-test-webhook" not found'
    )
    why = f'failed calling webhook "closed.example.com": failed to call webhook: {post}'
    assert (code, status["reason"]) == (500, "InternalError")
    assert status["message"] == f"Internal error occurred: {why}"
    assert status["details"] == {"causes": [{"message": why}]}


async def test_a_webhook_that_fails_open_is_as_if_it_were_not_there(world: World) -> None:
    config = {"service": {"namespace": "default", "name": "gone"}}
    await world.add("/open", lambda _: {}, clientConfig=config, failurePolicy="Ignore")
    await world.add("/mutate", lambda _: {}, clientConfig=config, failurePolicy="Ignore", mutating=True)
    assert (await world.call("POST", MAPS, config_map()))[0] == 201


async def test_should_honor_timeout(world: World) -> None:
    gone = asyncio.Event()

    async def slow(_: Request) -> Response:
        await gone.wait()
        return Response(body=b"{}")

    async with world.hooks.serving(slow) as port:
        config = {"url": f"https://127.0.0.1:{port}/always-allow-delay-5s", "caBundle": world.hooks.bundle}
        await world.add("/slow", lambda _: {}, clientConfig=config, timeoutSeconds=1)
        code, status = await world.call("POST", MAPS, config_map())
        gone.set()
    assert code == 500
    assert status["message"].startswith('Internal error occurred: failed calling webhook "slow.example.com": ')
    assert "?timeout=1s" in status["message"]
    assert status["message"].endswith("context deadline exceeded")


async def test_calls_are_measured_by_webhook(world: World) -> None:
    await world.add("/deny", lambda _: deny("no"))
    config = {"service": {"namespace": "default", "name": "gone"}}
    await world.add("/open", lambda _: {}, mutating=True, clientConfig=config, failurePolicy="Ignore")
    await world.call("POST", MAPS, config_map())
    text = world.server.metrics.text().decode()
    labels = 'name="deny.example.com",operation="CREATE",rejected="true",type="validating"'
    assert f"apiserver_admission_webhook_admission_duration_seconds_count{{{labels}}} 1.0" in text
    assert 'apiserver_admission_webhook_fail_open_count_total{name="open.example.com",type="admit"} 1.0' in text


async def test_warnings_reach_the_client(world: World) -> None:
    await world.add("/warn", lambda _: {"warnings": ["old thing"]})
    await world.call("POST", MAPS, config_map())
    assert world.call.headers["warning"] == '299 - "old thing"'


async def test_a_dry_run_says_that_it_is_one(world: World) -> None:
    await world.add("/dry", lambda _: {}, sideEffects="NoneOnDryRun")
    assert (await world.call("POST", f"{MAPS}?dryRun=All", config_map()))[0] == 201
    (asked,) = world.asked
    assert asked["dryRun"] is True
    assert asked["options"]["dryRun"] == ["All"]
    assert (await world.call("GET", f"{MAPS}/map"))[0] == 404


@pytest.mark.parametrize("query", [True, False])
async def test_a_dry_delete_says_that_it_is_one(world: World, query: bool) -> None:
    await world.call("POST", MAPS, config_map())
    await world.add("/dry", lambda _: {}, sideEffects="NoneOnDryRun")
    body = None if query else {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]}
    assert (await world.call("DELETE", f"{MAPS}/map" + ("?dryRun=All" if query else ""), body))[0] == 200
    assert [(one["operation"], one["dryRun"]) for one in world.asked] == [("DELETE", True)]
    assert (await world.call("GET", f"{MAPS}/map"))[0] == 200


async def test_a_webhook_that_wants_it_is_called_again_after_later_changes(world: World) -> None:
    def add(key: str) -> Answer:
        def answer(request: Obj) -> Obj:
            count = int(request["object"]["data"].get(key, "0"))
            return patch({"op": "add", "path": f"/data/{key}", "value": str(count + 1)})

        return answer

    await world.add("/a-needed", add("a"), mutating=True, reinvocationPolicy="IfNeeded")
    await world.add("/b-never", add("b"), mutating=True)
    _, made = await world.call("POST", MAPS, config_map(start=""))
    assert made["data"] == {"start": "", "a": "2", "b": "1"}
    assert [one["path"] for one in world.asked] == ["/a-needed", "/b-never", "/a-needed"]


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (None, "webhook response was absent"),
        ({"uid": "other"}, 'expected response.uid="'),
        ({"patch": "W10="}, "webhook returned response.patch but not response.patchType"),
        ({"patchType": "JSONPatch"}, "webhook returned response.patchType but not response.patch"),
        ({"patch": "W10=", "patchType": "Odd"}, 'webhook returned invalid response.patchType of "Odd"'),
    ],
)
async def test_answers_that_are_no_review_are_failures(world: World, response: Obj | None, why: str) -> None:
    async def odd(request: Request) -> Response:
        review = decode(request.body)
        uid = {"uid": review["request"]["uid"], "allowed": True}
        return Response(body=encode({**review, "response": None if response is None else uid | response}))

    async with world.hooks.serving(odd) as port:
        config = {"url": f"https://127.0.0.1:{port}/odd", "caBundle": world.hooks.bundle}
        await world.add("/odd", lambda _: {}, mutating=True, clientConfig=config)
        code, status = await world.call("POST", MAPS, config_map())
    assert code == 500
    text = 'Internal error occurred: failed calling webhook "odd.example.com": received invalid webhook response: '
    assert status["message"].startswith(text + why)


async def test_an_equivalent_version_is_asked_in_the_version_of_the_rule(world: World) -> None:
    rule = {"apiGroups": ["autoscaling"], "apiVersions": ["v1"], "resources": ["horizontalpodautoscalers"]}
    limit = {"op": "replace", "path": "/spec/maxReplicas", "value": 5}
    await world.add("/scalers", lambda _: patch(limit), mutating=True, rule=rule, matchPolicy="Equivalent")
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}, "maxReplicas": 9}
    path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    code, made = await world.call("POST", path, {"metadata": {"name": "s"}, "spec": spec})
    assert (code, made["apiVersion"], made["spec"]["maxReplicas"]) == (201, "autoscaling/v2", 5)
    (asked,) = world.asked
    assert asked["kind"]["version"] == asked["resource"]["version"] == "v1"
    assert asked["requestKind"]["version"] == asked["requestResource"]["version"] == "v2"
    assert asked["object"]["apiVersion"] == "autoscaling/v1"


async def test_an_exact_webhook_is_not_asked_of_another_version(world: World) -> None:
    rule = {"apiGroups": ["autoscaling"], "apiVersions": ["v1"], "resources": ["horizontalpodautoscalers"]}
    await world.add("/exact", lambda _: deny("no"), rule=rule, matchPolicy="Exact")
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}, "maxReplicas": 9}
    path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    assert (await world.call("POST", path, {"metadata": {"name": "s"}, "spec": spec}))[0] == 201


async def test_evictions_bindings_and_scales_are_shown_as_what_they_are(world: World) -> None:
    await world.call("POST", PODS, pod())
    rule = {"apiGroups": ["*"], "resources": ["pods/eviction", "pods/binding", "*/scale"], "apiVersions": ["*"]}
    await world.add("/parts", lambda _: deny("no"), rule=rule)
    binding = {"metadata": {"name": "pod"}, "target": {"kind": "Node", "name": "n"}}
    assert (await world.call("POST", f"{PODS}/pod/binding", binding))[0] == 400
    assert (await world.call("POST", f"{PODS}/pod/eviction", {"metadata": {"name": "pod"}}))[0] == 400
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    sets = "/apis/apps/v1/namespaces/default/replicasets"
    assert (await world.call("POST", sets, {"metadata": {"name": "r"}, "spec": spec}))[0] == 201
    merge = "application/merge-patch+json"
    assert (await world.call("PATCH", f"{sets}/r/scale", {"spec": {"replicas": 3}}, merge))[0] == 400
    kinds = [one["kind"]["kind"] for one in world.asked]
    assert kinds == ["Binding", "Eviction", "Scale"]
    assert world.asked[2]["object"]["spec"]["replicas"] == 3
    assert world.asked[2]["oldObject"]["spec"] == {"replicas": 1}


@pytest.mark.parametrize("plural", ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"])
async def test_listing_webhooks_should_work_and_a_collection_delete_ends_them(world: World, plural: str) -> None:
    mutating = plural[0] == "m"
    for name in ("/one", "/two"):
        await world.add(name, lambda _: deny("no"), mutating=mutating)
    _, found = await world.call("GET", f"{CONFIGS}/{plural}")
    assert [one["metadata"]["name"] for one in found["items"]] == ["one", "two"]
    assert (await world.call("POST", MAPS, config_map()))[0] == 400
    assert (await world.call("DELETE", f"{CONFIGS}/{plural}"))[0] == 200
    assert (await world.call("POST", MAPS, config_map()))[0] == 201


@pytest.mark.parametrize("plural", ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"])
async def test_patching_updating_a_webhook_should_work(world: World, plural: str) -> None:
    await world.add("/rules", lambda _: deny("no"), mutating=plural[0] == "m", rule={"operations": ["CREATE"]})
    path = f"{CONFIGS}/{plural}/rules"
    only_update = [{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["UPDATE"]}]
    assert (await world.call("PATCH", path, only_update, "application/json-patch+json"))[0] == 200
    assert (await world.call("POST", MAPS, config_map()))[0] == 201
    _, found = await world.call("GET", path)
    found["webhooks"][0]["rules"][0]["operations"] = ["CREATE"]
    assert (await world.call("PUT", path, found))[0] == 200
    assert (await world.call("POST", MAPS, config_map("other")))[0] == 400


async def test_many_writes_at_once_are_each_asked_once(world: World) -> None:
    await world.add("/count", lambda _: {})
    codes = await asyncio.gather(*(world.call("POST", MAPS, config_map(f"m{n}")) for n in range(30)))
    assert [code for code, _ in codes] == [201] * 30
    assert sorted(one["name"] for one in world.asked) == sorted(f"m{n}" for n in range(30))
