"""Accounts that let their pods have the Secrets they list alone; mirror pods, which have none."""

from typing import Any

import pytest

from .conftest import Call

NS = "/api/v1/namespaces/default"


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i"} | spec.pop("container", {})
    return {"metadata": {"name": name}, "spec": {"serviceAccountName": "strict", "containers": [container], **spec}}


@pytest.fixture
async def strict(call: Call) -> Call:
    account = {
        "metadata": {"name": "strict", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
        "secrets": [{"name": "mine"}],
        "imagePullSecrets": [{"name": "pull"}],
    }
    assert (await call("POST", f"{NS}/serviceaccounts", account))[0] == 201
    return call


def env(name: str) -> dict[str, Any]:
    return {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}]}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"volumes": [{"name": "v", "secret": {"secretName": "other"}}]}, 'volume with secret.secretName="other"'),
        ({"container": env("other")}, 'container c with envVar A referencing secret.secretName="other"'),
        ({"container": {"envFrom": [{"secretRef": {"name": "other"}}]}}, "container c with envFrom referencing"),
        ({"initContainers": [{"name": "i", "image": "i"} | env("other")]}, "init container i with envVar A"),
        ({"imagePullSecrets": [{"name": "other"}]}, 'imagePullSecrets[0].name="other" is not allowed'),
        ({"volumes": [{"name": "v", "secret": {"secretName": "mine"}}]}, ""),
        ({"container": env("mine"), "imagePullSecrets": [{"name": "pull"}]}, ""),
    ],
)
async def test_a_strict_account_lists_what_its_pods_may_have(strict: Call, spec: dict[str, Any], why: str) -> None:
    code, answer = await strict("POST", f"{NS}/pods", pod(**spec))
    assert code == (403 if why else 201), answer
    assert why in answer.get("message", "")


async def test_of_ephemeral_containers_too(strict: Call) -> None:
    assert (await strict("POST", f"{NS}/pods", pod()))[0] == 201
    for name, code in (("other", 403), ("mine", 200)):
        body = {"spec": {"ephemeralContainers": [{"name": "e", "image": "i"} | env(name)]}}
        merge = "application/merge-patch+json"
        assert (await strict("PATCH", f"{NS}/pods/p/ephemeralcontainers", body, merge))[0] == code


async def test_other_accounts_do_not_mind(call: Call) -> None:
    free = pod(container=env("other"), serviceAccountName="default")
    assert (await call("POST", f"{NS}/pods", free))[0] == 201


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"serviceAccountName": "default"}, "may not reference service accounts"),
        ({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, "may not reference secrets"),
        ({}, ""),
    ],
)
async def test_a_mirror_pod_has_no_secrets_whoever_makes_it(call: Call, spec: dict[str, Any], why: str) -> None:
    mirror = pod(**({"serviceAccountName": ""} | spec))
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    mirror["spec"]["nodeName"] = "n"
    code, answer = await call("POST", f"{NS}/pods", mirror)
    assert (code, why in answer.get("message", "")) == (403 if why else 201, True), answer
