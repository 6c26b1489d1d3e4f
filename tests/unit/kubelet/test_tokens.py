"""Tokens of projected volumes: fetched once for each audience and lifetime, and anew after four fifths of it."""

from typing import Any, cast

from pybernetes.api import times
from pybernetes.api.objects import Obj
from pybernetes.client import Client
from pybernetes.kubelet.tokens import PodTokens
from support.objects import pod

NOW = 1_800_000_000.0


class Issuer:
    """The API's TokenRequest: each token says which one it is."""

    def __init__(self) -> None:
        self.now = NOW
        self.asked: list[Obj] = []

    async def create(self, resource: Any, body: Obj, *, name: str, subresource: str) -> Obj:
        assert (name, subresource) == ("robot", "token")
        self.asked.append(body["spec"])
        expires = times.stamp(self.now + body["spec"]["expirationSeconds"])
        return {"status": {"token": f"token {len(self.asked)}", "expirationTimestamp": expires}}


def with_tokens(*sources: Obj) -> Obj:
    made = pod("p")
    made["metadata"]["uid"] = "uid-p"
    made["spec"]["serviceAccountName"] = "robot"
    made["spec"]["volumes"] = [
        {"name": "t", "projected": {"sources": [{"serviceAccountToken": source} for source in sources]}}
    ]
    return made


async def test_each_audience_has_a_token_bound_to_the_pod() -> None:
    issuer = Issuer()
    tokens = PodTokens(cast(Client, issuer))
    api, vault = {"path": "token"}, {"path": "vault", "audience": "vault", "expirationSeconds": 600}
    await tokens.refresh(with_tokens(api, vault), now=NOW)
    assert (tokens.get(api), tokens.get(vault)) == ("token 1", "token 2")
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "uid-p"}
    assert issuer.asked == [
        {"expirationSeconds": 3600, "boundObjectRef": bound, "audiences": []},
        {"expirationSeconds": 600, "boundObjectRef": bound, "audiences": ["vault"]},
    ]


async def test_a_token_is_renewed_before_it_ends_and_not_sooner() -> None:
    issuer = Issuer()
    tokens = PodTokens(cast(Client, issuer))
    source = {"path": "vault", "audience": "vault", "expirationSeconds": 600}
    made = with_tokens(source)
    due = await tokens.refresh(made, now=NOW)
    assert NOW + 0.8 * 600 - 10 <= due <= NOW + 0.8 * 600
    for now in (NOW + 1, NOW + 300, due - 1):
        issuer.now = now
        assert await tokens.refresh(made, now=now) == due
    assert tokens.get(source) == "token 1"
    issuer.now = due
    assert await tokens.refresh(made, now=due) > due + 400
    assert tokens.get(source) == "token 2"


async def test_long_tokens_are_renewed_every_day() -> None:
    """So that a change of the signing key reaches every pod within a day."""
    issuer = Issuer()
    due = await PodTokens(cast(Client, issuer)).refresh(
        with_tokens({"path": "t", "expirationSeconds": 31_536_000}), now=NOW
    )
    assert NOW + 86_400 - 10 <= due <= NOW + 86_400


async def test_a_pod_without_projections_asks_for_nothing() -> None:
    issuer = Issuer()
    assert await PodTokens(cast(Client, issuer)).refresh(pod("p"), now=NOW) == 0.0
    assert issuer.asked == []
