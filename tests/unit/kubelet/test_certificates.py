"""A node's certificates: read, judged, asked for, renewed in time."""

import asyncio
import base64
import random
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pybernetes.api.errors import ServiceUnavailable
from pybernetes.api.objects import Obj
from pybernetes.api.resources import CERTIFICATE_SIGNING_REQUESTS
from pybernetes.client import Client
from pybernetes.kubelet.certificates import (
    KUBELET_SERVING,
    Held,
    Refused,
    Rotation,
    ServingFiles,
    Wanted,
    due,
    obtain,
    serving_wanted,
)
from pybernetes.kubelet.der import Facts, der_of, facts_of
from pybernetes.pki import Authority, Pair
from support.fake_api import FakeApi

WANTED = Wanted("example.com/x", "system:node:n", ("system:nodes",))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.ensure(tmp_path / "pki")


def pem(pair: Pair) -> bytes:
    return Path(pair.certificate).read_bytes()


def test_facts_are_those_that_a_library_reads(authority: Authority) -> None:
    pair = authority.issue(
        "s", user="u", groups=["a", "b"], dns=["n1", "n1.local"], addresses=["10.0.0.1", "fd00::1"], server=True
    )
    facts, library = facts_of(der_of(pem(pair))), x509.load_pem_x509_certificate(pem(pair))
    assert facts == Facts(
        "u",
        ("a", "b"),
        library.not_valid_before_utc.timestamp(),
        library.not_valid_after_utc.timestamp(),
        frozenset({"n1", "n1.local", "10.0.0.1", "fd00::1"}),
    )
    assert facts_of(library.public_bytes(Encoding.DER)).names == facts.names
    assert facts_of(der_of(pem(authority.issue("c", user="u")))).names == frozenset()


@pytest.mark.parametrize("data", [b"", b"-----BEGIN CERTIFICATE-----", b"nonsense"])
def test_what_is_no_pem(data: bytes) -> None:
    with pytest.raises(ValueError, match="no certificate"):
        der_of(data)


def test_a_certificate_is_due_between_70_and_90_percent_of_its_life(authority: Authority) -> None:
    held = pem(authority.issue("c", user="u"))
    facts = facts_of(der_of(held))
    life = facts.until - facts.since
    shares = set()
    for seed in range(50):
        rotation = Rotation(
            Client(FakeApi()),
            wanted=lambda: WANTED,
            held=lambda: held,
            put=lambda _: None,
            clock=lambda: facts.since,
            rng=random.Random(seed),
        )
        shares.add(rotation.seconds_left() / life)
    assert all(0.7 <= share <= 0.9 for share in shares)
    assert max(shares) - min(shares) > 0.15
    assert due(Facts("", (), 100.0, 200.0, frozenset()), share=0.8) == 180.0


def test_one_that_lacks_a_name_is_due_now(authority: Authority) -> None:
    held = pem(authority.issue("s", user="u", dns=["n"], server=True))
    names: list[tuple[str, ...]] = [("n",)]
    rotation = Rotation(
        Client(FakeApi()), wanted=lambda: Wanted("s", "u", dns=names[0]), held=lambda: held, put=lambda _: None
    )
    assert rotation.seconds_left() > 0
    names[0] = ("n", "other")
    assert rotation.seconds_left() == 0.0


def test_a_serving_certificate_is_for_the_nodes_addresses() -> None:
    addresses = [
        {"type": "InternalIP", "address": "10.0.0.1"},
        {"type": "ExternalIP", "address": "192.0.2.1"},
        {"type": "Hostname", "address": "n"},
        {"type": "InternalDNS", "address": "n"},
    ]
    wanted = serving_wanted({"metadata": {"name": "n"}, "status": {"addresses": addresses}})
    assert wanted == Wanted(KUBELET_SERVING, "system:node:n", ("system:nodes",), ("n",), ("10.0.0.1", "192.0.2.1"))


def answering(status: Obj) -> FakeApi:
    """Each request is answered so."""
    api = FakeApi()

    def react(verb: str, plural: str, obj: Obj) -> None:
        if plural == "certificatesigningrequests" and "status" not in obj:
            asyncio.get_running_loop().call_soon(
                lambda: api.edit(CERTIFICATE_SIGNING_REQUESTS, obj["metadata"]["name"], status=status)
            )

    api.react.append(react)
    return api


