"""What is counted: long requests, watch events, stored objects, who was let in, the audit log."""

import asyncio
import contextlib
import re
from pathlib import Path

from pybernetes.apiserver import ApiServer, ApiServerConfig
from pybernetes.wire import Request
from pybernetes.wire.serve import Limits, Server
from support.server import api_server

from .conftest import Call, call_of

MAPS = "/api/v1/namespaces/default/configmaps"


async def figures(server: ApiServer) -> dict[str, float]:
    _, text = await call_of(server)("GET", "/metrics")
    pairs = [line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in pairs}


async def test_a_watch_is_long_running_until_it_is_closed(server: ApiServer, call: Call) -> None:
    labels = 'component="apiserver",group="",resource="configmaps",scope="namespace",subresource="",verb="WATCH"'
    long = f'apiserver_longrunning_requests{{{labels},version="v1"}}'
    sent = 'apiserver_watch_events_total{group="",kind="ConfigMap",version="v1"}'
    before = (await figures(server)).get(sent, 0)
    request = Request(path=MAPS, query={"watch": ["1"]}, stream=True)
    response = await server.trusted("a", "system:masters").send(request)
    body = response.body
    assert not isinstance(body, bytes)
    assert (await figures(server))[long] == 1
    assert (await call("POST", MAPS, {"metadata": {"name": "c"}}))[0] == 201
    async with asyncio.timeout(60):
        lines = b""
        async for chunk in body:
            lines += chunk
            if b'"name":"c"' in lines:
                break
    await body.aclose()  # type: ignore[attr-defined]
    found = await figures(server)
    assert found[long] == 0
    assert found[sent] - before == lines.count(b"\n")


async def test_a_watch_that_is_refused_is_not_long_running(server: ApiServer) -> None:
    code, _ = await call_of(server, "somebody", "people")("GET", f"{MAPS}?watch=1")
    assert code == 403
    assert not any(name.startswith("apiserver_longrunning_requests{") for name in await figures(server))


async def test_objects_are_counted_by_resource(server: ApiServer, call: Call) -> None:
    before = (await figures(server)).get('apiserver_storage_objects{resource="configmaps"}', 0)
    await call("POST", MAPS, {"metadata": {"name": "c"}})
    found = await figures(server)
    assert found['apiserver_storage_objects{resource="configmaps"}'] == before + 1
    assert found['apiserver_storage_objects{resource="clusterroles.rbac.authorization.k8s.io"}'] > 10


async def test_admission_is_timed_by_plug_in_and_as_a_whole(call: Call) -> None:
    pods = "/api/v1/namespaces/default/pods"
    spec = {"containers": [{"name": "c", "image": "i"}]}
    await call("POST", pods, {"metadata": {"name": "a"}, "spec": spec | {"priorityClassName": "none"}})
    await call("POST", pods, {"metadata": {"name": "a"}, "spec": spec})
    _, text = await call("GET", "/metrics")
    head = b"apiserver_admission_controller_admission_duration_seconds_count{"
    assert head + b'name="Priority",operation="CREATE",rejected="true",type="admit"} 1.0' in text
    assert head + b'name="Priority",operation="CREATE",rejected="false",type="admit"}' in text
    assert head + b'name="NodeRestriction",operation="CREATE",rejected="false",type="validate"}' in text
    named = set(re.findall(rb'controller_admission_duration_seconds_count{name="(.+?)"', text))
    assert {name for name in named if b"_" in name} == set()  # a step without its plug-in's name
    step = b'apiserver_admission_step_admission_duration_seconds_bucket{le="+Inf",operation="CREATE",'
    assert step + b'rejected="true",type="admit"} 1.0' in text
    assert step + b'rejected="false",type="validate"}' in text


async def test_who_is_known_and_who_may_is_counted(server: ApiServer) -> None:
    before = await figures(server)
    assert (await server.handler(Request(path="/livez"))).status == 200
    assert (await server.handler(Request(path="/livez", headers={"authorization": "Bearer x"}))).status == 401
    assert (await call_of(server, "somebody", "people")("GET", MAPS))[0] == 403
    after = await figures(server)
    grown = {
        name: after[name] - before[name]
        for name in (
            'authentication_attempts{result="success"}',
            'authentication_attempts{result="failure"}',
            'authorization_attempts_total{result="no-opinion"}',
            'authorization_attempts_total{result="allowed"}',
        )
    }
    assert list(grown.values()) == [1, 1, 1, 2]  # /livez and /metrics itself


async def test_the_audit_log_is_counted(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    rule = "{level: Metadata, resources: [{resources: [configmaps]}]}"
    policy.write_text(f"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{rule}]\n")
    config = ApiServerConfig(audit_policy_file=str(policy), audit_log_path=str(tmp_path / "audit.log"))
    async with api_server(config=config) as server:
        before = await figures(server)
        assert (await call_of(server)("GET", MAPS))[0] == 200
        after = await figures(server)
    names = ("apiserver_audit_event_total", 'apiserver_audit_level_total{level="Metadata"}')
    assert [after[name] - before[name] for name in names] == [2, 1]
    assert after['apiserver_audit_error_total{plugin="log"}'] == 0


async def test_the_audit_log_has_no_figures_without_a_policy(server: ApiServer) -> None:
    assert not any(name.startswith("apiserver_audit") for name in await figures(server))


async def test_the_sockets_connections_are_counted(server: ApiServer) -> None:
    limits = Limits(connections=1, grace_seconds=0.1)
    async with Server(server.handler, limits=limits, uploads=True) as socket, asyncio.timeout(60):
        server.serving(socket)
        reader, writer = await asyncio.open_connection(*socket.addresses[0])
        while not socket.door.open:
            await asyncio.sleep(0.01)
        with contextlib.suppress(ConnectionResetError):
            _, other = await asyncio.open_connection(*socket.addresses[0])
            other.close()
            with contextlib.suppress(ConnectionResetError):
                await other.wait_closed()
        while not socket.door.refused["total"]:
            await asyncio.sleep(0.01)
        found = await figures(server)
        writer.close()
        await writer.wait_closed()
    assert found["apiserver_connections"] == 1
    assert found["apiserver_connections_accepted_total"] == 1
    assert found['apiserver_connections_refused_total{bound="total"}'] == 1
    assert found["apiserver_tls_handshake_errors_total"] == 0
    del reader


async def test_a_strangers_body_is_not_read(server: ApiServer) -> None:
    async with Server(server.handler, limits=Limits(grace_seconds=0.1), uploads=True) as socket, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(*socket.addresses[0])
        head = "content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        writer.write(f"POST {MAPS} HTTP/1.1\r\nhost: x\r\n{head}".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
        writer.close()
        await writer.wait_closed()
