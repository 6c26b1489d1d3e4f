"""The audit log on a real server, its policy and its files."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from pybernetes.api.objects import Obj
from pybernetes.api.resources import DEPLOYMENTS, PODS
from pybernetes.apiserver import ApiServerConfig
from pybernetes.apiserver.audit import AuditLog, BadPolicy, Policy
from pybernetes.apiserver.route import Route
from pybernetes.apiserver.users import User
from pybernetes.store import Unavailable
from pybernetes.wire import Peer, Request
from support.server import api_server

from ..conftest import call_of

HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
MAPS = "/api/v1/namespaces/default/configmaps"


def policy(tmp_path: Path, text: str) -> Policy:
    file = tmp_path / "policy.yaml"
    file.write_text(HEAD + text)
    return Policy.load(file)


@pytest.mark.parametrize(
    ("rule", "route", "matches"),
    [
        ("{}", Route("get", "/version"), True),
        ("users: [alice]", Route("get", "", PODS), True),
        ("users: [bob]", Route("get", "", PODS), False),
        ("userGroups: [devs, x]", Route("get", "", PODS), True),
        ("userGroups: [x]", Route("get", "", PODS), False),
        ("verbs: [list]", Route("get", "", PODS), False),
        ("namespaces: [a]", Route("get", "", PODS, "a"), True),
        ("namespaces: ['']", Route("get", "", PODS, "a"), False),
        ("namespaces: [a]", Route("get", "/version"), False),
        ("resources: [{group: ''}]", Route("get", "", PODS, "a", "b", "log"), True),
        ("resources: [{group: '', resources: [pods]}]", Route("get", "", PODS, "a", "b", "log"), False),
        ("resources: [{group: '', resources: [pods/log]}]", Route("get", "", PODS, "a", "b", "log"), True),
        ("resources: [{group: '', resources: [pods/*]}]", Route("get", "", PODS, "a", "b", "log"), True),
        ("resources: [{group: '', resources: ['*/log']}]", Route("get", "", PODS, "a", "b", "log"), True),
        ("resources: [{group: '', resources: ['*']}]", Route("get", "", DEPLOYMENTS), False),
        ("resources: [{resources: [pods], resourceNames: [x]}]", Route("get", "", PODS, "a", "b"), False),
        ("resources: [{resources: [pods], resourceNames: [b]}]", Route("get", "", PODS, "a", "b"), True),
        ("nonResourceURLs: ['/api*']", Route("get", "/apis"), True),
        ("nonResourceURLs: ['/api']", Route("get", "/apis"), False),
        ("nonResourceURLs: ['*']", Route("get", "", PODS), False),
    ],
)
def test_rules(tmp_path: Path, rule: str, route: Route, matches: bool) -> None:
    inner = "" if rule == "{}" else f", {rule}"
    found = policy(tmp_path, f"rules: [{{level: Metadata{inner}}}]\n").decide(User("alice", ("devs",)), route)
    assert found.level == ("Metadata" if matches else "None")


def test_the_first_rule_decides_and_stages_add_up(tmp_path: Path) -> None:
    text = "omitStages: [Panic]\nomitManagedFields: true\nrules:\n"
    text += "- {level: Request, verbs: [get], omitStages: [RequestReceived], omitManagedFields: false}\n"
    text += "- {level: Metadata}\n"
    found = policy(tmp_path, text)
    assert found.decide(User("a"), Route("get", "/")) == ("Request", {"Panic", "RequestReceived"}, False)
    assert found.decide(User("a"), Route("post", "/")) == ("Metadata", {"Panic"}, True)


@pytest.mark.parametrize(
    "text",
    [
        "rules: []",
        "rules: [{level: Much}]",
        "rules: [{level: None, wrong: 1}]",
        "rules: [{level: Metadata, nonResourceURLs: [/x], namespaces: [a]}]",
        "rules: [",
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadPolicy, match=r"policy\.yaml"):
        policy(tmp_path, text)
    with pytest.raises(BadPolicy):
        Policy.load(tmp_path / "none")


async def told(tmp_path: Path, text: str, *requests: Any) -> list[Obj]:
    """The events of calls by alice, who may do everything."""
    policy(tmp_path, text)
    path = tmp_path / "log" / "audit.log"
    config = ApiServerConfig(audit_policy_file=str(tmp_path / "policy.yaml"), audit_log_path=str(path))
    async with api_server(config=config) as server:
        for request in requests:
            await request(server)
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_an_event_has_all_of_a_request(tmp_path: Path) -> None:
    body = {"metadata": {"name": "m"}, "data": {"a": "b"}}

    async def create(server: Any) -> None:
        call = call_of(server, "alice")
        answer = await call("POST", f"{MAPS}?fieldManager=x", body, user_agent="kubectl/1")
        assert answer[0] == 201
        assert call.headers["audit-id"]  # type: ignore[attr-defined]

    received, complete = await told(tmp_path, "rules: [{level: RequestResponse, users: [alice]}]\n", create)
    assert (received["kind"], received["apiVersion"]) == ("Event", "audit.k8s.io/v1")
    assert (received["stage"], complete["stage"]) == ("RequestReceived", "ResponseComplete")
    assert received["auditID"] == complete["auditID"] != ""
    assert received["stageTimestamp"] == received["requestReceivedTimestamp"]
    assert received["requestURI"] == f"{MAPS}?fieldManager=x"
    assert (received["verb"], received["userAgent"], received["sourceIPs"]) == ("create", "kubectl/1", ["127.0.0.1"])
    assert received["user"]["username"] == "alice"
    assert received["objectRef"] == {"resource": "configmaps", "namespace": "default", "apiVersion": "v1"}
    assert "requestObject" not in received
    assert "responseStatus" not in received
    assert complete["requestObject"] == body
    assert complete["objectRef"] == received["objectRef"] | {"name": "m"}
    assert complete["responseStatus"]["code"] == 201
    assert complete["responseObject"]["data"] == {"a": "b"}
    assert complete["annotations"]["authorization.k8s.io/decision"] == "allow"


async def test_a_refusal_and_an_impersonation_are_told(tmp_path: Path) -> None:
    async def refused(server: Any) -> None:
        assert (await call_of(server, "bob", "nobodies")("GET", MAPS))[0] == 403
        assert (await call_of(server, "alice")("GET", MAPS, impersonate_user="carol"))[0] == 403

    rules = "omitStages: [RequestReceived]\nrules: [{level: Metadata, users: [alice, bob]}]\n"
    bob, alice = await told(tmp_path, rules, refused)
    assert (bob["responseStatus"]["code"], bob["responseStatus"]["reason"]) == (403, "Forbidden")
    assert bob["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert "requestObject" not in bob
    assert "impersonatedUser" not in bob
    assert alice["impersonatedUser"]["username"] == "carol"


async def test_a_watch_is_told_when_it_starts_and_when_it_ends(tmp_path: Path) -> None:
    async def watch(server: Any) -> None:
        transport = server.trusted("alice", "system:masters")
        query = {"watch": ["1"], "timeoutSeconds": ["1"]}
        response = await transport.send(Request(path=MAPS, query=query, stream=True))
        await response.body.aclose()

    rules = "rules: [{level: RequestResponse, verbs: [watch], users: [alice]}]\n"
    events = await told(tmp_path, rules, watch)
    assert [event["stage"] for event in events] == ["RequestReceived", "ResponseStarted", "ResponseComplete"]


async def test_what_breaks_is_told_as_a_panic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(server: Any) -> None:
        monkeypatch.setattr(server._objects, "serve", None)
        assert (await call_of(server, "alice")("GET", MAPS))[0] == 500

    events = await told(tmp_path, "rules: [{level: Metadata, users: [alice]}]\n", broken)
    assert [event["stage"] for event in events] == ["RequestReceived", "Panic"]


async def test_refused_credentials_are_told(tmp_path: Path) -> None:
    async def strangers(server: Any) -> None:
        for headers in ({"authorization": "Bearer nonsense"}, {"authorization": "Basic eDp5"}, {}):
            request = Request(path=MAPS, headers={"user-agent": "x", **headers}, peer=Peer(address="192.0.2.1:1"))
            assert (await server.handler(request)).status == 401

    rules = "rules:\n- {level: None, users: [alice]}\n- {level: Metadata, resources: [{resources: [configmaps]}]}\n"
    bearer, *rest = await told(tmp_path, rules, strangers)
    assert (bearer["stage"], bearer["user"], bearer["sourceIPs"]) == ("ResponseStarted", {}, ["192.0.2.1"])
    assert (bearer["verb"], bearer["objectRef"]["resource"]) == ("list", "configmaps")
    message = "Authentication failed, attempted: bearer"
    assert bearer["responseStatus"] == {"metadata": {}, "message": message, "code": 401}
    anonymous = [event for event in rest if event["user"].get("username") == "system:anonymous"]
    assert [event["stage"] for event in anonymous if event["auditID"] == anonymous[-1]["auditID"]] == [
        "RequestReceived",
        "ResponseComplete",
    ]
    assert anonymous[-1]["responseStatus"]["code"] == 401


async def test_reasons_of_decisions_are_told(tmp_path: Path) -> None:
    async def ask(server: Any) -> None:
        rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
        rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
        subject = {"kind": "User", "name": "carol", "apiGroup": "rbac.authorization.k8s.io"}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
        call = call_of(server)
        assert (await call("POST", f"{rbac}/roles", {"metadata": {"name": "r"}, "rules": [rule]}))[0] == 201
        body = {"metadata": {"name": "b"}, "roleRef": reference, "subjects": [subject]}
        assert (await call("POST", f"{rbac}/rolebindings", body))[0] == 201
        assert (await call_of(server, "carol", "x")("GET", MAPS))[0] == 200

    rules = "omitStages: [RequestReceived]\nrules: [{level: Metadata, users: [carol]}]\n"
    (event,) = await told(tmp_path, rules, ask)
    assert event["annotations"] == {
        "authorization.k8s.io/decision": "allow",
        "authorization.k8s.io/reason": 'RBAC: allowed by RoleBinding "b/default" of Role "r" to User "carol"',
    }


async def test_bodies_in_other_forms_are_told_as_objects(tmp_path: Path) -> None:
    async def create(server: Any) -> None:
        call = call_of(server, "alice")
        yaml = b"metadata: {name: y}\ndata: {a: b}\n"
        assert (await call("POST", MAPS, yaml, "application/yaml"))[0] == 201
        patch = [{"op": "add", "path": "/data/c", "value": "d"}]
        assert (await call("PATCH", f"{MAPS}/y", patch, "application/json-patch+json"))[0] == 200
        packed = b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x05\n\x03\n\x01p"
        assert (await call("POST", MAPS, packed, "application/vnd.kubernetes.protobuf"))[0] == 201
        assert (await call("POST", MAPS, b"{", "application/json"))[0] == 400
        assert (await call("POST", MAPS, b"x", "text/plain"))[0] == 415

    rules = "omitStages: [RequestReceived]\nrules: [{level: Request, users: [alice]}]\n"
    yaml, patch, packed, broken, unknown = await told(tmp_path, rules, create)
    assert yaml["requestObject"]["data"] == {"a": "b"}
    assert yaml["objectRef"]["name"] == "y"
    assert patch["requestObject"] == [{"op": "add", "path": "/data/c", "value": "d"}]
    assert packed["requestObject"]["metadata"]["name"] == packed["objectRef"]["name"] == "p"
    assert "requestObject" not in broken
    assert "requestObject" not in unknown


async def test_a_request_whose_time_is_up_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(server: Any) -> None:
        async def forever(*_: Any) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(server._objects, "serve", forever)
        assert (await call_of(server, "alice")("GET", f"{MAPS}?timeout=50ms"))[0] == 504

    rules = "omitStages: [RequestReceived]\nrules: [{level: Metadata, users: [alice]}]\n"
    (event,) = await told(tmp_path, rules, slow)
    assert event["stage"] == "ResponseComplete"
    assert (event["responseStatus"]["code"], event["responseStatus"]["reason"]) == (504, "Timeout")


async def test_what_is_no_bug_of_the_server_is_no_panic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def troubled(server: Any) -> None:
        for error, code in ((Unavailable("the store is away"), 503), (RecursionError(), 400)):

            async def serve(*_: Any, error: Exception = error) -> None:
                raise error

            monkeypatch.setattr(server._objects, "serve", serve)
            assert (await call_of(server, "alice")("GET", MAPS))[0] == code

    rules = "omitStages: [RequestReceived]\nrules: [{level: Metadata, users: [alice]}]\n"
    events = await told(tmp_path, rules, troubled)
    assert [(event["stage"], event["responseStatus"]["code"]) for event in events] == [
        ("ResponseComplete", 503),
        ("ResponseComplete", 400),
    ]


def test_files_are_rotated_and_old_ones_removed(tmp_path: Path) -> None:
    log = AuditLog(str(tmp_path / "audit.log"), max_size_mb=1, max_backups=2)
    for number in range(5):
        log.write({"n": number, "filler": "x" * 700_000})
    log.close()
    assert log.written == 5
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    assert [json.loads(one.read_text())["n"] for one in sorted(tmp_path.glob("audit-*.log"))] == [2, 3]
    assert json.loads((tmp_path / "audit.log").read_text())["n"] == 4
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600


async def test_an_answer_in_protobuf_is_told_in_json(tmp_path: Path) -> None:
    async def create(server: Any) -> None:
        call = call_of(server, "alice")
        accept = "application/vnd.kubernetes.protobuf"
        assert (await call("POST", MAPS, {"metadata": {"name": "m"}, "data": {"a": "b"}}, accept=accept))[0] == 201
        assert (await call("GET", f"{MAPS}/none", accept=accept))[0] == 404

    rules = "omitStages: [RequestReceived]\nrules: [{level: RequestResponse, users: [alice]}]\n"
    made, missing = await told(tmp_path, rules, create)
    assert made["responseObject"]["kind"] == "ConfigMap"
    assert made["responseObject"]["data"] == {"a": "b"}
    assert missing["responseStatus"]["code"] == 404
