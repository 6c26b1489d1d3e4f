"""What can be changed while it serves: the ConfigMap `pybernetes-dns` in kube-system, key `config.yaml`.

A field that is not given is as the process was started with. A document that cannot be used as a whole is refused as a
whole, so that one wrong letter takes no name away.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, NamedTuple

import msgspec
import yaml

from pybernetes.api.objects import Key, Obj

from .address import address_of
from .config import DnsConfig, Policy
from .message import AA, LARGEST, SMALLEST, Body, Query, body_of
from .names import Name, name_of, packed, reverse_name, wire_of
from .question import AAAA, IN, PTR, A, Answer, Rcode, Record
from .stream import tls_context
from .transfer import Allowed

KEY = Key("kube-system", "pybernetes-dns")
ENTRY = "config.yaml"
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Timeout = Annotated[float, msgspec.Meta(ge=0.01, le=60)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=86400)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The document. None is "not given"."""

    ttl: Annotated[int, msgspec.Meta(ge=0, le=3600)] | None = None
    namespaces: frozenset[str] | None = None
    autopath: bool | None = None
    upstreams: tuple[str, ...] | None = None
    policy: Policy | None = None
    stub_domains: dict[str, tuple[str, ...]] | None = None
    """Domain to the upstreams that are asked for it."""
    hosts: dict[str, tuple[str, ...]] | None = None
    """Address to its names, the first of which its PTR has."""
    tls_ca: str | None = None
    """PEM, of who vouches for tls:// upstreams."""
    max_fails: Count | None = None
    mixed_case: bool | None = None
    forward_timeout_seconds: Timeout | None = None
    forward_try_seconds: Timeout | None = None
    health_seconds: Timeout | None = None
    cache_seconds: Seconds | None = None
    cache_denial_seconds: Seconds | None = None
    stale_seconds: Seconds | None = None
    transfer_to: tuple[str, ...] | None = None
    """Who may have whole zones: addresses, ranges, "*"."""
    rate_limit: Count | None = None
    rate_burst: Count | None = None


def merged(started: DnsConfig, obj: Obj) -> DnsConfig:
    """The configuration with a ConfigMap's document over it. Raises ValueError that says what is wrong with it."""
    data = obj.get("data") or {}
    if unknown := sorted(data.keys() - {ENTRY}):
        raise ValueError(f"data has {', '.join(unknown)}; only {ENTRY} is read")
    try:
        settings = msgspec.convert(yaml.safe_load(data.get(ENTRY) or "") or {}, Settings)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise ValueError(f"{ENTRY}: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{ENTRY}: nested too deeply") from error
    given = {name: value for name in settings.__struct_fields__ if (value := getattr(settings, name)) is not None}
    config = replace(started, **given)
    check(config)
    return config


def check(config: DnsConfig) -> None:
    """Raises ValueError for an address, a name or a certificate that is none."""
    for text in (*(config.upstreams or ()), *(one for many in config.stub_domains.values() for one in many)):
        address_of(text)
    if config.tls_ca:
        tls_context(config.tls_ca)
    for domain, servers in config.stub_domains.items():
        wire_of(name_of(domain))
        if not servers or not name_of(domain):
            raise ValueError(f"stub domain {domain!r} needs a name and at least one upstream")
    Hosts.of(config.hosts)
    Allowed(config.transfer_to)
    if not SMALLEST <= config.udp_size <= LARGEST:
        raise ValueError(f"udp_size {config.udp_size} is not between {SMALLEST} and {LARGEST}")


class Hosts(NamedTuple):
    """Names and addresses that are answered as they were written."""

    addresses: Mapping[Name, tuple[bytes, ...]]
    names: Mapping[Name, Name]
    """Reverse name to name."""

    @classmethod
    def of(cls, entries: Mapping[str, Iterable[str]]) -> "Hosts":
        """Raises ValueError for what is no address or no name."""
        addresses: dict[Name, tuple[bytes, ...]] = {}
        names: dict[Name, Name] = {}
        for text, aliases in entries.items():
            address = packed(text)
            if address is None:
                raise ValueError(f"hosts: {text!r} is no address")
            for alias in aliases:
                name = name_of(alias)
                wire_of(name)
                addresses[name] = (*addresses.get(name, ()), address)
                names.setdefault(reverse_name(address), name)
        return cls(addresses, names)

    def answer(self, query: Query, *, ttl: int) -> Body | None:
        """The entry's answer; None for a name, or a type, that it says nothing about."""
        name, kind, cls = query.question
        if cls != IN:
            return None
        records: tuple[Record, ...] = ()
        if kind == PTR and name in self.names:
            records = (Record(None, PTR, ttl, self.names[name]),)
        elif kind in (A, AAAA) and name in self.addresses:
            size = 4 if kind == A else 16
            records = tuple(Record(None, kind, ttl, one) for one in self.addresses[name] if len(one) == size)
        else:
            return None
        if not records:
            return Body(Rcode.NOERROR, flags=AA)
        return body_of(query.question, Answer(Rcode.NOERROR, records), wire_length=len(query.wire), ttl=ttl, serial=1)
