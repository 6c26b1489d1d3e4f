"""Links, addresses, routes, neighbours, namespaces and settings against the kernel: what is asked for is there."""

import asyncio
import errno
import gc
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from pybernetes.netlink import namespaces, sysctl
from pybernetes.netlink.links import AddressWatch, Hop, Links, Neighbour, Route
from pybernetes.netlink.message import attributes
from support import kernel

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(kernel.missing()), reason=f"needs {kernel.missing()}")]


@pytest.fixture
def paths() -> Iterator[tuple[str, str]]:
    with kernel.namespace("a") as first, kernel.namespace("b") as second:
        yield first, second


@pytest.fixture
def pair(paths: tuple[str, str]) -> Iterator[tuple[Links, Links]]:
    """Two namespaces with a cable between them: "left" and "right", both up, with addresses."""
    first, second = paths
    with Links(first) as left, Links(second) as right:
        left.add_veth("left", "right", peer_namespace=second)
        for links, name, number in ((left, "left", 1), (right, "right", 2)):
            links.up("lo")
            links.up(name)
            links.add_address(name, f"10.9.0.{number}/24")
            links.add_address(name, f"fd00:9::{number}/64")
        yield left, right


def code(call: Callable[[], object]) -> int | None:
    with pytest.raises(OSError) as caught:
        call()
    return caught.value.errno


def test_a_namespace_lives_at_its_path() -> None:
    with kernel.namespace() as path:
        assert namespaces.exists(path)
        assert namespaces.identity(path) != namespaces.identity()
        assert namespaces.run_in(path, namespaces.identity) == namespaces.identity(path)
        with pytest.raises(FileExistsError):
            namespaces.create(path)
    assert not namespaces.exists(path)
    assert not os.path.exists(path)
    namespaces.delete(path)


def test_a_plain_file_is_no_namespace(tmp_path: os.PathLike[str]) -> None:
    path = os.path.join(tmp_path, "file")
    open(path, "w").close()
    assert not namespaces.exists(path)
    assert code(lambda: namespaces.run_in(path, lambda: None)) == errno.EINVAL


