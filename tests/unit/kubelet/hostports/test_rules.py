"""The keeper of host ports over the model of nftables: each change, restarts, and what others do to the table."""

import asyncio
import errno

import pytest

from pybernetes.kubelet.hostports import HostPorts, PodPorts, PortMapping, remove_tables
from pybernetes.kubelet.hostports.layout import TABLE
from pybernetes.netlink.conntrack import UDP, Match
from pybernetes.netlink.fake import FakeNftables
from pybernetes.netlink.nft import IP, IP6, AddTable, DeleteTable, FlushChain, FlushSet, Transaction

KEY = b"\x06\0\0\0" + b"\0\x50\0\0"
ALIVE = {"a", "b"}


def ports(number, *, port=80, addresses=("10.244.1.{}", "fd00::{}"), **fields):
    made = PortMapping(host_port=port, container_port=8080, **fields)
    return PodPorts(addresses=tuple(each.format(number) for each in addresses), link=f"veth{number}", mappings=(made,))


class World:
    """A node's kernel, and one agent after the other."""

    def __init__(self, directory):
        self.records = directory / "hostports"
        self.nft = FakeNftables()
        self.deleted = []
        self.log = []
        self.doors = 0
        self.fail = None
        self.gone = set()
        self.broken = False
        self.refuse = 0
        self.keeper = self.agent()

    def agent(self, owner="me", versions=(4, 6)):
        return HostPorts(
            versions=set(versions),
            records=self.records,
            owner=owner,
            nft=self.door,
            connections=lambda: self,
            localnet=self.localnet,
        )

    def door(self):
        self.doors += 1
        if self.fail:
            raise self.fail
        return self

    def __getattr__(self, name):
        return getattr(self.nft, name)

    def commit(self, transaction):
        if transaction.family == self.refuse:
            raise OSError(errno.EIO, "refused")
        self.nft.commit(transaction)

    def localnet(self, link, on):
        """With whether loopback is protected by our rules at that moment."""
        if link in self.gone:
            raise FileNotFoundError(errno.ENOENT, link)
        if self.broken:
            raise OSError(errno.EROFS, "read-only")
        self.log.append((link, on, "martians" in self.nft.chains(IP, TABLE)))

    def delete(self, match: Match):
        self.deleted.append(match)

    def close(self):
        return

    def held(self, family=IP, name="ports"):
        table = self.nft.tables.get((family, TABLE))
        return None if table is None else {key: bytes(data[:-4]) for key, data in table.sets[name].content.items()}

    def table(self):
        return {key: table.copied() for key, table in self.nft.tables.items()}


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def test_a_table_is_there_while_a_pod_has_host_ports(world):
    await world.keeper.open("a", ports(2))
    await world.keeper.open("b", ports(3, port=81))
    assert set(world.nft.tables) == {(IP, TABLE), (IP6, TABLE)}
    assert len(world.held()) == len(world.held(IP6)) == 2
    await world.keeper.close("a")
    assert len(world.held()) == 1
    await world.keeper.close("b")
    assert world.nft.tables == {}
    assert not list(world.records.iterdir())


async def test_each_change_is_one_transaction_a_table(world):
    await world.keeper.open("a", ports(2))
    assert world.nft.commits == 2
    await world.keeper.open("b", ports(3, port=81, host_ip="0.0.0.0"))
    assert world.nft.commits == 3
    await world.keeper.open("b", ports(3, port=81, host_ip="0.0.0.0"))  # a sandbox is made again after a restart
    assert world.nft.commits == 3


async def test_nothing_is_asked_of_the_kernel_while_there_are_none(world):
    assert await world.keeper.check() == 0
    assert world.doors == 0
    assert "a" not in world.keeper


async def test_of_two_pods_the_later_has_the_port_and_the_earlier_when_it_goes(world):
    await world.keeper.open("a", ports(2))
    await world.keeper.open("b", ports(3))
    assert world.held() == {KEY: bytes((10, 244, 1, 3))}
    await world.keeper.close("b")
    assert world.held() == {KEY: bytes((10, 244, 1, 2))}


