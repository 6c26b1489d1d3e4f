"""What the cluster DNS of one node can be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Policy = Literal["random", "round_robin", "sequential"]
PodMode = Literal["disabled", "insecure", "verified"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsConfig:
    """Defaults are CoreDNS' where it has one. Times are seconds; addresses are textual, without a port unless said."""

    listen: tuple[str, ...] = ("10.96.0.10",)
    """Each address gets a UDP and a TCP socket of its own, so that an answer leaves from the address asked."""
    port: int = 53
    """0 takes a free one, the same on UDP and TCP (tests)."""
    shared_port: bool = True
    """Other processes of the same user may bind the same (SO_REUSEPORT), so that a next one follows without a gap."""
    cluster_domain: str = "cluster.local"
    reverse_ranges: tuple[str, ...] = ()
    """CIDR ranges of pods and services: an unknown address inside is NXDOMAIN here, outside it is asked upstream."""
    namespaces: frozenset[str] = frozenset()
    """Only these are answered; empty is all."""
    pods: PodMode = "insecure"
    """a-b-c-d.NS.pod names: never, for any address, or only for a pod with that address in that namespace."""
    autopath: bool = True
    """Walk the search list of pods for them, so that a name outside the cluster costs one question."""
    node_name: str = ""
    """Only the pods of this node are watched, unless pod names are verified; "" watches those of all nodes."""
    endpoint_pod_names: bool = False
    """Endpoints without a hostname are named after their pod in place of their address."""
    ttl: int = 5
    upstreams: tuple[str, ...] | None = None
    """[SCHEME://]ADDRESS[:PORT] ([V6]:PORT), SCHEME dns, tcp or tls, for tls perhaps #NAME, its certificate's name.

    None takes the nameservers of `resolv_conf`; () forwards nothing.
    """
    tls_ca: str = ""
    """Certificates (PEM) of who vouches for tls:// upstreams; "" takes the system's."""
    policy: Policy = "round_robin"
    """Which upstream is asked first; those that are down are passed over."""
    stub_domains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Upstreams for the names below a domain; the longest domain wins."""
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names by address, answered as written; names of the cluster cannot be changed."""
    resolv_conf: str = "/etc/resolv.conf"
    forward_timeout_seconds: float = 5.0
    """For one forwarded question in all; one try gets at most `forward_try_seconds`."""
    forward_try_seconds: float = 2.0
    forward_concurrent: int = 1000
    """Forwarded questions under way at once; one more is answered SERVFAIL."""
    max_fails: int = 2
    """Failed tries in a row after which an upstream is down, until a health check reaches it; 0 is never."""
    health_seconds: float = 0.5
    """How often an upstream that failed is asked whether it is back."""
    mixed_case: bool = True
    """Ask upstreams for names in random upper and lower case, which who forges a reply has to guess (0x20)."""
    cache_entries: int = 9984
    cache_seconds: int = 3600
    """Longest time to keep a forwarded answer, and a forwarded denial (`cache_denial_seconds`)."""
    cache_denial_seconds: int = 1800
    cache_least_seconds: int = 5
    stale_seconds: int = 3600
    """How long past its time an answer is still given when the upstreams fail (RFC 8767); 0 never."""
    stale_wait_seconds: float = 1.8
    """How long the upstreams are waited for before that."""
    udp_size: int = 1232
    """What we announce in EDNS, and the longest answer over UDP, whatever the client announces; at most 4096."""
    rate_limit: int = 0
    """UDP answers a second for one client address; 0 is no limit. Over it: every second one is "come over TCP"."""
    rate_burst: int = 0
    """So many at once after a silence; 0 is as many as in one second."""
    transfer_to: tuple[str, ...] = ()
    """Addresses, ranges or "*" whose clients may have whole zones (AXFR, IXFR); nobody by default."""
    tcp_connections: int = 200
    """Per address; the one after is closed at once."""
    tcp_idle_seconds: float = 10.0
    startup_seconds: float = 5.0
    """How long the cluster is waited for before questions are taken; then its names are SERVFAIL until it is known."""
    lameduck_seconds: float = 5.0
    """How long questions are still answered after the end was asked for."""
