"""matchConditions of admission webhooks, by the names of the conformance suite (AdmissionWebhook)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ..conftest import call_of
from .test_admission import CONFIGS, MAPS, World, config_map, deny, running


@pytest.fixture
async def world(hooks: Any) -> AsyncIterator[World]:
    async with running(hooks) as found:
        yield found


@pytest.mark.parametrize("mutating", [True, False])
async def test_should_be_able_to_create_and_update_webhook_configurations_with_match_conditions(
    world: World, mutating: bool
) -> None:
    conditions = [
        {"name": "not-kube-system", "expression": "request.namespace != 'kube-system'"},
        {"name": "has-data", "expression": "has(object.data) && 'watched' in object.data"},
    ]
    await world.add("/some", lambda _: deny("no"), mutating=mutating, matchConditions=conditions)
    assert (await world.call("POST", MAPS, config_map("free", a="b")))[0] == 201
    assert (await world.call("POST", MAPS, config_map(watched="b")))[0] == 400
    plural = "mutatingwebhookconfigurations" if mutating else "validatingwebhookconfigurations"
    fewer = [{"op": "replace", "path": "/webhooks/0/matchConditions", "value": conditions[:1]}]
    assert (await world.call("PATCH", f"{CONFIGS}/{plural}/some", fewer, "application/json-patch+json"))[0] == 200
    assert (await world.call("POST", MAPS, config_map("other")))[0] == 400


@pytest.mark.parametrize("kind", ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"])
async def test_should_reject_webhook_configurations_with_invalid_match_conditions(world: World, kind: str) -> None:
    hook = {
        "name": "a.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "matchConditions": [{"name": "bad", "expression": "... [] bad expression"}],
    }
    code, status = await world.call(
        "POST", f"{CONFIGS}/{kind.lower()}s", {"metadata": {"name": "bad"}, "webhooks": [hook]}
    )
    assert code == 422
    assert "compilation failed" in status["message"]
    assert status["details"]["causes"][0]["field"] == "webhooks[0].matchConditions[0].expression"


@pytest.mark.parametrize(("policy", "code"), [("Fail", 403), ("Ignore", 201)])
async def test_a_condition_that_cannot_be_evaluated_follows_the_failure_policy(
    world: World, policy: str, code: int
) -> None:
    conditions = [{"name": "odd", "expression": "object.spec.nothing.here == 1"}]
    await world.add("/odd", lambda _: deny("no"), matchConditions=conditions, failurePolicy=policy)
    assert (await world.call("POST", MAPS, config_map()))[0] == code
    assert world.asked == []


@pytest.mark.parametrize(
    ("expression", "asked"),
    [
        ("!authorizer.group('').resource('configmaps').namespace('default').check('breakglass').allowed()", True),
        ("authorizer.group('').resource('configmaps').namespace('default').check('create').allowed()", True),
        ("authorizer.requestResource.check('create').allowed()", True),
        ("authorizer.requestResource.check('update').allowed()", False),
        ("authorizer.path('/healthz').check('get').allowed()", True),
        ("authorizer.path('/metrics').check('get').allowed()", False),
        ("authorizer.serviceAccount('default', 'x').group('').resource('pods').check('get').allowed()", False),
        ("authorizer.group('apps').resource('deployments').subresource('scale').check('get').errored()", False),
    ],
)
async def test_conditions_ask_what_the_requester_may(world: World, expression: str, asked: bool) -> None:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]
    rbac, role = "/apis/rbac.authorization.k8s.io/v1", {"apiGroup": "rbac.authorization.k8s.io", "name": "maker"}
    await world.call("POST", f"{rbac}/clusterroles", {"metadata": {"name": "maker"}, "rules": rules})
    bound = {"roleRef": role | {"kind": "ClusterRole"}, "subjects": [role | {"kind": "User", "name": "bob"}]}
    await world.call("POST", f"{rbac}/clusterrolebindings", {"metadata": {"name": "maker"}} | bound)
    await world.add("/asks", lambda _: deny("no"), matchConditions=[{"name": "may", "expression": expression}])
    bob = call_of(world.server, "bob", "system:authenticated")
    assert (await bob("POST", MAPS, config_map()))[0] == (400 if asked else 201)