async def test_loopback_is_routed_only_behind_the_rules_that_protect_it(world):
    await world.keeper.open("a", ports(2))
    assert world.log == [("veth2", True, True)]
    world.log.clear()
    await world.keeper.close("a")
    assert world.log == [("veth2", False, True)]


async def test_loopback_is_not_routed_to_a_pod_whose_ports_are_elsewhere(world):
    await world.keeper.open("a", ports(2, host_ip="192.0.2.1"))
    await world.keeper.close("a")
    assert world.log == []


async def test_a_link_that_is_gone_is_no_other_pod_s_trouble(world):
    await world.keeper.open("a", ports(2))
    world.gone.add("veth2")
    await world.keeper.open("b", ports(3, port=81))
    assert world.log[-1] == ("veth3", True, True)
    for uid in ("a", "b"):
        await world.keeper.close(uid)
    assert world.nft.tables == {}


async def test_a_link_that_is_made_anew_is_routed_again(world):
    await world.keeper.open("a", ports(2))
    await world.keeper.open("a", ports(2))
    assert world.log == [("veth2", True, True)] * 2


async def test_connections_are_deleted_after_a_failure_too(world):
    await world.keeper.open("a", ports(2, protocol="UDP", addresses=("10.244.1.{}",)))
    world.deleted.clear()
    world.refuse = IP6
    with pytest.raises(OSError, match="refused"):
        await world.keeper.open("b", ports(3, port=81))
    world.refuse = 0
    await world.keeper.close("b")
    world.refuse = IP6
    await world.keeper.close("a")
    assert world.deleted == [Match(protocol=UDP, family=4, port=80, backend="10.244.1.2", backend_port=8080)]


async def test_what_could_not_be_protected_is_gone_all_the_same(world):
    await world.keeper.open("a", ports(2))
    world.broken = True
    with pytest.raises(OSError, match="read-only"):
        await world.keeper.close("a")
    assert set(world.nft.tables) == {(IP, TABLE), (IP6, TABLE)}  # with what protects loopback
    world.broken = False
    await world.keeper.check()
    assert world.log[-1] == ("veth2", False, True)
    assert world.nft.tables == {}


async def test_stale_connections_of_udp_are_deleted(world):
    await world.keeper.open("a", ports(2, protocol="UDP", addresses=("10.244.1.{}",)))
    assert world.deleted == [Match(protocol=UDP, family=4, port=80)]
    world.deleted.clear()
    await world.keeper.close("a")
    assert world.deleted == [Match(protocol=UDP, family=4, port=80, backend="10.244.1.2", backend_port=8080)]


async def test_a_new_agent_takes_over_without_a_gap(world):
    await world.keeper.open("a", ports(2))
    await world.keeper.open("b", ports(3, port=81))
    before = world.nft.commits
    world.deleted.clear()
    agent = world.agent()
    await agent.restore(ALIVE.__contains__)
    assert set(agent.pods) == {"a", "b"}
    assert (world.nft.commits, world.deleted) == (before, [])
    await agent.close("a")
    assert len(world.held()) == 1


async def test_a_new_agent_makes_what_is_missing_and_ends_what_is_not_alive(world):
    await world.keeper.open("a", ports(2))
    await world.keeper.open("b", ports(3, port=81))
    world.nft.tables.clear()
    agent = world.agent()
    await agent.restore({"a"}.__contains__)
    assert world.held() == {KEY: bytes((10, 244, 1, 2))}
    assert [path.name for path in world.records.iterdir()] == ["a"]
    await world.agent().restore(set().__contains__)
    assert world.nft.tables == {}


async def test_half_a_file_is_no_obstacle(world):
    await world.keeper.open("a", ports(2))
    (world.records / "b").write_text('{"addresses":')
    agent = world.agent()
    await agent.restore(ALIVE.__contains__)
    assert set(agent.pods) == {"a"}
    assert not (world.records / "b").exists()


async def test_the_order_of_pods_outlives_the_agent(world):
    await world.keeper.open("b", ports(3))
    await world.keeper.open("a", ports(2))
    agent = world.agent()
    await agent.restore(ALIVE.__contains__)
    assert list(agent.pods) == ["b", "a"]


