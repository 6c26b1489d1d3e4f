"""A node's certificates: asked for by CertificateSigningRequest, renewed before they end.

Source: kubelet's certificate manager (client-go util/certificate): a new one is due when 70 to 90 % of the life is
over, by chance, so that the nodes of a cluster do not ask all at once.
"""

import asyncio
import base64
import contextlib
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pybernetes.aio.backoff import Backoff
from pybernetes.api.errors import ApiError, Expired, Gone, NotFound
from pybernetes.api.objects import Key, Obj, condition, name_of, revision_of
from pybernetes.api.resources import CERTIFICATE_SIGNING_REQUESTS
from pybernetes.client import Client

from .der import Facts, der_of, facts_of

log = logging.getLogger(__name__)

KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
NODES, NODE = "system:nodes", "system:node:"
NODE_COMPONENT = "pybernetes.io/node-component-client"
ANSWER_SECONDS = 15 * 60.0
"""A request that nobody decides is asked again."""
_SHARE = (0.7, 0.9)
_PAUSE_SECONDS = 10.0
"""At least so long after a success: with a clock that is far ahead every new certificate is due at once."""
_LOOK_SECONDS = 3600.0
"""The clock is looked at so often, as it may be set, or stand while the machine sleeps."""


class Refused(Exception):
    """A request was denied, or failed; the text says why."""


class Wanted(NamedTuple):
    """A certificate to ask for. With names it is a server's, else a client's."""

    signer: str
    user: str
    groups: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        return frozenset((*self.dns, *self.addresses))


def serving_wanted(node: Obj) -> Wanted:
    """For the addresses that a node's status tells."""
    dns: list[str] = []
    addresses: list[str] = []
    for one in (node.get("status") or {}).get("addresses") or ():
        (addresses if one["type"] in ("InternalIP", "ExternalIP") else dns).append(str(one["address"]))
    user = f"{NODE}{name_of(node)}"
    return Wanted(KUBELET_SERVING, user, (NODES,), tuple(dict.fromkeys(dns)), tuple(dict.fromkeys(addresses)))


class Held(NamedTuple):
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes


async def obtain(client: Client, wanted: Wanted, *, seconds: float = ANSWER_SECONDS) -> Held:
    """Ask and wait. Raises Refused, TimeoutError, ApiError, ConnectionError."""
    from pybernetes.pki.requests import ask  # costs megabytes, and is needed once in most of a year

    request, key = ask(wanted.user, groups=wanted.groups, dns=wanted.dns, addresses=wanted.addresses)
    spec: Obj = {
        "request": base64.b64encode(request).decode(),
        "signerName": wanted.signer,
        "usages": ["digital signature", "server auth" if wanted.names else "client auth"],
    }
    body: Obj = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "csr-"},
        "spec": spec,
    }
    async with asyncio.timeout(seconds):
        made = await client.create(CERTIFICATE_SIGNING_REQUESTS, body)
        return Held(await _signed(client, made), key)


async def _signed(client: Client, csr: Obj) -> bytes:
    """Wait for the certificate, through watches that end. Raises Refused."""
    name = name_of(csr)
    while not (found := _answer(csr)):
        fields, after = f"metadata.name={name}", revision_of(csr)
        try:
            async with client.watch(CERTIFICATE_SIGNING_REQUESTS, fields=fields, after=after) as events:
                async for event in events:
                    if event.type == "DELETED":
                        raise Refused(f"request {name} was deleted")
                    if found := _answer(event.object):
                        return found
        except (Gone, Expired):
            log.info("looking again at request name=%s", name)
        try:
            csr = await client.get(CERTIFICATE_SIGNING_REQUESTS, Key("", name))
        except NotFound:
            raise Refused(f"request {name} was deleted") from None
    return found


def _answer(csr: Obj) -> bytes:
    """The certificate, b"" for none yet. Raises Refused."""
    if why := refusal(csr):
        raise Refused(f"request {name_of(csr)} {why}")
    return base64.b64decode((csr.get("status") or {}).get("certificate") or "")


def refusal(request: Obj) -> str:
    """How a request for a certificate ended badly ("denied: REASON: MESSAGE", or failed); "" when it did not."""
    for kind in ("Denied", "Failed"):
        if (found := condition(request, kind)) is not None:
            return f"{kind.lower()}: {found.get('reason')}: {found.get('message', '')}"
    return ""


class Rotation:
    """Keeps one certificate fresh. `run` until cancelled; `nudge` when what is wanted may have changed."""

    def __init__(
        self,
        client: Client,
        *,
        wanted: Callable[[], Wanted],
        held: Callable[[], bytes],
        put: Callable[[Held], None],
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        """`held` is the certificate (PEM) there is, b"" for none; `put` keeps a new one and shows it from now on."""
        self.client = client
        self.wanted = wanted
        self.held = held
        self.put = put
        self.clock = clock
        self._rng = rng or random.Random()
        self._share = self._rng.uniform(*_SHARE)
        self._changed = asyncio.Event()

    def nudge(self) -> None:
        self._changed.set()

    def seconds_left(self) -> float:
        """Until a new one is due; 0.0 when it is."""
        facts = facts_or_none(self.held())
        if facts is None or not self.wanted().names <= facts.names:
            return 0.0
        return max(0.0, due(facts, share=self._share) - self.clock())

    async def run(self) -> None:
        backoff = Backoff(first=2.0, limit=300.0)
        while True:
            await self._until_due()
            wanted = self.wanted()
            try:
                held = await obtain(self.client, wanted)
            except (Refused, ApiError, ConnectionError, TimeoutError) as error:
                log.warning("certificate not renewed user=%s signer=%s error=%r", wanted.user, wanted.signer, error)
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            self.put(held)
            self._share = self._rng.uniform(*_SHARE)
            log.info("certificate renewed user=%s signer=%s", wanted.user, wanted.signer)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _until_due(self) -> None:
        while (left := self.seconds_left()) > 0:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LOOK_SECONDS)):
                    await self._changed.wait()


def due(facts: Facts, *, share: float) -> float:
    """When a certificate is to be renewed (POSIX): after this share of its life."""
    return facts.since + (facts.until - facts.since) * share


def facts_or_none(pem: bytes) -> Facts | None:
    """None for what is no certificate."""
    try:
        return facts_of(der_of(pem))
    except ValueError:
        return None


class ServingFiles(NamedTuple):
    """Where the serving certificate is: as given at first, and as renewed (one file with both, so never half new)."""

    certificate: str
    key: str
    renewed: str

    def newest(self) -> tuple[str, str] | None:
        """(certificate, key) paths of the one that is younger; None while there is none."""
        found = [
            (facts.since, pair)
            for pair in ((self.certificate, self.key), (self.renewed, self.renewed))
            if pair[0] and (facts := facts_or_none(_read(pair[0]))) is not None
        ]
        return max(found)[1] if found else None

    def held(self) -> bytes:
        pair = self.newest()
        return _read(pair[0]) if pair is not None else b""

    def put(self, held: Held) -> None:
        from pybernetes.pki.files import write  # loads cryptography, which asking for what is put has loaded by now

        write(Path(self.renewed), held.certificate + held.key, secret=True)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return b""