def test_run_in_leaves_the_caller_where_it_was(paths: tuple[str, str]) -> None:
    before = namespaces.identity()
    threads = set(threading.enumerate())
    assert namespaces.run_in(paths[0], lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        namespaces.run_in(paths[0], lambda: 1 // 0)
    assert namespaces.identity() == before
    assert set(threading.enumerate()) <= threads
    assert namespaces.run_in(None, threading.get_ident) == threading.get_ident()


def test_no_descriptors_are_left(paths: tuple[str, str]) -> None:
    gc.collect()  # what other tests left to it may hold some
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with Links(paths[0]) as links:
            links.list()
    assert len(os.listdir("/proc/self/fd")) == before


def test_settings_are_the_namespaces_own(paths: tuple[str, str]) -> None:
    key = "net.ipv4.ip_forward"
    sysctl.write(key, 1, namespace=paths[0])
    assert sysctl.read(key, namespace=paths[0]) == "1"
    assert sysctl.read(key, namespace=paths[1]) == "0"
    assert code(lambda: sysctl.write("net.ipv4.nonsense", 1, namespace=paths[0])) == errno.ENOENT
    with pytest.raises(OSError, match=r"sysctl net.ipv4.ip_forward = many"):
        sysctl.write(key, "many", namespace=paths[0])


def test_a_bridge_carries_at_once_and_is_made_once(paths: tuple[str, str]) -> None:
    with Links(paths[0]) as links:
        made = links.add_bridge("br0")
        assert links.add_bridge("br0").index == made.index
        assert (made.kind, made.up) == ("bridge", True)
        body = struct.pack("=BxHiII", 0, 0, made.index, 0, 0)
        reply = links.netlink.get(18, body)  # RTM_GETLINK, read without Links: IFLA_LINKINFO, IFLA_INFO_DATA
        options = attributes(attributes(attributes(reply.body, 16)[18])[2])
        forward_delay, stp_state = (struct.unpack("=I", options[kind])[0] for kind in (1, 5))
        assert (forward_delay, stp_state) == (0, 0)


def test_a_pair_across_namespaces(pair: tuple[Links, Links]) -> None:
    left, right = pair
    assert left.find("right") is None
    here, there = left.get("left"), right.get("right")
    assert (here.kind, here.up, here.carrier) == ("veth", True, True)
    assert there.carrier
    right.down("right")
    assert not left.get("left").carrier
    right.up("right")
    assert left.get("left").carrier


def test_a_pair_as_bridge_port_with_given_addresses(paths: tuple[str, str]) -> None:
    with Links(paths[0]) as links, Links(paths[1]) as inside:
        bridge = links.add_bridge("br0")
        port = links.add_veth(
            "port", "eth0", peer_namespace=paths[1], master="br0", mtu=1400, peer_mac="02:00:00:00:00:07"
        )
        assert port.master == bridge.index
        assert port.mtu == 1400
        assert inside.get("eth0").mac == "02:00:00:00:00:07"
        assert not inside.get("eth0").up
        links.set_hairpin("port")
        links.set_master("port", "")
        assert links.get("port").master == 0


def test_names_that_are_taken_or_missing(pair: tuple[Links, Links]) -> None:
    left, _ = pair
    assert code(lambda: left.add_veth("left", "other")) == errno.EEXIST
    assert code(lambda: left.get("none")) == errno.ENODEV
    assert code(lambda: left.up("none")) == errno.ENODEV
    assert code(lambda: left.delete("none")) == errno.ENODEV
    left.delete("none", missing_ok=True)
    with pytest.raises(OSError, match="add veth left: File exists"):
        left.add_veth("left", "other")


def test_settings_of_a_link(pair: tuple[Links, Links]) -> None:
    left, _ = pair
    left.set_mtu("left", 1300)
    left.set_mac("left", "02:00:00:00:00:55")
    left.down("left")
    left.rename("left", "renamed")
    found = left.get("renamed")
    assert (found.mtu, found.mac, found.up) == (1300, "02:00:00:00:00:55", False)
    assert next(link.name for link in left.list()) == "lo"


def test_links_of_a_namespace_that_went_are_really_gone() -> None:
    with kernel.namespace("a") as first, Links(first) as links:
        with kernel.namespace("b") as second:
            links.add_veth("left", "right", peer_namespace=second)
        links.wait_gone("left")
        assert links.find("left") is None
        links.add_veth("left", "right")
        with pytest.raises(TimeoutError):
            links.wait_gone("left", timeout_seconds=0.01)
        links.delete("left")
        links.wait_gone("right")


def test_addresses(pair: tuple[Links, Links]) -> None:
    left, _ = pair
    left.add_address("left", "10.9.0.1/24")
    left.add_address("left", "10.9.1.7/32")
    mine = {each.address for each in left.addresses("left") if not each.address.startswith("fe80")}
    assert mine == {"10.9.0.1/24", "10.9.1.7/32", "fd00:9::1/64"}
    assert {each.link for each in left.addresses()} == {"lo", "left"}
    left.delete_address("left", "10.9.1.7/32")
    assert code(lambda: left.delete_address("left", "10.9.1.7/32")) == errno.EADDRNOTAVAIL
    left.delete_address("left", "10.9.1.7/32", missing_ok=True)


@pytest.mark.parametrize("six", [False, True])
def test_the_kernel_chooses_no_quiet_address(paths: tuple[str, str], six: bool) -> None:
    quiet, own, other, everywhere = (
        ("fd00:9::7/128", "fd00:8::1/64", "fd00:9::8", "::/0")
        if six
        else ("10.9.0.7/32", "10.8.0.1/24", "10.9.0.8", "0.0.0.0/0")
    )

    def source() -> str:
        family = socket.AF_INET6 if six else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as asker:
            asker.connect((other, 9))
            return str(asker.getsockname()[0])

    with Links(paths[0]) as left, Links(paths[1]) as right:
        left.add_veth("left", "right", peer_namespace=paths[1])
        left.up("lo"), left.up("left"), right.up("right")
        left.add_address("left", quiet, quiet=True)
        left.add_address("lo", own)
        left.add_route(everywhere, link="left")
        assert {each.address for each in left.addresses("left") if each.quiet} >= {quiet}
        assert [each.quiet for each in left.addresses("lo") if each.address == own] == [False]
        assert namespaces.run_in(paths[0], source) == own.partition("/")[0]


def found(links: Links, destination: str) -> Route:
    (route,) = [each for each in links.routes() if each.destination == destination]
    return route


def test_routes(pair: tuple[Links, Links]) -> None:
    left, _ = pair
    for _ in range(2):  # a second time changes nothing
        left.add_route("default", via="10.9.0.2")
        left.add_route("10.20.0.0/16", kind="unreachable", metric=4_000_000_000)
        left.add_route("10.21.0.0/16", kind="blackhole")
        left.add_route("10.22.0.0/16", link="left", source="10.9.0.1")
        left.add_route("10.23.0.0/16", hops=["10.9.0.2", Hop(via="10.9.0.3", weight=3)])
        left.add_route("10.24.0.1/32", via="10.77.0.1", link="left", onlink=True)
    assert found(left, "default").via == "10.9.0.2"
    assert found(left, "10.20.0.0/16").kind == "unreachable"
    assert found(left, "10.20.0.0/16").metric == 4_000_000_000
    assert found(left, "10.21.0.0/16").kind == "blackhole"
    assert (found(left, "10.22.0.0/16").scope, found(left, "10.22.0.0/16").source) == ("link", "10.9.0.1")
    assert [(hop.via, hop.weight) for hop in found(left, "10.23.0.0/16").hops] == [("10.9.0.2", 1), ("10.9.0.3", 3)]
    assert found(left, "10.24.0.1/32").onlink
    left.add_route("10.22.0.0/16", via="10.9.0.2")
    assert found(left, "10.22.0.0/16").via == "10.9.0.2"


def test_routes_of_ipv6(pair: tuple[Links, Links]) -> None:
    left, _ = pair
    for _ in range(2):
        left.add_route("::/0", via="fd00:9::2")
        left.add_route("fd00:20::/64", kind="unreachable")
        left.add_route("fd00:21::/64", link="left")
        left.add_route("fd00:22::/64", hops=["fd00:9::2", "fd00:9::3"])
    assert found(left, "::/0").via == "fd00:9::2"
    assert found(left, "fd00:20::/64").kind == "unreachable"
    assert found(left, "fd00:21::/64").link == "left"
    assert {hop.via for hop in found(left, "fd00:22::/64").hops} == {"fd00:9::2", "fd00:9::3"}


def test_deleting_routes(pair: tuple[Links, Links]) -> None:
    left, _ = pair
    left.add_route("10.20.0.0/16", via="10.9.0.2")
    left.add_route("10.20.0.0/16", kind="unreachable", metric=1000)
    left.delete_route("10.20.0.0/16", via="10.9.0.2")
    assert found(left, "10.20.0.0/16").kind == "unreachable"
    left.delete_route("10.20.0.0/16", kind="unreachable", metric=1000)
    assert code(lambda: left.delete_route("10.20.0.0/16")) == errno.ESRCH
    left.delete_route("10.20.0.0/16", missing_ok=True)


def test_routes_that_lead_nowhere(pair: tuple[Links, Links]) -> None:
    left, _ = pair
    assert code(lambda: left.add_route("10.20.0.0/16", via="192.0.2.1")) == errno.ENETUNREACH
    assert code(lambda: left.add_route("10.20.0.0/16", link="none")) == errno.ENODEV
    with pytest.raises(OSError, match=r"add route 10.20.0.0/16 via 192.0.2.1"):
        left.add_route("10.20.0.0/16", via="192.0.2.1")


def test_permanent_neighbours(pair: tuple[Links, Links]) -> None:
    left, _ = pair
    for version in ("10.9.0.9", "fd00:9::9"):
        entry = Neighbour(link="left", address=version, mac="02:00:00:00:00:09")
        left.set_neighbour(entry)
        left.set_neighbour(entry)
        assert entry in left.neighbours("left")
        left.delete_neighbour(entry)
        left.delete_neighbour(entry, missing_ok=True)
        assert entry not in left.neighbours("left")


async def test_addresses_that_come_and_go_are_told(pair: tuple[Links, Links], paths: tuple[str, str]) -> None:
    left, right = pair
    with AddressWatch(paths[0]) as watch:
        for change in (
            lambda: left.add_address("left", "10.9.0.7/24"),
            lambda: left.delete_address("left", "10.9.0.7/24"),
            lambda: left.add_address("left", "fd00:9::7/64"),
            lambda: left.down("left"),  # takes the IPv6 addresses along
        ):
            told = asyncio.create_task(watch.wait())
            right.add_address("right", "10.9.0.8/24")  # another namespace
            await asyncio.sleep(0)
            assert not told.done()
            change()
            async with asyncio.timeout(60):
                await told


async def test_more_addresses_than_the_watch_can_hold_are_a_change(
    pair: tuple[Links, Links], paths: tuple[str, str]
) -> None:
    left, _ = pair
    with AddressWatch(paths[0]) as watch:
        watch.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        for number in range(100):
            left.add_address("left", f"10.9.1.{number + 1}/32")
        async with asyncio.timeout(60):
            await watch.wait()
        told = asyncio.create_task(watch.wait())
        left.add_address("left", "10.9.2.1/32")
        async with asyncio.timeout(60):
            await told
