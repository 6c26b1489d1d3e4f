"""The command line. Each command imports what it runs, so that `--help` is quick."""

import asyncio
import contextlib
import re
import sys
from pathlib import Path
from typing import Any

import click

from pybernetes import __version__

from . import processes, tokens
from .options import LOG_ROOT, NAME, RUN_ROOT, STATE_ROOT, friendly


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pybernetes")
def main() -> None:
    """Kubernetes' service model - registration, discovery, load balancing - without containers.

    \b
    pybernetes up              a cluster of three nodes on this machine
    pybernetes kubeconfig      how to reach it: export KUBECONFIG=$(pybernetes kubeconfig)
    pybernetes down            nothing of it is left
    """


@main.command()
@NAME
@click.option("--nodes", "size", default=3, show_default=True, help="How many nodes.")
@click.option(
    "--ip-family",
    type=click.Choice(["ipv4", "ipv6", "dual"]),
    default="ipv4",
    show_default=True,
    help="Which addresses nodes, pods and Services have; dual is both, IPv4 first.",
)
@click.option(
    "--pod-range",
    help="Addresses of pods, a /16 or wider (IPv6: /56); of both families separated by a comma."
    "  [default: 10.244.0.0/16, fd00:10:244::/56, or the next free]",
)
@click.option(
    "--service-range",
    help="Addresses of Services.  [default: 10.96.0.0/16, fd00:10:96::/112, or the next free]",
)
@click.option(
    "--node-range",
    help="Addresses of nodes.  [default: 172.30.0.0/24, fd00:172:30:0::/64, or the next free]",
)
@click.option("--api-port", type=int, help="Port of the API server on loopback.  [default: 6443 or the next free]")
@click.option("--heartbeat", "heartbeat_seconds", default=2.0, show_default=True, help="Seconds between node leases.")
@click.option(
    "--node-grace",
    "node_grace_seconds",
    default=8.0,
    show_default=True,
    help="Silent seconds until a node is NotReady.",
)
@STATE_ROOT
@RUN_ROOT
@LOG_ROOT
@friendly
def up(**options: Any) -> None:
    """Start a whole cluster on this machine, or mend the one that is there.

    Each node is a network namespace with its own address; pods are processes with addresses of their own. The API
    server answers on loopback; nodes, pods and Services are reachable from this machine while the cluster is up.
    """
    from pybernetes import local
    from pybernetes.cli import Progress

    from .local import LocalHooks

    wanted = local.Wanted(**options)
    if not re.fullmatch(local.NAME_PATTERN, wanted.name):
        raise click.BadParameter(
            f"{wanted.name!r}: lower-case letters, digits and '-', at most 32", param_hint="--name"
        )
    progress = Progress()
    local.check_machine(wanted)
    with local.locked(wanted.run_root):
        found = local.find(wanted.name, state_root=wanted.state_root)
        layout = found or local.choose(wanted)
        if found is not None:
            progress.say(f"Cluster {layout.name!r} is known: starting what is not running")
        cluster = local.LocalCluster(layout, LocalHooks())
        try:
            asyncio.run(cluster.up(progress))
        except (local.CannotStart, OSError) as error:
            if found is None:
                _undo(cluster, progress)
            raise local.CannotStart(str(error)) from error
    progress.say(usage(layout))


def _undo(cluster: Any, progress: Any) -> None:
    """A first `up` that failed leaves nothing but its logs, moved aside."""
    logs = Path(cluster.layout.logs)
    aside = logs.with_name(f"{logs.name}.failed")
    if logs.exists():
        import shutil

        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(logs, aside)
        progress.say(f"The logs are kept in {aside}")
    cluster.down(progress)


