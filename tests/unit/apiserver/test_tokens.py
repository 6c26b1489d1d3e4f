"""Service account tokens: several keys, tokens of the older days, and what becomes of a pod's token after its hour."""

import base64
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from pybernetes.api import times
from pybernetes.apiserver import ApiServer, ApiServerConfig
from pybernetes.apiserver.auth.token_keys import BadKey, keys_of
from support.server import api_server

from .conftest import Call, call_of
from .test_identity import asked

NS = "/api/v1/namespaces/default"
ACCOUNT = f"{NS}/serviceaccounts/default"


def private_pem(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def public_pem(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


OLD, NEW = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())


def config(directory: Path, signing: Any, *others: bytes) -> ApiServerConfig:
    (directory / "sa.key").write_bytes(private_pem(signing))
    for number, pem in enumerate(others):
        (directory / f"{number}.pem").write_bytes(pem)
    files = tuple(str(directory / f"{number}.pem") for number in range(len(others)))
    return ApiServerConfig(service_account_key=str(directory / "sa.key"), service_account_key_files=files)


async def taken(server: ApiServer, token: str) -> bool:
    return (await asked(server, "/version", authorization=f"Bearer {token}"))[0] == 200


async def token_of(call: Call, **spec: Any) -> str:
    code, found = await call("POST", f"{ACCOUNT}/token", {"spec": spec})
    assert code == 201, found
    return str(found["status"]["token"])


async def account(server: ApiServer) -> Call:
    call = call_of(server)
    await call("POST", f"{NS}/serviceaccounts", {"metadata": {"name": "default"}})
    return call


async def test_a_new_key_signs_and_the_old_ones_tokens_are_taken_until_it_is_left_out(tmp_path: Path) -> None:
    from pybernetes.store.memory import MemoryStore

    store = MemoryStore()
    async with api_server(store, config(tmp_path, OLD)) as server:
        old = await token_of(await account(server))
        assert jwt.get_unverified_header(old)["alg"] == "RS256"
    async with api_server(store, config(tmp_path, NEW, public_pem(OLD))) as server:
        new = await token_of(call_of(server))
        assert jwt.get_unverified_header(new)["alg"] == "ES384"
        assert await taken(server, old)
        assert await taken(server, new)
        _, keys = await call_of(server)("GET", "/openid/v1/jwks")
        assert [key["kid"] for key in keys["keys"]] == [jwt.get_unverified_header(one)["kid"] for one in (new, old)]
        assert [key["alg"] for key in keys["keys"]] == ["ES384", "RS256"]
        for token, key in ((new, keys["keys"][0]), (old, keys["keys"][1])):
            jwt.decode(token, jwt.PyJWK(key).key, [key["alg"]], options={"verify_aud": False})
        _, document = await call_of(server)("GET", "/.well-known/openid-configuration")
        assert document["id_token_signing_alg_values_supported"] == ["ES384", "RS256"]
    async with api_server(store, config(tmp_path, NEW)) as server:
        assert await taken(server, new)
        assert not await taken(server, old)


async def test_a_key_does_not_vouch_for_anothers_token(tmp_path: Path) -> None:
    async with api_server(config=config(tmp_path, NEW, public_pem(OLD))) as server:
        token = await token_of(await account(server))
        claims = jwt.decode(token, options={"verify_signature": False})
        stranger = ec.generate_private_key(ec.SECP384R1())
        assert server.tokens is not None
        for kid in (server.tokens.key_id, "unknown", None):
            headers = {"kid": kid} if kid else {}
            assert not await taken(server, jwt.encode(claims, stranger, "ES384", headers=headers))
        assert await taken(server, jwt.encode(claims, NEW, "ES384"))  # no hint: every key is tried
        assert not await taken(server, jwt.encode(claims | {"iss": "https://other"}, NEW, "ES384"))


def test_files_of_keys() -> None:
    both = keys_of(private_pem(OLD) + public_pem(NEW))
    assert [key.algorithm for key in both] == ["RS256", "ES384"]
    assert both[0].id == keys_of(public_pem(OLD))[0].id
    for wrong in (b"", b"nonsense", private_pem(ed25519.Ed25519PrivateKey.generate())):
        with pytest.raises(BadKey):
            keys_of(wrong)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with api_server(config=config(tmp_path, OLD)) as running:
        await account(running)
        yield running


async def old_token(call: Call, **changes: str) -> str:
    """As kube-controller-manager signed them before 1.24, and the Secret that holds it."""
    _, owner = await call("GET", ACCOUNT)
    old = "kubernetes.io/serviceaccount/"
    claims = {
        "iss": "kubernetes/serviceaccount",
        f"{old}namespace": "default",
        f"{old}secret.name": "default-token-x",
        f"{old}service-account.name": "default",
        f"{old}service-account.uid": owner["metadata"]["uid"],
        "sub": "system:serviceaccount:default:default",
    }
    token = jwt.encode(claims | changes, OLD, "RS256")
    secret = {
        "metadata": {
            "name": "default-token-x",
            "annotations": {"kubernetes.io/service-account.name": "default"},
        },
        "type": "kubernetes.io/service-account-token",
        "data": {"token": base64.b64encode(token.encode()).decode()},
    }
    code, made = await call("POST", f"{NS}/secrets", secret)
    assert code == 201, made
    return token


async def review(call: Call, token: str, *audiences: str) -> Any:
    spec = {"token": token} | ({"audiences": list(audiences)} if audiences else {})
    _, found = await call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": spec})
    return found["status"]


async def test_a_token_of_the_older_days_is_good_while_its_secret_holds_it(server: ApiServer) -> None:
    call = call_of(server)
    token = await old_token(call)
    status = await review(call, token)
    assert status["user"]["username"] == "system:serviceaccount:default:default"
    assert "extra" not in status["user"]
    assert server.tokens is not None
    assert (await review(call, token, *server.tokens.audiences))["authenticated"]
    assert not (await review(call, token, "vault")).get("authenticated")
    label = {"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": "2026-01-01"}}}
    secret = f"{NS}/secrets/default-token-x"
    await call("PATCH", secret, label, "application/merge-patch+json")
    assert "marked invalid" in (await review(call, token))["error"]
    await call("PATCH", secret, {"metadata": {"labels": None}}, "application/merge-patch+json")
    assert await taken(server, token)
    await call("PATCH", secret, {"data": {"token": "eA=="}}, "application/merge-patch+json")
    assert "does not match server's copy" in (await review(call, token))["error"]
    await call("DELETE", secret)
    assert "invalidated" in (await review(call, token))["error"]


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "system:serviceaccount:kube-system:admin"},
        {"kubernetes.io/serviceaccount/service-account.uid": "other"},
        {"kubernetes.io/serviceaccount/secret.name": ""},
        {"kubernetes.io/serviceaccount/namespace": "kube-system"},
    ],
)
async def test_claims_that_do_not_fit(server: ApiServer, changes: dict[str, str]) -> None:
    assert not await taken(server, await old_token(call_of(server), **changes))


