"""`pybernetes token`: bootstrap tokens, by which machines join a cluster; what kubeadm's command of that name does."""

import asyncio
import re
import secrets
import string
import time
from collections.abc import Awaitable, Callable
from typing import Any

import click

from pybernetes.api import times
from pybernetes.api.bootstrap_tokens import (
    CLUSTER_INFO,
    JOINING,
    NAMESPACE,
    PREFIX,
    TOKEN,
    TYPE,
    fields_of,
    seconds_left,
)
from pybernetes.api.errors import ApiError, NotFound
from pybernetes.api.objects import Key, Obj, name_of

from .options import NAME, STATE_ROOT, friendly

_ALPHABET = string.ascii_lowercase + string.digits
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_KUBECONFIG = click.option("--kubeconfig", help="Of the cluster's administrator.  [default: the local cluster's]")


@click.group()
def token() -> None:
    """Make, list and delete the tokens by which machines join a cluster."""


@token.command()
@click.argument("given", metavar="[TOKEN]", required=False)
@click.option("--ttl", default="24h", show_default=True, help="How long it is good: 24h, 30m, 0 for ever.")
@click.option("--description", default="", help="What it is for.")
@click.option("--print-join-command", is_flag=True, help="Print what a machine runs to join, not the token alone.")
@_KUBECONFIG
@NAME
@STATE_ROOT
@friendly
def create(given: str | None, ttl: str, description: str, print_join_command: bool, **where: str) -> None:
    """Make a token, with a random value unless one is given."""
    made = given or f"{_random(6)}.{_random(16)}"
    if not TOKEN.fullmatch(made):
        raise click.BadParameter("a token is six, a dot and sixteen of a-z and 0-9", param_hint="TOKEN")
    secret = token_secret(made, seconds=seconds_of(ttl), description=description, now=time.time())

    async def work(client: Any) -> str:
        from pybernetes.api.resources import SECRETS

        await client.create(SECRETS, secret)
        return await join_command(client, made) if print_join_command else made

    click.echo(_with_client(where, work))


@token.command("list")
@_KUBECONFIG
@NAME
@STATE_ROOT
@friendly
def list_(**where: str) -> None:
    """Show the tokens there are."""
    from pybernetes.cli import plain_table

    async def work(client: Any) -> str:
        from pybernetes.api.resources import SECRETS

        found = await client.list(SECRETS, namespace=NAMESPACE, fields=f"type={TYPE}")
        return plain_table(
            ["token", "ttl", "expires", "usages", "description", "groups"], [_row(one) for one in found.items]
        )

    click.echo(_with_client(where, work))


@token.command()
@click.argument("which", metavar="TOKEN")
@_KUBECONFIG
@NAME
@STATE_ROOT
@friendly
def delete(which: str, **where: str) -> None:
    """Delete a token, named whole or by its first six characters."""

    async def work(client: Any) -> str:
        from pybernetes.api.resources import SECRETS

        token_id = which.partition(".")[0]
        try:
            await client.delete(SECRETS, Key(NAMESPACE, f"{PREFIX}{token_id}"))
        except NotFound:
            raise click.ClickException(f"there is no token {token_id!r}") from None
        return f"bootstrap token {token_id!r} deleted"

    click.echo(_with_client(where, work))


def token_secret(value: str, *, seconds: int, description: str, now: float) -> Obj:
    """The Secret of a token that authenticates, signs cluster-info, and may make nodes; 0 seconds is for ever."""
    token_id, _, secret = value.partition(".")
    data = {
        "token-id": token_id,
        "token-secret": secret,
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true",
        "auth-extra-groups": JOINING,
    }
    if seconds:
        data["expiration"] = times.stamp(now + seconds)
    if description:
        data["description"] = description
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": NAMESPACE, "name": f"{PREFIX}{token_id}"},
        "type": TYPE,
        "stringData": data,
    }


async def join_command(client: Any, value: str) -> str:
    """What a machine runs: where the cluster is, the token, the hash of the cluster's authority."""
    import yaml

    from pybernetes.api.resources import CONFIG_MAPS
    from pybernetes.client import kubeconfig
    from pybernetes.pki.discovery import pins_of

    info = await client.get(CONFIG_MAPS, CLUSTER_INFO)
    cluster = yaml.safe_load(info["data"]["kubeconfig"])["clusters"][0]["cluster"]
    pins = pins_of(kubeconfig.data_of(cluster, "certificate-authority"))
    words = [f"--discovery-token-ca-cert-hash {pin}" for pin in pins]
    server = str(cluster["server"]).removeprefix("https://")
    return " ".join(["pybernetes agent", f"--join {server}", f"--token {value}", *words])


def seconds_of(text: str) -> int:
    """Of "24h", "1h30m", "0". Raises click.BadParameter."""
    found = _DURATION.fullmatch(text)
    if text != "0" and (found is None or not any(found.groups())):
        raise click.BadParameter(f"{text!r} is not a time such as 24h, 90m or 0", param_hint="--ttl")
    hours, minutes, seconds = (int(one or 0) for one in found.groups()) if found else (0, 0, 0)
    return hours * 3600 + minutes * 60 + seconds


def _row(secret: Obj) -> list[str]:
    fields, left = fields_of(secret), seconds_left(secret, time.time())
    usages = [key.removeprefix("usage-bootstrap-") for key, value in fields.items() if value == "true"]
    return [
        f"{fields.get('token-id', name_of(secret))}.{fields.get('token-secret', '')}",
        "<forever>" if left is None else f"{int(left) // 3600}h{int(left) // 60 % 60}m",
        fields.get("expiration") or "<never>",
        ",".join(sorted(usages)),
        fields.get("description") or "<none>",
        fields.get("auth-extra-groups") or "<none>",
    ]


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _with_client(where: dict[str, str], work: Callable[[Any], Awaitable[str]]) -> str:
    """The work's answer, on the cluster of a kubeconfig or the local one. Raises click.ClickException."""
    from pybernetes.client import BadKubeconfig

    from . import connect
    from .main import layout_of

    path = where["kubeconfig"] or layout_of(where["name"], where["state_root"]).kubeconfig

    async def run() -> str:
        client = connect.client(path, user_agent="pybernetes-token")
        try:
            return await work(client)
        finally:
            await client.close()

    try:
        return asyncio.run(run())
    except (ApiError, BadKubeconfig, ConnectionError, TimeoutError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
