"""The kubelet's port: without a certificate it waits for one, and a renewed one is shown while connections stay."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from pybernetes.api.objects import Obj
from pybernetes.api.resources import CERTIFICATE_SIGNING_REQUESTS, NODES
from pybernetes.client import Client
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.node import NodeKeeper
from pybernetes.kubelet.serving import Serving
from pybernetes.pki import Authority
from pybernetes.pki.requests import Signer
from pybernetes.wire import Request, Response
from pybernetes.wire.send import HttpTransport
from pybernetes.wire.tls import presented
from support.fake_api import FakeApi


def signing(directory: Path) -> FakeApi:
    """Every request is signed at once, for a day."""
    api, signer = FakeApi(), Signer(directory)

    def react(verb: str, plural: str, obj: Obj) -> None:
        if plural == CERTIFICATE_SIGNING_REQUESTS.plural and "status" not in obj:
            request = x509.load_pem_x509_csr(base64.b64decode(obj["spec"]["request"]))
            pem = signer.sign(request, usages=obj["spec"]["usages"], life=timedelta(days=1))
            status = {"certificate": base64.b64encode(pem).decode()}
            name = obj["metadata"]["name"]
            asyncio.get_running_loop().call_soon(lambda: api.edit(CERTIFICATE_SIGNING_REQUESTS, name, status=status))

    api.react.append(react)
    return api


def listening(serving: Serving) -> tuple[str, int] | None:
    addresses = serving._server.addresses if serving._server is not None else ()
    return addresses[0] if addresses else None


@pytest.fixture
async def serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Serving, FakeApi, list[float]]]:
    monkeypatch.setattr("pybernetes.kubelet.certificates._PAUSE_SECONDS", 0.2)
    Authority.ensure(tmp_path / "pki")
    api, clock = signing(tmp_path / "pki"), [time.time()]
    config = KubeletConfig(
        node_name="n",
        node_addresses=("127.0.0.1",),
        state_directory=str(tmp_path),
        port=0,
        client_ca=str(tmp_path / "pki/ca.crt"),
        renewed_certificate=str(tmp_path / "serving.pem"),
    )
    client = Client(api)
    node = NodeKeeper(client, config, clock=time.time, problem=lambda: "")

    async def handler(request: Request) -> Response:
        return Response(body=b"ok")

    made = Serving(handler, client, config, node=node, clock=lambda: clock[0])
    tasks = [asyncio.create_task(one.run()) for one in (node, made)]
    try:
        yield made, api, clock
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def shown(address: tuple[str, int]) -> x509.Certificate:
    found = await asyncio.to_thread(presented, "127.0.0.1", address[1])
    return x509.load_der_x509_certificate(found[0])


async def test_the_first_certificate_is_asked_for_and_the_next_in_time(
    serving: tuple[Serving, FakeApi, list[float]], tmp_path: Path
) -> None:
    made, api, clock = serving
    await api.until(lambda: listening(made) is not None)
    address = listening(made)
    assert address is not None
    first = await shown(address)
    names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(one.value) for one in names} == {"127.0.0.1", "n"}
    ca = (tmp_path / "pki/ca.crt").read_bytes()
    transport = HttpTransport(f"https://127.0.0.1:{address[1]}", ca=ca)
    try:
        assert (await transport.send(Request())).body == b"ok"
        clock[0] += 23 * 3600
        made.rotation.nudge()
        await api.until(lambda: len(api.of(CERTIFICATE_SIGNING_REQUESTS)) >= 2)
        clock[0] -= 23 * 3600
        async with asyncio.timeout(60):
            while (await shown(address)).serial_number == first.serial_number:
                await asyncio.sleep(0.02)
        assert (await transport.send(Request())).body == b"ok"
    finally:
        await transport.close()
    assert (tmp_path / "serving.pem").stat().st_mode & 0o777 == 0o600


async def test_another_address_is_another_certificate(serving: tuple[Serving, FakeApi, list[float]]) -> None:
    """Asked for at once when the node's status says so."""
    made, api, _ = serving
    await api.until(lambda: listening(made) is not None)
    address = listening(made)
    assert address is not None
    addresses = [{"type": "InternalIP", "address": one} for one in ("127.0.0.1", "192.0.2.9")]
    made.node.node = api.edit(NODES, "n", status={"addresses": addresses})
    made.node.written()
    async with asyncio.timeout(60):
        while "192.0.2.9" not in str(
            (await shown(address)).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        ):
            await asyncio.sleep(0.02)