def usage(layout: Any) -> str:
    """What `up` prints at the end."""
    from pybernetes.local import Wanted

    nodes = ", ".join(f"{node.name} {','.join(node.addresses)}" for node in layout.nodes())
    other = "" if layout.name == "pybernetes" else f" --name {layout.name}"
    root = str(Path(layout.state).parent)
    if root != Wanted(name="").state_root:  # `down` looks nowhere else
        other += f" --state-root {root}"
    return f"""
Cluster {layout.name!r} is up.
  API server   {layout.server_url}
  nodes        {nodes}
  pods         {layout.pod_range}    Services {layout.service_range}    DNS {",".join(layout.dns_addresses)}
  logs         {layout.logs}

Use it:   export KUBECONFIG={layout.kubeconfig}
          kubectl get nodes
End it:   pybernetes down{other}"""


@main.command()
@NAME
@click.option("--all", "everything", is_flag=True, help="All clusters on this machine.")
@STATE_ROOT
@friendly
def down(name: str, everything: bool, state_root: str) -> None:
    """End a cluster and remove everything that `up` made: nothing of it is left."""
    from pybernetes import local
    from pybernetes.cli import Progress

    from .local import LocalHooks

    progress = Progress()
    found = local.find(name, state_root=state_root)
    layouts = local.all_layouts(state_root) if everything else [found] if found else []
    if not layouts:
        progress.say("There is no cluster here." if everything else f"There is no cluster {name!r} here.")
        return
    for layout in layouts:
        with local.locked(str(Path(layout.run).parent)):
            local.LocalCluster(layout, LocalHooks()).down(progress)
        progress.say(f"Cluster {layout.name!r} is down; nothing of it is left.")


def layout_of(name: str, state_root: str) -> Any:
    """The layout of a running cluster; a friendly error when there is none."""
    from pybernetes import local

    layout = local.find(name, state_root=state_root)
    if layout is None:
        others = ", ".join(one.name for one in local.all_layouts(state_root))
        hint = f"; there are: {others}" if others else "; start one with: pybernetes up"
        raise local.CannotStart(f"there is no cluster {name!r} here{hint}")
    return layout


@main.command()
@NAME
@STATE_ROOT
@friendly
def kubeconfig(name: str, state_root: str) -> None:
    """Print the path of a cluster's kubeconfig: export KUBECONFIG=$(pybernetes kubeconfig)."""
    click.echo(layout_of(name, state_root).kubeconfig)


@main.command()
@NAME
@STATE_ROOT
@friendly
def status(name: str, state_root: str) -> None:
    """Show the processes of a cluster; exit status 1 when one is not running."""
    from pybernetes import local
    from pybernetes.cli import plain_table

    from .local import LocalHooks

    layout = layout_of(name, state_root)
    parts = local.LocalCluster(layout, LocalHooks()).status()
    rows = [
        [part, "Running" if record and record.alive else "Stopped", str(record.pid) if record else "-", log]
        for part, record in parts.items()
        for log in [record.log if record else "-"]
    ]
    click.echo(plain_table(["part", "state", "pid", "log"], rows))
    if any(row[1] != "Running" for row in rows):
        sys.exit(1)


@main.group()
def node() -> None:
    """Try a fault: cut a node of a local cluster off, and connect it again."""


@node.command()
@click.argument("node_name")
@NAME
@STATE_ROOT
@friendly
def isolate(node_name: str, name: str, state_root: str) -> None:
    """Pull the cable of a node: its link to the others goes down."""
    _cable(node_name, name, state_root, plugged=False)


@node.command()
@click.argument("node_name")
@NAME
@STATE_ROOT
@friendly
def connect(node_name: str, name: str, state_root: str) -> None:
    """Plug the cable of a node in again."""
    _cable(node_name, name, state_root, plugged=True)


def _cable(node_name: str, name: str, state_root: str, *, plugged: bool) -> None:
    from pybernetes import local

    layout = layout_of(name, state_root)
    try:
        chosen = layout.node(node_name)
    except LookupError as error:
        raise local.CannotStart(str(error)) from error
    (local.connect if plugged else local.isolate)(layout, chosen)
    click.echo(f"{node_name} is {'connected' if plugged else 'cut off'}")


for _command in (*processes.COMMANDS, tokens.token):
    main.add_command(_command)

if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
