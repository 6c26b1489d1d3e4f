"""A process that syncs one truth after the other into a node's kernel, as fast as it can, until it is killed.

Usage: python -m support.proxy_mortal NAMESPACE SEED. The truths follow from the seed. "synced" is printed after the
first one, which is written whole; later ones are changes.
"""

import asyncio
import random
import sys

from pybernetes.proxy.loop import kernel_dataplane
from pybernetes.proxy.model import Backend, Desired, Front, ServicePort
from support.proxy_cases import FAMILIES, FOUR, PODS, SIX, config, desired, endpoints, port, service

OTHERS = 200
CHANGED = 60


def untouched() -> Desired:
    """The Service that no truth changes: cluster IP 20, node port 30080."""
    made = service(
        FOUR, "web", 20, port(80, name="http", node_port=30080), clusterIPs=[at.service(20) for at in FAMILIES]
    )
    slices = [endpoints(at, "web", PODS, ("http", 8080)) for at in FAMILIES]
    return desired("node-1", [(made, slices)])


def other(rng: random.Random, number: int) -> Front:
    """Any Service port; some claim the same node port."""
    backends = tuple(Backend(f"10.244.9.{n}", 8080, n % 2 == 0) for n in rng.sample(range(1, 200), rng.randrange(12)))
    return Front(
        vips=(f"10.96.7.{number + 1}", f"fd00:96::7:{number + 1:x}"),
        port=80,
        protocol=rng.choice(("TCP", "UDP", "SCTP")),
        node_port=rng.choice((0, 31000, 31000 + number)),
        backends=backends,
        local_backends=tuple(each for each in backends if each.local),
        internal_local=rng.random() < 0.2,
        external_local=rng.random() < 0.2,
        affinity_seconds=rng.choice((0, 0, 60)),
    )


def change(rng: random.Random, truth: Desired) -> frozenset[ServicePort]:
    """Some Services go, come, or are different; returns which."""
    keys = [ServicePort("default", f"other-{number}", "", "TCP") for number in rng.sample(range(OTHERS), CHANGED)]
    for key in keys:
        truth.pop(key, None)
        if rng.random() < 0.8:
            truth[key] = other(rng, int(key.name[6:]))
    return frozenset(keys)


async def main(namespace: str, seed: int) -> None:
    rng = random.Random(seed)
    dataplane = kernel_dataplane(config(FOUR, "node-1", SIX, namespace=namespace))
    truth = untouched()
    change(rng, truth)
    await dataplane.sync(truth)
    sys.stdout.write("synced\n")
    sys.stdout.flush()
    while True:
        await dataplane.sync(truth, changed=change(rng, truth))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
