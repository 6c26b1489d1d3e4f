"""Certificates of pods for projected volumes: a key made here, a PodCertificateRequest, the signer's answer (KEP-4317).

A request that is not answered at once is left pending and looked at again when the volume is tried again. One that was
denied or failed is the last word: the pod does not start, and says why.
"""

import asyncio
import base64
import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from pybernetes.api import times
from pybernetes.api.errors import ApiError
from pybernetes.api.objects import Key, Obj, condition, encode, key_of, name_of, namespace_of, revision_of, uid_of
from pybernetes.api.resources import NODES, POD_CERTIFICATE_REQUESTS, SERVICE_ACCOUNTS
from pybernetes.client import Client

from .certificates import refusal
from .environment import ConfigError

ANSWER_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 60.0
_ENDINGS = ("Denied", "Failed", "Issued")


class Credential(NamedTuple):
    """PEM of a key and its certificates, and when a fresh one is to be asked for (POSIX)."""

    key: str
    chain: str
    refresh_at: float


class _Asked(NamedTuple):
    request: Key
    key: str


class PodCertificates:
    """Those of one pod, by projection."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._held: dict[bytes, Credential] = {}
        self._asked: dict[bytes, _Asked] = {}

    def get(self, source: Obj) -> Credential:
        """The credential of a projection that `refresh` has fetched."""
        return self._held[_key(source)]

    async def refresh(self, pod: Obj, *, now: float) -> float:
        """Fetch those that are missing or due; returns when to come again (0.0: never). Raises ConfigError, ApiError.

        While one that is due can still be used, trouble with the next is not told: it is tried again in a minute.
        """
        due = 0.0
        for source in _sources(pod):
            held = self._held.get(_key(source))
            if held is None:
                held = await self._obtain(pod, source)
            elif held.refresh_at <= now:
                with contextlib.suppress(ConfigError, ApiError, ConnectionError, TimeoutError):
                    held = await self._obtain(pod, source)
            at = max(held.refresh_at, now + _LOOK_AGAIN_SECONDS)
            due = min(due, at) if due else at
        return due

    async def _obtain(self, pod: Obj, source: Obj) -> Credential:
        name = _key(source)
        asked = self._asked.get(name)
        if asked is None:
            asked = self._asked[name] = await self._ask(pod, source)
        answer = await self._answer(asked.request, pod)
        if answer is None:
            raise ConfigError(f'PodCertificateRequest "{asked.request.name}" is not answered yet')
        if why := refusal(answer):
            raise ConfigError(f'PodCertificateRequest "{asked.request.name}" {why}')
        status = answer["status"]
        made = Credential(asked.key, status["certificateChain"], times.parse(status["beginRefreshAt"]))
        self._held[name] = made
        del self._asked[name]
        return made

    async def _ask(self, pod: Obj, source: Obj) -> _Asked:
        from pybernetes.pki.requests import stub  # costs megabytes, and is needed by few pods

        namespace, spec = namespace_of(pod), pod["spec"]
        account = str(spec.get("serviceAccountName") or "default")
        owner = await self.client.get(SERVICE_ACCOUNTS, Key(namespace, account))
        node = await self.client.get(NODES, Key("", spec["nodeName"]))
        request, key = await asyncio.to_thread(stub, source["keyType"])
        wanted = {
            "signerName": source["signerName"],
            "podName": name_of(pod),
            "podUID": uid_of(pod),
            "serviceAccountName": account,
            "serviceAccountUID": uid_of(owner),
            "nodeName": name_of(node),
            "nodeUID": uid_of(node),
            "maxExpirationSeconds": source.get("maxExpirationSeconds") or 24 * 3600,
            "stubPKCS10Request": base64.b64encode(request).decode(),
        }
        if annotations := source.get("userAnnotations"):
            wanted["unverifiedUserAnnotations"] = annotations
        body: Obj = {
            "apiVersion": POD_CERTIFICATE_REQUESTS.api_version,
            "kind": POD_CERTIFICATE_REQUESTS.kind,
            "metadata": {"namespace": namespace, "generateName": f"req-{name_of(pod)[:40].rstrip('-.')}-"},
            "spec": wanted,
        }
        made = await self.client.create(POD_CERTIFICATE_REQUESTS, body)
        return _Asked(key_of(made), key.decode())

    async def _answer(self, key: Key, pod: Obj) -> Obj | None:
        """The request once it has ended; None when it has not within some seconds."""
        found = await self.client.get(POD_CERTIFICATE_REQUESTS, key)
        fields = f"metadata.name={key.name},spec.nodeName={pod['spec']['nodeName']}"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                while not _has_ended(found):
                    after = revision_of(found)
                    async with self.client.watch(
                        POD_CERTIFICATE_REQUESTS, namespace=key.namespace, fields=fields, after=after
                    ) as events:
                        async for event in events:
                            found = event.object if event.type != "BOOKMARK" else found
                            if _has_ended(found):
                                break
                return found
        return None


def _has_ended(request: Obj) -> bool:
    return any(condition(request, kind) is not None for kind in _ENDINGS)


def _key(source: Obj) -> bytes:
    return encode(source)


def _sources(pod: Obj) -> Iterator[Obj]:
    for volume in pod["spec"].get("volumes") or ():
        for part in (volume.get("projected") or {}).get("sources") or ():
            if (source := part.get("podCertificate")) is not None:
                yield source
