"""/etc/hosts, /etc/resolv.conf and /etc/hostname of a pod: pure text from the pod and the node's settings."""

from collections.abc import Sequence
from typing import NamedTuple

from pybernetes.api.objects import Obj, name_of, namespace_of

_HOSTS = """# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
fe00::\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""
MAX_SEARCHES, MAX_SEARCH_LENGTH, MAX_NAMESERVERS = 32, 2048, 3


class Dns(NamedTuple):
    """resolv.conf in parts."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def hostname(pod: Obj, *, node_name: str) -> str:
    """What gethostname says in the pod: spec.hostname or the pod's name, cut to 63 characters."""
    spec = pod["spec"]
    if spec.get("hostNetwork"):
        return node_name
    return str(spec.get("hostnameOverride") or spec.get("hostname") or name_of(pod))[:63].rstrip("-.")


def hosts(pod: Obj, *, addresses: Sequence[str], node_name: str, domain: str) -> str:
    """The hosts file with the pod's own entry and hostAliases."""
    short = hostname(pod, node_name=node_name)
    text = _HOSTS
    if not pod["spec"].get("hostNetwork"):
        subdomain = pod["spec"].get("subdomain")
        full = f"{short}.{subdomain}.{namespace_of(pod)}.svc.{domain}" if subdomain else ""
        text += "".join(f"{address}\t{full}\t{short}\n" if full else f"{address}\t{short}\n" for address in addresses)
    aliases = pod["spec"].get("hostAliases") or ()
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
        text += "".join(f"{alias['ip']}\t" + "\t".join(alias.get("hostnames") or ()) + "\n" for alias in aliases)
    return text


def parse_resolv(text: str) -> Dns:
    """The node's resolv.conf."""
    nameservers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if not words:
            continue
        if words[0] == "nameserver":
            nameservers += words[1:2]
        elif words[0] == "search":
            searches = words[1:]
        elif words[0] == "options":
            options += words[1:]
    return Dns(tuple(nameservers), tuple(word for word in searches if word != "."), tuple(options))


def dns(pod: Obj, *, node: Dns, cluster_dns: Sequence[str], domain: str) -> Dns:
    """By dnsPolicy, with dnsConfig merged over it."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and spec.get("hostNetwork"):
        policy = "Default"
    if policy == "None":
        base = Dns()
    elif policy == "Default" or not cluster_dns:
        base = node
    else:
        cluster = (f"{namespace_of(pod)}.svc.{domain}", f"svc.{domain}", domain)
        base = Dns(tuple(cluster_dns), (*cluster, *node.searches), ("ndots:5",))
    config = spec.get("dnsConfig") or {}
    return Dns(
        _distinct([*base.nameservers, *(config.get("nameservers") or ())])[:MAX_NAMESERVERS],
        _bounded(_distinct([*base.searches, *(config.get("searches") or ())])),
        _options(base.options, config.get("options") or ()),
    )


def resolv(settings: Dns) -> str:
    text = "".join(f"nameserver {address}\n" for address in settings.nameservers)
    text = (f"search {' '.join(settings.searches)}\n" if settings.searches else "") + text
    return text + (f"options {' '.join(settings.options)}\n" if settings.options else "")


def _distinct(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _bounded(searches: tuple[str, ...]) -> tuple[str, ...]:
    kept = searches[:MAX_SEARCHES]
    while kept and len(" ".join(kept)) > MAX_SEARCH_LENGTH:
        kept = kept[:-1]
    return kept


def _options(base: Sequence[str], more: Sequence[Obj]) -> tuple[str, ...]:
    merged = {option.partition(":")[0]: option for option in base}
    for entry in more:
        value = entry.get("value")
        merged[entry["name"]] = f"{entry['name']}:{value}" if value not in (None, "") else entry["name"]
    return tuple(merged.values())