async def test_the_mounted_token_of_a_pod_is_good_for_a_year_and_stale_after_its_hour(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = call_of(server)
    _, pod = await call(
        "POST", f"{NS}/pods", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    )
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": pod["metadata"]["uid"]}
    code, answer = await call(
        "POST", f"{ACCOUNT}/token", {"spec": {"boundObjectRef": reference, "expirationSeconds": 3607}}
    )
    assert code == 201
    token = answer["status"]["token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 365 * 24 * 3600
    assert claims["kubernetes.io"]["warnafter"] - claims["iat"] == 3607
    assert answer["spec"]["expirationSeconds"] == 3607
    short = await token_of(call, boundObjectRef=reference, expirationSeconds=3600)
    other = await token_of(call, boundObjectRef=reference, expirationSeconds=3607, audiences=["vault"])
    free = await token_of(call, expirationSeconds=3607)
    for one in (short, other, free):
        found = jwt.decode(one, options={"verify_signature": False})
        assert found["exp"] - found["iat"] < 4000
    extra = (await review(call, token))["user"]["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["p"]
    assert extra["authentication.kubernetes.io/pod-uid"] == [pod["metadata"]["uid"]]
    assert extra["authentication.kubernetes.io/credential-id"] == [f"JTI={claims['jti']}"]
    now = time.time()
    assert server.tokens is not None
    monkeypatch.setattr(server.tokens, "_now", lambda: now + 4000)
    assert await taken(server, token)
    assert not await taken(server, short)
    text = server.metrics.text().decode()
    assert "serviceaccount_stale_tokens_total 1.0" in text
    assert "serviceaccount_legacy_tokens_total 0.0" in text


@pytest.mark.parametrize(
    ("of_account", "of_pod", "mounts"),
    [
        (None, None, True),
        (None, False, False),
        (None, True, True),
        (False, None, False),
        (False, True, True),
        (False, False, False),
        (True, None, True),
        (True, False, False),
        (True, True, True),
    ],
)
async def test_should_allow_opting_out_of_api_token_automount(
    server: ApiServer, of_account: bool | None, of_pod: bool | None, mounts: bool
) -> None:
    """The nine cases of the conformance test: the pod's word goes over its account's."""
    call = call_of(server)
    body: dict[str, Any] = {"metadata": {"name": "a"}}
    if of_account is not None:
        body["automountServiceAccountToken"] = of_account
    await call("POST", f"{NS}/serviceaccounts", body)
    spec: dict[str, Any] = {"serviceAccountName": "a", "containers": [{"name": "c", "image": "i"}]}
    if of_pod is not None:
        spec["automountServiceAccountToken"] = of_pod
    code, made = await call("POST", f"{NS}/pods", {"metadata": {"name": "p"}, "spec": spec})
    assert code == 201
    found = [
        one for one in made["spec"]["containers"][0].get("volumeMounts") or () if "serviceaccount" in one["mountPath"]
    ]
    assert bool(found) == mounts


async def test_a_token_request_is_answered_with_the_account_it_is_for(call: Call) -> None:
    code, found = await call("POST", f"{ACCOUNT}/token", {"spec": {}})
    _, account = await call("GET", ACCOUNT)
    meta = found["metadata"]
    assert (code, meta["name"], meta["uid"]) == (201, account["metadata"]["name"], account["metadata"]["uid"])
    assert times.parse(meta["creationTimestamp"]) >= times.parse(account["metadata"]["creationTimestamp"])
    uid = account["metadata"]["uid"]
    assert (await call("POST", f"{ACCOUNT}/token", {"metadata": {"uid": uid}, "spec": {}}))[0] == 201
    code, answer = await call("POST", f"{ACCOUNT}/token", {"metadata": {"uid": "another"}, "spec": {}})
    why = f"the UID in the token request (another) does not match the UID of the service account ({uid})"
    assert (code, why in answer["message"]) == (409, True)


async def test_who_asks_who_they_are_is_told_when(call: Call) -> None:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    code, found = await call("POST", path, {"metadata": {"name": "gone"}})
    assert (code, set(found["metadata"])) == (201, {"creationTimestamp"})
    assert times.parse(found["metadata"]["creationTimestamp"]) > 0
