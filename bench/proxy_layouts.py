"""kube-proxy's own layouts for nftables, generated, and how long `nft -f -` takes to load them. Needs nft (Debian).

`endpoint chains`: a chain per service that picks among a chain per endpoint, as kube-proxy writes it.
`service chains`: a chain per service with one anonymous map of its endpoints.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator

from proxy_objects import address, pod
from pybernetes.netlink import namespaces

LIMIT_SECONDS = 60


def rules(services: int, endpoints: int, *, endpoint_chains: bool) -> Iterator[str]:
    yield "add table ip other"
    yield "add map ip other service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }"
    yield "add chain ip other mark-for-masquerade { }"
    yield "add rule ip other mark-for-masquerade meta mark set meta mark or 0x4000"
    yield "add chain ip other nat-prerouting { type nat hook prerouting priority -100; }"
    yield "add rule ip other nat-prerouting ip daddr . meta l4proto . th dport vmap @service-ips"
    for number in range(services):
        chain = f"service-{number:08d}-default/svc-{number}/tcp/http"
        yield f"add chain ip other {chain} {{ }}"
        yield f"add rule ip other {chain} ip daddr {address(number)} ip saddr != 10.244.0.0/16 jump mark-for-masquerade"
        pods = [pod(number, slot) for slot in range(endpoints)]
        if endpoint_chains:
            for each in pods:
                name = f"endpoint-{number:08d}-{each}/8080"
                yield f"add chain ip other {name} {{ }}"
                yield f"add rule ip other {name} ip saddr {each} jump mark-for-masquerade"
                yield f"add rule ip other {name} meta l4proto tcp dnat to {each}:8080"
            choice = ", ".join(f"{slot} : goto endpoint-{number:08d}-{each}/8080" for slot, each in enumerate(pods))
            yield f"add rule ip other {chain} numgen random mod {endpoints} vmap {{ {choice} }}"
        else:
            choice = ", ".join(f"{slot} : {each} . 8080" for slot, each in enumerate(pods))
            pick = f"numgen random mod {endpoints} map {{ {choice} }}"
            yield f"add rule ip other {chain} meta l4proto tcp dnat ip to {pick}"
        yield f"add element ip other service-ips {{ {address(number)} . tcp . 80 : goto {chain} }}"


def load_seconds(namespace: str, services: int, endpoints: int, *, endpoint_chains: bool) -> float | None:
    """Seconds to load the layout; None when it takes longer than LIMIT_SECONDS, or without nft."""
    nft = shutil.which("nft")
    if nft is None:
        return None
    text = "\n".join(rules(services, endpoints, endpoint_chains=endpoint_chains)) + "\n"

    def load() -> float | None:
        began = time.perf_counter()
        try:
            done = subprocess.run(
                [nft, "-f", "-"], input=text, text=True, capture_output=True, timeout=LIMIT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return None
        if done.returncode:
            raise SystemExit(f"nft refused the layout: {done.stderr[:500]}")
        return time.perf_counter() - began

    return namespaces.run_in(namespace, load)