async def test_another_layout_is_replaced(world):
    await world.keeper.open("a", ports(2))
    world.nft.tables[IP, TABLE].comment = world.nft.tables[IP, TABLE].comment[:-1] + "?"
    before = world.table()
    await world.agent().restore(ALIVE.__contains__)
    assert world.nft.tables[IP, TABLE].comment != before[IP, TABLE].comment
    assert world.held() == {KEY: bytes((10, 244, 1, 2))}


def flush_ruleset(world):
    world.nft.tables.clear()
    world.nft.commits += 1


def flush_chain(world):
    world.nft.commit(Transaction(IP, TABLE, [FlushChain("martians")]))


def flush_set(world):
    world.nft.commit(Transaction(IP6, TABLE, [FlushSet("ports")]))


@pytest.mark.parametrize(("harm", "tables"), [(flush_ruleset, 2), (flush_chain, 1), (flush_set, 1)])
async def test_what_others_change_is_put_right(world, harm, tables):
    await world.keeper.open("a", ports(2))
    assert await world.keeper.check() == 0
    before = world.table()
    harm(world)
    assert await world.keeper.check() == tables
    assert world.table() == before
    assert await world.keeper.check() == 0


async def test_nothing_is_read_while_nobody_changes_anything(world):
    await world.keeper.open("a", ports(2))
    await world.keeper.check()
    world.nft.chains = None  # a call would fail
    assert await world.keeper.check() == 0


async def test_a_change_heals_a_table_that_is_gone(world):
    await world.keeper.open("a", ports(2))
    world.nft.tables.clear()
    await world.keeper.open("b", ports(3, port=81))
    assert len(world.held()) == len(world.held(IP6)) == 2


async def test_the_watch_tells_of_repairs_and_survives_failures(world, monkeypatch):
    monkeypatch.setattr("pybernetes.kubelet.hostports.rules.CHECK_SECONDS", 0.01)
    told = []
    await world.keeper.open("a", ports(2))
    flush_ruleset(world)
    world.fail = OSError(errno.ENOBUFS, "no room")
    tried = world.doors
    task = asyncio.create_task(world.keeper.run(told.append))
    async with asyncio.timeout(60):
        while world.doors < tried + 2:
            await asyncio.sleep(0.01)
        assert (told, world.nft.tables) == ([], {})
        world.fail = None
        while not told:
            await asyncio.sleep(0.01)
    task.cancel()
    assert told == [2]
    assert world.held() == {KEY: bytes((10, 244, 1, 2))}


async def test_what_could_not_be_opened_or_closed_is_made_up_for(world):
    world.fail = PermissionError(errno.EPERM, "not allowed")
    with pytest.raises(PermissionError):
        await world.keeper.open("a", ports(2))
    world.fail = None
    await world.keeper.open("a", ports(2))
    assert world.held() == {KEY: bytes((10, 244, 1, 2))}
    world.fail = PermissionError(errno.EPERM, "not allowed")
    with pytest.raises(PermissionError):
        await world.keeper.close("a")
    world.fail = None
    await world.keeper.check()
    assert world.nft.tables == {}


async def test_a_node_that_cannot_have_host_ports_is_fine_without(world):
    world.fail = OSError(errno.EOPNOTSUPP, "no nftables")
    await world.keeper.restore(ALIVE.__contains__)
    assert await world.keeper.check() == 0
    (world.records).mkdir()
    world.fail = None
    await world.keeper.open("a", ports(2))
    world.fail = OSError(errno.EOPNOTSUPP, "no nftables")
    with pytest.raises(OSError, match="no nftables"):
        await world.agent().restore(ALIVE.__contains__)


async def test_only_the_owner_s_tables_are_removed(world):
    await world.keeper.open("a", ports(2))
    remove_tables("other", nft=world.door)
    await world.agent("other").restore(set().__contains__)
    assert set(world.nft.tables) == {(IP, TABLE), (IP6, TABLE)}
    world.nft.commit(Transaction(IP, "pybernetes", [AddTable("the proxy's")]))
    remove_tables("me", nft=world.door)
    assert set(world.nft.tables) == {(IP, "pybernetes")}
    world.nft.commit(Transaction(IP, "pybernetes", [DeleteTable()]))
