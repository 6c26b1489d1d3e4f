"""Service account tokens for projected volumes: asked for by TokenRequest, renewed before they expire."""

import random
from collections.abc import Iterator

from pybernetes.api import times
from pybernetes.api.objects import Obj, name_of, namespace_of, uid_of
from pybernetes.api.resources import SERVICE_ACCOUNTS
from pybernetes.client import Client

_DEFAULT_SECONDS = 3600
_RENEW_AT = 0.8
_LONGEST = 86400.0


class PodTokens:
    """The tokens of one pod by audience and lifetime."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._tokens: dict[tuple[str, int], tuple[str, float]] = {}

    def get(self, source: Obj) -> str:
        """The token of a projection that `refresh` has fetched."""
        return self._tokens[_key(source)][0]

    async def refresh(self, pod: Obj, *, now: float) -> float:
        """Fetch those that are missing or due; returns when to come again (0.0: never)."""
        due = 0.0
        for source in _sources(pod):
            token = self._tokens.get(_key(source))
            if token is None or token[1] <= now:
                token = self._tokens[_key(source)] = await self._request(pod, source, now)
            due = min(due, token[1]) if due else token[1]
        return due

    async def _request(self, pod: Obj, source: Obj, now: float) -> tuple[str, float]:
        audience, seconds = _key(source)
        spec: Obj = {
            "expirationSeconds": seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": uid_of(pod)},
            "audiences": [audience] if audience else [],
        }
        body: Obj = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"namespace": namespace_of(pod)},
            "spec": spec,
        }
        account = str(pod["spec"].get("serviceAccountName") or "default")
        answer = await self.client.create(SERVICE_ACCOUNTS, body, name=account, subresource="token")
        status = answer["status"]
        expires = times.parse(status["expirationTimestamp"])
        wait = min((expires - now) * _RENEW_AT, _LONGEST) - random.uniform(0, 10)
        return status["token"], now + max(wait, 30.0)


def _key(source: Obj) -> tuple[str, int]:
    return str(source.get("audience") or ""), int(source.get("expirationSeconds") or _DEFAULT_SECONDS)


def _sources(pod: Obj) -> Iterator[Obj]:
    for volume in pod["spec"].get("volumes") or ():
        for part in (volume.get("projected") or {}).get("sources") or ():
            if (source := part.get("serviceAccountToken")) is not None:
                yield source
