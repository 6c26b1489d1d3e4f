"""Webhook configurations: their defaults, and all that can be wrong with them."""

import base64
from typing import Any

import pytest

from pybernetes.api.kinds.webhooks import WebhookStrategy
from pybernetes.api.objects import Obj

MUTATING = WebhookStrategy(mutating=True)


def hook(**fields: Any) -> Obj:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    made = {
        "name": "a.example.com",
        "clientConfig": {"service": {"namespace": "n", "name": "s"}},
        "rules": [rule | fields.pop("rule", {})],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    } | fields
    return {key: value for key, value in made.items() if value is not None}


def problems(*hooks: Obj) -> list[str]:
    obj: Obj = {"metadata": {"name": "c"}, "webhooks": list(hooks)}
    MUTATING.default(obj)
    return [str(problem) for problem in MUTATING.check(obj, None)]


def test_defaults() -> None:
    obj: Obj = {"webhooks": [hook()]}
    MUTATING.default(obj)
    (made,) = obj["webhooks"]
    assert (made["failurePolicy"], made["matchPolicy"], made["timeoutSeconds"]) == ("Fail", "Equivalent", 10)
    assert (made["reinvocationPolicy"], made["namespaceSelector"], made["objectSelector"]) == ("Never", {}, {})
    assert made["rules"][0]["scope"] == "*"
    assert made["clientConfig"]["service"]["port"] == 443
    assert problems(hook()) == []


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": "short.name"}, 'webhooks[0].name: Invalid value: "short.name": should be a domain with at least'),
        ({"sideEffects": None}, "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"),
        ({"sideEffects": "Some"}, 'webhooks[0].sideEffects: Unsupported value: "Some"'),
        ({"timeoutSeconds": 31}, "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between"),
        ({"failurePolicy": "Odd"}, 'webhooks[0].failurePolicy: Unsupported value: "Odd"'),
        ({"reinvocationPolicy": "Odd"}, 'webhooks[0].reinvocationPolicy: Unsupported value: "Odd"'),
        ({"admissionReviewVersions": []}, "webhooks[0].admissionReviewVersions: Required value: must specify one of"),
        ({"admissionReviewVersions": ["v9"]}, "must include at least one of v1, v1beta1"),
        (
            {"admissionReviewVersions": ["v1", "v1"]},
            'admissionReviewVersions[1]: Invalid value: "v1": duplicate version',
        ),
        ({"clientConfig": {}}, "webhooks[0].clientConfig: Required value: exactly one of url or service is required"),
        ({"clientConfig": {"url": "http://a"}}, "'https' is the only allowed URL scheme"),
        ({"clientConfig": {"url": "https://a/?b=c"}}, "query parameters are not permitted in the URL"),
        ({"clientConfig": {"url": "https://a/#b"}}, "fragments are not permitted in the URL"),
        ({"clientConfig": {"url": "https://u:p@a/"}}, "user information is not permitted in the URL"),
        ({"clientConfig": {"url": "https:///x"}}, "host must be provided"),
        ({"clientConfig": {"service": {"name": "s"}}}, "clientConfig.service.namespace: Required value"),
        ({"clientConfig": {"service": {"name": "s", "namespace": "n", "path": "x"}}}, "must start with a '/'"),
        (
            {"clientConfig": {"service": {"name": "s", "namespace": "n", "path": "/a//b"}}},
            "segment[1] may not be empty",
        ),
        ({"clientConfig": {"service": {"name": "s", "namespace": "n", "port": 0}}}, "port is not valid"),
        ({"clientConfig": {"url": "https://a", "caBundle": "bm8="}}, "unable to parse bytes as PEM block"),
        ({"rule": {"operations": ["*", "CREATE"]}}, "if '*' is present, must not specify other operations"),
        ({"rule": {"operations": ["READ"]}}, 'rules[0].operations[0]: Unsupported value: "READ"'),
        ({"rule": {"apiGroups": ["*", "a"]}}, "must not specify other API groups"),
        ({"rule": {"apiVersions": []}}, "webhooks[0].rules[0].apiVersions: Required value"),
        ({"rule": {"resources": ["*/*", "pods"]}}, "if '*/*' is present, must not specify other resources"),
        ({"rule": {"resources": ["*", "pods"]}}, "must not specify other resources without subresources"),
        ({"rule": {"resources": ["pods/*", "pods/exec"]}}, "if 'pods/*' is present, must not specify pods/exec"),
        ({"rule": {"scope": "Odd"}}, 'rules[0].scope: Unsupported value: "Odd"'),
        ({"matchConditions": [{"name": "a"}]}, "matchConditions[0].expression: Required value"),
    ],
)
def test_what_is_wrong(fields: Obj, problem: str) -> None:
    found = problems(hook(**fields))
    assert any(problem in one for one in found), found


def test_match_conditions_compile_and_have_names() -> None:
    unnamed = problems(hook(matchConditions=[{"expression": "true"}]))
    assert unnamed == ["webhooks[0].matchConditions[0].name: Required value"]
    (broken,) = problems(hook(matchConditions=[{"name": "a", "expression": "1 +"}]))
    assert "webhooks[0].matchConditions[0].expression: Invalid value" in broken
    assert "compilation failed" in broken


def test_names_are_used_once() -> None:
    assert problems(hook(), hook()) == ['webhooks[1].name: Duplicate value: "a.example.com"']


def test_a_bundle_of_pem_is_taken() -> None:
    pem = base64.b64encode(b"-----BEGIN CERTIFICATE-----\n").decode()
    assert problems(hook(clientConfig={"url": "https://a", "caBundle": pem})) == []