async def test_a_certificate_is_asked_for_and_its_key_is_new() -> None:
    api = answering({"certificate": base64.b64encode(b"signed").decode()})
    held = await obtain(Client(api), WANTED._replace(dns=("n",), addresses=("10.0.0.1",)))
    assert held.certificate == b"signed"
    assert b"PRIVATE KEY" in held.key
    spec = api.of(CERTIFICATE_SIGNING_REQUESTS)[0]["spec"]
    assert (spec["signerName"], spec["usages"]) == ("example.com/x", ["digital signature", "server auth"])
    request = x509.load_pem_x509_csr(base64.b64decode(spec["request"]))
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=system:node:n,O=system:nodes"


@pytest.mark.parametrize("kind", ["Denied", "Failed"])
async def test_a_refusal_is_told(kind: str) -> None:
    api = answering({"conditions": [{"type": kind, "status": "True", "reason": "Because", "message": "of it"}]})
    with pytest.raises(Refused, match=f"{kind.lower()}: Because: of it"):
        await obtain(Client(api), WANTED)


async def test_a_request_that_is_deleted_is_refused() -> None:
    api = FakeApi()
    asking = asyncio.create_task(obtain(Client(api), WANTED))
    await api.until(lambda: bool(api.of(CERTIFICATE_SIGNING_REQUESTS)) and bool(api.watchers))
    api.drop(CERTIFICATE_SIGNING_REQUESTS, api.of(CERTIFICATE_SIGNING_REQUESTS)[0]["metadata"]["name"])
    with pytest.raises(Refused, match="was deleted"):
        await asking


async def test_nobody_who_decides_is_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        await obtain(Client(FakeApi()), WANTED, seconds=0.05)


async def test_trouble_is_tried_again(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = pem(authority.issue("c", user="system:node:n", groups=["system:nodes"]))
    api = answering({"certificate": base64.b64encode(fresh).decode()})
    failures = iter([ServiceUnavailable("not now")])

    def fail(request: Any) -> None:
        if request.method == "POST" and (error := next(failures, None)):
            raise error

    api.fail = fail
    monkeypatch.setattr("pybernetes.kubelet.certificates.Backoff", lambda **_: _Quick())
    kept: list[Held] = []
    rotation = Rotation(
        Client(api),
        wanted=lambda: WANTED,
        held=lambda: kept[-1].certificate if kept else b"",
        put=kept.append,
    )
    running = asyncio.create_task(rotation.run())
    await api.until(lambda: bool(kept))
    running.cancel()
    await asyncio.wait([running])
    assert [one.certificate for one in kept] == [fresh]
    assert len(api.asked("POST", "certificatesigningrequests")) == 2


class _Quick:
    def next(self) -> float:
        return 0.0

    def reset(self) -> None:
        pass


async def test_a_clock_that_is_ahead_does_not_make_requests_without_end(authority: Authority) -> None:
    fresh = pem(authority.issue("c", user="system:node:n", groups=["system:nodes"]))
    api = answering({"certificate": base64.b64encode(fresh).decode()})
    rotation = Rotation(
        Client(api), wanted=lambda: WANTED, held=lambda: fresh, put=lambda _: None, clock=lambda: time.time() + 1e9
    )
    running = asyncio.create_task(rotation.run())
    await api.until(lambda: len(api.of(CERTIFICATE_SIGNING_REQUESTS)) == 1)
    for _ in range(200):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    assert len(api.of(CERTIFICATE_SIGNING_REQUESTS)) == 1


def test_the_younger_of_two_is_served_and_kept_private(authority: Authority, tmp_path: Path) -> None:
    files = ServingFiles("", "", str(tmp_path / "new/current.pem"))
    assert files.newest() is None
    assert files.held() == b""
    pair = authority.issue("s", user="u", dns=["n"], server=True)
    given = ServingFiles(pair.certificate, pair.key, str(tmp_path / "new/current.pem"))
    assert given.newest() == (pair.certificate, pair.key)
    young = authority.issue("t", user="u", dns=["n"], server=True)
    given.put(Held(pem(young), Path(young.key).read_bytes()))
    assert Path(given.renewed).stat().st_mode & 0o777 == 0o600
    newest = given.newest()
    assert newest is not None
    assert newest[0] in (given.renewed, pair.certificate)  # made in the same second, either will do
