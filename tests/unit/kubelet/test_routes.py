"""Routes to the pods of other nodes."""

from typing import Any

import pytest

from pybernetes.kubelet.routes import Way, ways


def node(name: str, *addresses: str, pods: tuple[str, ...] = ("10.244.1.0/24",)) -> Any:
    told = [{"type": "InternalIP", "address": one} for one in addresses]
    told.append({"type": "Hostname", "address": name})
    return {"metadata": {"name": name}, "spec": {"podCIDRs": list(pods)}, "status": {"addresses": told}}


HERE = ["192.168.1.5/24", "fd00:1::5/64", "127.0.0.1/8"]


@pytest.mark.parametrize(
    ("nodes", "found"),
    [
        ([node("me", "192.168.1.5")], set()),
        ([node("b", "192.168.1.6")], {Way("10.244.1.0/24", "192.168.1.6")}),
        ([node("b", "192.168.2.6")], set()),
        ([node("b", "192.168.2.6", "192.168.1.7")], {Way("10.244.1.0/24", "192.168.1.7")}),
        ([node("b", "192.168.1.6", pods=())], set()),
        ([node("b", pods=("10.244.1.0/24",))], set()),
        ([{"metadata": {"name": "new"}, "spec": {"podCIDRs": ["10.244.1.0/24"]}}], set()),
        (
            [node("b", "192.168.1.6", "fd00:1::6", pods=("10.244.1.0/24", "fd00:244:0:1::/64"))],
            {Way("10.244.1.0/24", "192.168.1.6"), Way("fd00:244:0:1::/64", "fd00:1::6")},
        ),
    ],
)
def test_the_pods_of_nodes_on_the_same_network_are_reached(nodes: list[Any], found: set[Way]) -> None:
    assert ways(nodes, own="me", networks=HERE) == found
