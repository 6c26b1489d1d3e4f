"""Who may do what: certificates, tokens, RBAC, reviews, impersonation; nothing for the anonymous but health."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes

from pybernetes.api.errors import Unauthorized
from pybernetes.api.objects import decode, encode
from pybernetes.apiserver import ApiServer, ApiServerConfig
from pybernetes.apiserver.auth.certificates import Authenticator, shown_by
from pybernetes.apiserver.auth.rbac import Attributes, compiled, effective
from pybernetes.pki import Authority
from pybernetes.wire import Peer, Request
from support.server import api_server

from .conftest import call_of

ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"
PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[ApiServer]:
    """A server that issues tokens."""
    keys = Authority.ensure(tmp_path).service_account_keys()
    config = ApiServerConfig(service_account_key=keys.private, service_account_public_key=keys.public)
    async with api_server(config=config) as running:
        await call_of(running)("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        yield running


async def asked(
    server: ApiServer, path: str, *, method: str = "GET", body: Any = None, **headers: str
) -> tuple[int, Any]:
    """A request as from the socket: nobody vouches for it."""
    data = encode(body) if body is not None else b""
    response = await server.handler(Request(method=method, path=path, headers=headers, body=data))
    assert isinstance(response.body, bytes)
    text = response.headers.get("content-type", "")
    return response.status, decode(response.body) if "json" in text else response.body


async def token_of(server: ApiServer, **spec: Any) -> str:
    code, found = await call_of(server)("POST", f"{ACCOUNT}/token", {"spec": spec})
    assert code == 201, found
    token: str = found["status"]["token"]
    return token


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/livez/ping", "/readyz/bootstrap"])
async def test_health_is_for_everybody(secured: ApiServer, path: str) -> None:
    assert await asked(secured, path) == (200, b"ok")


async def test_health_in_full(secured: ApiServer) -> None:
    code, text = await call_of(secured)("GET", "/readyz?verbose=1")
    assert (code, text.splitlines()[-1]) == (200, b"readyz check passed")
    assert (await asked(secured, "/readyz/nothing"))[0] == 404


@pytest.mark.parametrize(
    "path", ["/", "/api", "/apis", "/version", "/metrics", "/openapi/v3", PODS, "/api/v1/nothing", "/healthzz", "/x"]
)
async def test_the_rest_is_not(secured: ApiServer, path: str) -> None:
    code, status = await asked(secured, path)
    assert (code, status["reason"]) == (401, "Unauthorized")


def test_the_certificate_is_the_user(tmp_path: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    pair = Authority.ensure(tmp_path).issue("x", user="system:node:n", groups=["system:nodes", "more"])
    der = x509.load_pem_x509_certificate(Path(pair.certificate).read_bytes()).public_bytes(Encoding.DER)
    user = shown_by(der).user
    assert user is not None
    assert user.name == "system:node:n"
    assert set(user.groups) == {"system:nodes", "more", "system:authenticated"}


async def test_a_client_certificate_is_let_in(secured: ApiServer, tmp_path: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    pair = Authority.ensure(tmp_path).issue("y", user="root", groups=["system:masters"])
    pem = Path(pair.certificate).read_bytes()  # noqa: ASYNC240
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    response = await secured.handler(Request(path=PODS, peer=Peer(certificate=der)))
    assert response.status == 200


async def test_a_connection_does_not_outlive_its_certificate(tmp_path: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    pair = Authority.ensure(tmp_path).issue("y", user="root", groups=["system:masters"])
    certificate = x509.load_pem_x509_certificate(Path(pair.certificate).read_bytes())  # noqa: ASYNC240
    clock = [certificate.not_valid_after_utc.timestamp()]
    authenticator = Authenticator(None, read=lambda *_: None, now=lambda: clock[0])
    request = Request(path=PODS, peer=Peer(certificate=certificate.public_bytes(Encoding.DER)))
    found = await authenticator.user(request)
    assert found is not None
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
    assert found.extra == {"authentication.kubernetes.io/credential-id": (f"X509SHA256={fingerprint}",)}
    clock[0] += 1
    with pytest.raises(Unauthorized):
        await authenticator.user(request)


async def test_a_token_is_its_service_account(secured: ApiServer) -> None:
    token = await token_of(secured)
    code, status = await asked(secured, PODS, authorization=f"Bearer {token}")
    assert code == 403
    assert status["message"] == (
        'pods is forbidden: User "system:serviceaccount:default:default" cannot list resource "pods" '
        'in API group "" in the namespace "default"'
    )
    code, review = await asked(
        secured,
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        method="POST",
        body={},
        authorization=f"Bearer {token}",
    )
    assert code == 201
    info = review["status"]["userInfo"]
    assert info["groups"] == ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]


@pytest.mark.parametrize("header", ["Bearer x", "Bearer ", "Basic eDp5", "x", "Bearer a.b.c"])
async def test_bad_credentials(secured: ApiServer, header: str) -> None:
    assert (await asked(secured, "/version", authorization=header))[0] == 401


async def test_a_space_too_many_before_a_token_makes_it_none(secured: ApiServer) -> None:
    token = await token_of(secured)
    assert (await asked(secured, "/version", authorization=f" bearer {token} and more"))[0] == 200
    response = await secured.handler(Request(path="/version", headers={"authorization": f"Bearer  {token}"}))
    said = "the provided Authorization header contains extra space before the bearer token, and is ignored"
    assert (response.status, response.headers["warning"]) == (401, f'299 - "{said}"')


async def test_tokens_of_another_key_or_algorithm(secured: ApiServer) -> None:
    token = await token_of(secured)
    claims = jwt.decode(token, options={"verify_signature": False})
    for forged in (jwt.encode(claims, "x" * 32, "HS256"), jwt.encode(claims, None, "none")):  # type: ignore[arg-type]
        assert (await asked(secured, "/version", authorization=f"Bearer {forged}"))[0] == 401
    public = secured.config.service_account_public_key
    assert public  # the classic confusion: the public key taken as an HMAC secret
    key = Path(public).read_text()  # noqa: ASYNC240
    with pytest.raises(jwt.InvalidKeyError):
        jwt.encode(claims, key, "HS256")


async def test_tokens_end(secured: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await token_of(secured, expirationSeconds=600)
    assert (await asked(secured, "/version", authorization=f"Bearer {token}"))[0] == 200
    now = time.time()
    assert secured.tokens is not None
    monkeypatch.setattr(secured.tokens, "_now", lambda: now + 601)
    assert (await asked(secured, "/version", authorization=f"Bearer {token}"))[0] == 401


async def test_tokens_die_with_their_objects(secured: ApiServer) -> None:
    call = call_of(secured)
    _, pod = await call(
        "POST", PODS, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    )
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": pod["metadata"]["uid"]}
    bound, free = await token_of(secured, boundObjectRef=reference), await token_of(secured)
    for token in (bound, free):
        assert (await asked(secured, "/version", authorization=f"Bearer {token}"))[0] == 200
    await call("DELETE", f"{PODS}/p")
    assert (await asked(secured, "/version", authorization=f"Bearer {bound}"))[0] == 401
    assert (await asked(secured, "/version", authorization=f"Bearer {free}"))[0] == 200
    await call("DELETE", ACCOUNT)
    assert (await asked(secured, "/version", authorization=f"Bearer {free}"))[0] == 401
    await call("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    assert (await asked(secured, "/version", authorization=f"Bearer {free}"))[0] == 401


async def node_token(server: ApiServer, **reference: str) -> str:
    return await token_of(server, boundObjectRef={"kind": "Node", "apiVersion": "v1", "name": "n"} | reference)


async def test_a_token_dies_with_its_node(secured: ApiServer) -> None:
    call = call_of(secured)
    _, node = await call("POST", "/api/v1/nodes", {"metadata": {"name": "n"}})
    header = f"Bearer {await node_token(secured, uid=node['metadata']['uid'])}"
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    _, review = await asked(secured, path, method="POST", body={}, authorization=header)
    extra = review["status"]["userInfo"]["extra"]
    assert extra["authentication.kubernetes.io/node-name"] == ["n"]
    assert extra["authentication.kubernetes.io/node-uid"] == [node["metadata"]["uid"]]
    await call("DELETE", "/api/v1/nodes/n")
    assert (await asked(secured, "/version", authorization=header))[0] == 401
    await call("POST", "/api/v1/nodes", {"metadata": {"name": "n"}})
    assert (await asked(secured, "/version", authorization=header))[0] == 401
    assert (await asked(secured, "/version", authorization=f"Bearer {await node_token(secured)}"))[0] == 200


async def test_the_token_of_a_pod_outlives_its_node(secured: ApiServer) -> None:
    call = call_of(secured)
    _, node = await call("POST", "/api/v1/nodes", {"metadata": {"name": "n"}})
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n"}
    _, pod = await call("POST", PODS, {"metadata": {"name": "p"}, "spec": spec})
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": pod["metadata"]["uid"]}
    token = await token_of(secured, boundObjectRef=reference)
    claims = jwt.decode(token, options={"verify_signature": False})["kubernetes.io"]
    assert claims["node"] == {"name": "n", "uid": node["metadata"]["uid"]}
    await call("DELETE", "/api/v1/nodes/n")
    assert (await asked(secured, "/version", authorization=f"Bearer {token}"))[0] == 200
    later = await token_of(secured, boundObjectRef=reference)
    assert jwt.decode(later, options={"verify_signature": False})["kubernetes.io"]["node"] == {"name": "n"}
    assert (await asked(secured, "/version", authorization=f"Bearer {later}"))[0] == 200


async def test_a_token_does_not_outlive_the_grace_of_what_finalizers_hold(
    secured: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, secrets = call_of(secured), "/api/v1/namespaces/default/secrets"
    await call("POST", secrets, {"metadata": {"name": "s", "finalizers": ["example.com/hold"]}})
    token = await token_of(secured, boundObjectRef={"kind": "Secret", "apiVersion": "v1", "name": "s"})
    await call("DELETE", f"{secrets}/s")
    assert (await asked(secured, "/version", authorization=f"Bearer {token}"))[0] == 200
    now = time.time()
    assert secured.tokens is not None
    monkeypatch.setattr(secured.tokens, "_now", lambda: now + 62)
    assert (await asked(secured, "/version", authorization=f"Bearer {token}"))[0] == 401


async def test_token_requests_that_are_refused(secured: ApiServer) -> None:
    call = call_of(secured)
    assert (await call("POST", f"{ACCOUNT}/token", {"spec": {"expirationSeconds": 5}}))[0] == 422
    assert (await call("POST", f"{ACCOUNT}x/token", {"spec": {}}))[0] == 404
    gone = {"kind": "Pod", "apiVersion": "v1", "name": "nobody"}
    assert (await call("POST", f"{ACCOUNT}/token", {"spec": {"boundObjectRef": gone}}))[0] == 404
    odd = {"kind": "Service", "apiVersion": "v1", "name": "x"}
    code, status = await call("POST", f"{ACCOUNT}/token", {"spec": {"boundObjectRef": odd}})
    assert (code, status["message"]) == (400, "cannot bind token to object of type /v1, Kind=Service")
    foreign = {"kind": "Pod", "apiVersion": "example.com/v1", "name": "x"}
    code, status = await call("POST", f"{ACCOUNT}/token", {"spec": {"boundObjectRef": foreign}})
    assert (code, status["message"]) == (400, "cannot bind token to object of type example.com/v1, Kind=Pod")
    code, status = await call("POST", f"{ACCOUNT}/token", {"metadata": {"name": "other"}, "spec": {}})
    assert (code, "name in URL does not match name" in status["message"]) == (400, True)


async def test_token_review(secured: ApiServer) -> None:
    call, path = call_of(secured), "/apis/authentication.k8s.io/v1/tokenreviews"
    token = await token_of(secured, audiences=["vault"])
    assert (await asked(secured, "/version", authorization=f"Bearer {token}"))[0] == 401
    _, review = await call("POST", path, {"spec": {"token": token, "audiences": ["vault"]}})
    assert review["status"]["authenticated"] is True
    assert review["status"]["audiences"] == ["vault"]
    _, review = await call("POST", path, {"spec": {"token": token}})
    assert review["status"]["authenticated"] is False
    _, review = await call("POST", path, {"spec": {"token": "x"}})
    assert "error" in review["status"]
    code, status = await call("POST", path, {"spec": {}})
    assert (code, status["message"]) == (400, "token is required for TokenReview in authentication")


async def test_the_issuers_documents_may_be_kept(secured: ApiServer) -> None:
    for path, media in (
        ("/.well-known/openid-configuration", "application/json"),
        ("/openid/v1/jwks", "application/jwk-set+json"),
    ):
        header = f"Bearer {await token_of(secured)}"
        response = await secured.handler(Request(path=path, headers={"authorization": header}))
        assert response.status == 200
        assert response.headers["content-type"] == media
        assert response.headers["cache-control"] == "public, max-age=3600"


async def test_issuer_discovery(secured: ApiServer) -> None:
    call = call_of(secured)
    code, document = await call("GET", "/.well-known/openid-configuration")
    assert (code, document["issuer"]) == (200, "https://kubernetes.default.svc.cluster.local")
    _, keys = await call("GET", "/openid/v1/jwks")
    token = await token_of(secured)
    key = jwt.PyJWK(keys["keys"][0])
    claims = jwt.decode(token, key, algorithms=["ES256"], audience=document["issuer"])
    assert claims["sub"] == "system:serviceaccount:default:default"


@pytest.mark.parametrize(
    ("rule", "asked_for", "allowed"),
    [
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, Attributes("get", "", "pods", "a", "b"), True),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, Attributes("get", "", "pods/log"), False),
        ({"verbs": ["get"], "apiGroups": [""], "resources": ["*/log"]}, Attributes("get", "", "pods/log"), True),
        ({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, Attributes("x", "y", "z/w"), True),
        ({"verbs": ["get"], "apiGroups": ["apps"], "resources": ["pods"]}, Attributes("get", "", "pods"), False),
        (
            {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]},
            Attributes("get", "", "pods", "", "b"),
            False,
        ),
        (
            {"verbs": ["list"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]},
            Attributes("list", "", "pods"),
            False,
        ),
        ({"verbs": ["get"], "nonResourceURLs": ["/api/*"]}, Attributes("get", path="/api/v1"), True),
        ({"verbs": ["get"], "nonResourceURLs": ["/api/*"]}, Attributes("get", path="/apis"), False),
        ({"verbs": ["get"], "nonResourceURLs": ["*"]}, Attributes("get", path="/x"), True),
        ({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, Attributes("get", path="/x"), False),
    ],
)
def test_rules(rule: dict[str, Any], asked_for: Attributes, allowed: bool) -> None:
    assert compiled([rule])[0].allows(asked_for) is allowed


def test_aggregated_roles_are_unions() -> None:
    parts = [
        {"metadata": {"name": "x", "labels": {"to": "view"}}, "rules": [{"verbs": ["get"]}]},
        {"metadata": {"name": "y"}, "rules": [{"verbs": ["list"]}]},
    ]
    role = {"rules": [], "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "view"}}]}}
    assert effective(role, parts) == [{"verbs": ["get"]}]


async def test_roles_take_effect_at_once_and_in_their_namespace(server: ApiServer) -> None:
    call, bob = call_of(server), call_of(server, "bob", "devs")
    assert (await bob("GET", PODS))[0] == 403
    binding = {
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "devs"}],
    }
    roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
    code, made = await call("POST", roles, binding)
    assert code == 201, made
    assert (await bob("GET", PODS))[0] == 200
    assert (await bob("GET", "/api/v1/pods"))[0] == 403
    assert (await bob("GET", "/api/v1/namespaces/default/secrets"))[0] == 403
    assert (await bob("POST", PODS, {}))[0] == 403
    await call("DELETE", f"{roles}/b")
    assert (await bob("GET", PODS))[0] == 403


@pytest.mark.parametrize(
    ("user", "groups", "method", "path", "code"),
    [
        ("system:kube-proxy", ["x"], "GET", "/apis/discovery.k8s.io/v1/endpointslices", 200),
        ("system:kube-proxy", ["x"], "GET", "/api/v1/secrets", 403),
        ("system:kube-dns", ["x"], "GET", "/api/v1/pods", 200),
        ("system:node:n", ["system:nodes"], "GET", "/api/v1/pods", 403),
        ("system:node:n", ["system:nodes"], "GET", "/api/v1/pods?fieldSelector=spec.nodeName=n", 200),
        ("system:node:n", ["system:nodes"], "GET", "/api/v1/services", 200),
        ("system:node:n", ["system:nodes"], "GET", "/api/v1/secrets", 403),
        ("system:node:n", ["system:nodes"], "GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles", 403),
        ("system:kube-scheduler", ["x"], "GET", "/api/v1/nodes", 200),
        ("system:kube-scheduler", ["x"], "GET", "/api/v1/secrets", 403),
        ("system:kube-controller-manager", ["x"], "GET", "/apis/apps/v1/deployments", 200),
        ("anyone", ["x"], "GET", "/apis", 200),
        ("anyone", ["x"], "GET", "/version", 200),
        ("anyone", ["x"], "GET", "/metrics", 403),
    ],
)
async def test_components_have_their_roles(
    server: ApiServer, user: str, groups: list[str], method: str, path: str, code: int
) -> None:
    assert (await call_of(server, user, *groups)(method, path))[0] == code


async def test_reviews(server: ApiServer) -> None:
    bob = call_of(server, "bob", "devs")
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    spec = {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}
    code, review = await bob("POST", path, {"spec": spec})
    assert (code, review["status"]) == (201, {"allowed": False})
    _, review = await bob("POST", path, {"spec": {"nonResourceAttributes": {"verb": "get", "path": "/version"}}})
    assert review["status"]["allowed"] is True
    assert "RBAC: allowed by ClusterRoleBinding" in review["status"]["reason"]
    assert (await bob("POST", path, {"spec": {}}))[0] == 422
    admin = call_of(server)
    _, review = await admin(
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {"spec": spec | {"user": "x", "groups": ["system:masters"]}},
    )
    assert review["status"]["allowed"] is True
    code, review = await bob(
        "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {"namespace": "default"}}
    )
    assert any("selfsubjectaccessreviews" in rule["resources"] for rule in review["status"]["resourceRules"])


async def test_impersonation(server: ApiServer) -> None:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    _, review = await call_of(server)("POST", path, {}, impersonate_user="bob", impersonate_group="a, b")
    assert review["status"]["userInfo"] == {"username": "bob", "groups": ["a", "b", "system:authenticated"]}
    code, status = await call_of(server, "bob", "devs")("POST", path, {}, impersonate_user="root")
    assert code == 403
    assert 'cannot impersonate resource "users"' in status["message"]
