"""Services at random, and a data plane over the model of nftables, for tests that try everything."""

import random

from pybernetes.netlink.conntrack import Match
from pybernetes.netlink.fake import FakeNftables
from pybernetes.netlink.nft import IP
from pybernetes.proxy.dataplane import NftDataplane
from pybernetes.proxy.layout import Layout, Ranges
from pybernetes.proxy.model import Backend, Front, ServicePort
from pybernetes.proxy.plan import Planner

SERVICES = 12
NODE = "172.30.0.11"
LAYOUT = Layout(IP, Ranges(services=("10.96.0.0/16",), pods=("10.244.0.0/16",)))


class Connections:
    def delete(self, match: Match) -> None:
        return

    def close(self) -> None:
        return


def dataplane(nft: FakeNftables) -> NftDataplane:
    return NftDataplane(nft, Connections(), [Planner(LAYOUT, node_addresses=(NODE,))])


def front(rng: random.Random, number: int) -> Front:
    """Any Service port; addresses and node ports may be claimed by two."""
    backends = tuple(
        Backend(f"10.244.{1 + n % 2}.{n}", 8080, n % 2 == 0) for n in rng.sample(range(2, 10), rng.randrange(6))
    )
    return Front(
        vips=(f"10.96.0.{20 + rng.choice((number, number, number, 0))}",),
        port=80,
        protocol=rng.choice(("TCP", "UDP")),
        node_port=rng.choice((0, 30080, 30080 + number)),
        backends=backends,
        local_backends=tuple(each for each in backends if each.local),
        internal_local=rng.random() < 0.2,
        external_local=rng.random() < 0.2,
        affinity_seconds=rng.choice((0, 0, 60)),
    )


def key(number: int) -> ServicePort:
    return ServicePort("default", f"s{number}", "", "TCP")
