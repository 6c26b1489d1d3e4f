"""Accounts of the controllers when they run alone: a service account in kube-system and a token of it for each.

What kube-controller-manager does with --use-service-account-credentials. Inside the server no token is needed.
"""

import asyncio
import logging
import time

from pybernetes.api import times
from pybernetes.api.errors import AlreadyExists, ApiError, NotFound
from pybernetes.api.objects import Key, Obj
from pybernetes.api.resources import SERVICE_ACCOUNTS
from pybernetes.client import Client, Kubeconfig
from pybernetes.controllers import ACCOUNTS
from pybernetes.wire.send import HttpTransport

log = logging.getLogger(__name__)

NAMESPACE = "kube-system"
SECONDS = 3600
_RENEW_AT = 0.8
_RETRY_SECONDS = 10.0


class Accounts:
    """`prepare` before clients are used; `run` renews their tokens until cancelled."""

    def __init__(self, config: Kubeconfig, manager: Client) -> None:
        """`config` says where the server is; `manager` may make service accounts and their tokens."""
        self._config = config
        self._manager = manager
        self._tokens: dict[str, str] = {}
        self._due = 0.0
        self._clients: dict[str, Client] = {}

    def client(self, account: str) -> Client:
        """The account's client, always the same."""
        if account not in self._clients:
            config = self._config
            transport = HttpTransport(
                config.server,
                ca=config.ca,
                token=lambda: self._tokens.get(account, ""),
                server_name=config.server_name,
                insecure=config.insecure,
            )
            self._clients[account] = Client(transport, user_agent="kube-controller-manager")
        return self._clients[account]

    async def prepare(self) -> None:
        """A fresh token for every account. Raises ApiError, ConnectionError, TimeoutError."""
        ends = await asyncio.gather(*(self._renew(account) for account in sorted(ACCOUNTS)))
        self._due = time.time() + (min(ends) - time.time()) * _RENEW_AT

    async def run(self) -> None:
        while True:
            await asyncio.sleep(max(_RETRY_SECONDS, self._due - time.time()))
            try:
                await self.prepare()
            except (ApiError, ConnectionError, TimeoutError) as error:
                log.warning("tokens of controllers not renewed error=%r", error)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()

    async def _renew(self, account: str) -> float:
        """Returns when the token ends (POSIX)."""
        try:
            answer = await self._request(account)
        except NotFound:
            await self._make(account)
            answer = await self._request(account)
        self._tokens[account] = answer["status"]["token"]
        return times.parse(answer["status"]["expirationTimestamp"])

    async def _request(self, account: str) -> Obj:
        body: Obj = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"namespace": NAMESPACE},
            "spec": {"expirationSeconds": SECONDS, "audiences": []},
        }
        return await self._manager.create(SERVICE_ACCOUNTS, body, name=account, subresource="token")

    async def _make(self, account: str) -> None:
        key = Key(NAMESPACE, account)
        body: Obj = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"namespace": key.namespace, "name": key.name},
        }
        try:
            await self._manager.create(SERVICE_ACCOUNTS, body)
        except AlreadyExists:
            return
