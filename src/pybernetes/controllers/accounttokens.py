"""Secrets of type kubernetes.io/service-account-token: filled for the account they name, gone with it.

The token comes from TokenRequest and is bound to its Secret, with the longest life there is (2^32 s, 136 years): it
dies with the Secret or the account, or when it is taken out of the Secret, and a
controller manager needs no signing key.
Source: docs, "Manually create a long-lived API token for a ServiceAccount"; pkg/controller/serviceaccount.
"""

import base64
from collections.abc import Mapping

from pybernetes.api.errors import Conflict, NotFound
from pybernetes.api.objects import (
    Key,
    Obj,
    annotations_of,
    is_deleting,
    key_of,
    name_of,
    namespace_of,
    revision_of,
    uid_of,
)
from pybernetes.api.resources import SECRETS, SERVICE_ACCOUNTS
from pybernetes.client import Delta
from pybernetes.control import Again, Controller

from .shared import Shared

TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"
LIFE_SECONDS = 1 << 32
_BY_ACCOUNT = "service-account"


def account_of(secret: Obj) -> Key:
    """Of the account the Secret names."""
    return Key(namespace_of(secret), str(annotations_of(secret).get(ACCOUNT_NAME, "")))


def is_for(secret: Obj, account: Obj | None) -> bool:
    """The account is there, and is the one the Secret was filled for, if it was."""
    uid = annotations_of(secret).get(ACCOUNT_UID)
    return account is not None and (not uid or uid == uid_of(account))


def lacking(secret: Obj, root_ca: str) -> Mapping[str, str]:
    """The data, in base64, that the Secret has not or has otherwise, but for the token; pure."""
    wanted = {"namespace": namespace_of(secret)} | ({"ca.crt": root_ca} if root_ca else {})
    data = secret.get("data") or {}
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in wanted.items()}
    return {
        name: value
        for name, value in encoded.items()
        if not data.get(name) or (name == "ca.crt" and data[name] != value)
    }


class AccountTokenController:
    """Keys are those of Secrets."""

    def __init__(self, shared: Shared) -> None:
        self.client, self.root_ca = shared.client, shared.config.root_ca
        by_account = {_BY_ACCOUNT: lambda secret: (str(account_of(secret)),)}
        self.secrets = shared.informers.of(SECRETS, fields=f"type={TYPE}", indexes=by_account)
        self.accounts = shared.informers.of(SERVICE_ACCOUNTS)
        informers = (self.secrets, self.accounts)
        self.controller = Controller("serviceaccount_tokens_secret", self.reconcile, workers=1, informers=informers)
        self.secrets.subscribe(lambda delta: self.controller.queue.add(delta.key))
        self.accounts.subscribe(self._account_changed)

    async def run(self) -> None:
        await self.controller.run()

    def _account_changed(self, delta: Delta) -> None:
        for secret in self.secrets.cache.indexed(_BY_ACCOUNT, str(delta.key)):
            self.controller.queue.add(key_of(secret))

    async def reconcile(self, key: Key) -> Again | None:
        secret = self.secrets.cache.get(key)
        if secret is None or is_deleting(secret):
            return None
        try:
            account = self.accounts.cache.get(account_of(secret))
            if not is_for(secret, account):
                account = await self._account(account_of(secret))  # the cache may be behind: ask before deleting
            if account is None or not is_for(secret, account):
                await self.client.delete(SECRETS, key, uid=uid_of(secret), revision=revision_of(secret))
                return None
            await self._fill(secret, account)
        except Conflict:
            return None  # it changed meanwhile, and comes round again
        return None

    async def _account(self, key: Key) -> Obj | None:
        try:
            return await self.client.get(SERVICE_ACCOUNTS, key)
        except NotFound:
            return None

    async def _fill(self, secret: Obj, account: Obj) -> None:
        data = dict(lacking(secret, self.root_ca))
        if not (secret.get("data") or {}).get("token"):
            data["token"] = base64.b64encode((await self._token(secret, account)).encode()).decode()
        known = annotations_of(secret).get(ACCOUNT_UID)
        if not data and known:
            return
        meta: Obj = {"resourceVersion": revision_of(secret), "annotations": {ACCOUNT_UID: uid_of(account)}}
        await self.client.patch(SECRETS, key_of(secret), {"metadata": meta, "data": data})

    async def _token(self, secret: Obj, account: Obj) -> str:
        reference = {"apiVersion": "v1", "kind": "Secret", "name": name_of(secret), "uid": uid_of(secret)}
        body: Obj = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"namespace": namespace_of(secret)},
            "spec": {"audiences": [], "expirationSeconds": LIFE_SECONDS, "boundObjectRef": reference},
        }
        answer = await self.client.create(SERVICE_ACCOUNTS, body, name=name_of(account), subresource="token")
        return str(answer["status"]["token"])
