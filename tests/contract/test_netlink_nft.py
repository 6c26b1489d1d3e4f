"""One suite for nftables: the model and the kernel accept and refuse the same."""

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import closing

import pytest

from pybernetes.netlink.expressions import (
    ACCEPT,
    DROP,
    Compare,
    Decide,
    Dnat,
    Dynset,
    Lookup,
    Masquerade,
    Meta,
    Numgen,
    Payload,
    Reject,
    VerdictLookup,
    goto,
    jump,
)
from pybernetes.netlink.fake import FakeNftables
from pybernetes.netlink.nft import (
    IP,
    IP6,
    VERDICT,
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    AddTable,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    DeleteTable,
    FlushChain,
    FlushSet,
    Hook,
    KernelNftables,
    Nftables,
    Operation,
    Refused,
    Set,
    Transaction,
)
from support import kernel

TABLE = "pybtest"
A, B, C = (bytes([10, 0, 0, n]) for n in (1, 2, 3))
PORTS = Set(name="ports", key=("ipv4_addr", "inet_proto", "inet_service"), data=("ipv4_addr", "inet_service"))
CHAINS = Set(name="chains", key=("ipv4_addr",), data=VERDICT)
ADDRESSES = Set(name="addresses", key=("ipv4_addr",))
RANGES = Set(name="ranges", key=("ipv4_addr",), interval=True)
CLIENTS = Set(
    name="clients", key=("ipv4_addr",), data=("ipv4_addr", "inet_service"), dynamic=True, timeout_seconds=60, size=4
)


@pytest.fixture(params=["fake", pytest.param("kernel", marks=pytest.mark.kernel)])
def nft(request: pytest.FixtureRequest) -> Iterator[Nftables]:
    if request.param == "fake":
        yield FakeNftables()
        return
    if lack := kernel.missing():
        pytest.skip(f"needs {lack}")
    with kernel.namespace() as path:
        tables = KernelNftables(path)
        yield tables
        tables.close()


def run(nft: Nftables, *operations: Operation, family: int = IP) -> None:
    nft.commit(Transaction(family, TABLE, list(operations)))


def refused(nft: Nftables, *operations: Operation) -> int | None:
    with pytest.raises(Refused) as caught:
        run(nft, *operations)
    assert caught.value.operation == operations[-1]
    return caught.value.errno


def port_key(address: bytes, port: int) -> bytes:
    return struct.pack(">4sB3xH2x", address, 6, port)


def port_data(address: bytes, port: int) -> bytes:
    return struct.pack(">4sH2x", address, port)


def test_table_is_added_once_and_keeps_its_comment(nft: Nftables) -> None:
    assert nft.comment(IP, TABLE) is None
    run(nft, AddTable("first words"))
    run(nft, AddTable("others"))
    assert nft.comment(IP, TABLE) == "first words"
    assert nft.comment(IP6, TABLE) is None


def test_a_table_that_is_not_there_has_nothing(nft: Nftables) -> None:
    assert nft.comment(IP, TABLE) is None
    assert nft.chains(IP, TABLE) == {}
    assert nft.sets(IP, TABLE) == frozenset()


def test_deleting_a_table_takes_everything(nft: Nftables) -> None:
    run(nft, AddTable(), AddChain("c"), AddSet(ADDRESSES), AddElements("addresses", {A: None}))
    run(nft, DeleteTable())
    assert nft.comment(IP, TABLE) is None
    assert nft.chains(IP, TABLE) == {}
    assert refused(nft, DeleteTable()) == errno.ENOENT
    run(nft, DeleteTable(missing_ok=True))


def test_families_are_apart(nft: Nftables) -> None:
    run(nft, AddTable("six"), AddChain("c"), family=IP6)
    assert nft.chains(IP, TABLE) == {}
    assert nft.chains(IP6, TABLE) == {"c": 0}


def test_replacing_a_table_in_one_transaction(nft: Nftables) -> None:
    run(nft, AddTable("old"), AddChain("gone"), AddSet(ADDRESSES))
    run(nft, DeleteTable(missing_ok=True), AddTable("new"), AddChain("kept"))
    assert nft.comment(IP, TABLE) == "new"
    assert nft.chains(IP, TABLE) == {"kept": 0}
    assert nft.sets(IP, TABLE) == frozenset()


@pytest.mark.parametrize(
    "operation",
    [AddChain("c"), AddSet(ADDRESSES), AddRule("c", (Decide(DROP),)), FlushSet("addresses"), DeleteChain("c")],
)
def test_without_its_table_everything_is_refused(nft: Nftables, operation: Operation) -> None:
    assert refused(nft, operation) == errno.ENOENT


def test_chains_and_rules(nft: Nftables) -> None:
    run(nft, AddTable(), AddChain("c"), AddRule("c", (Decide(DROP),)), AddRule("c", (Decide(ACCEPT),)))
    run(nft, AddChain("c"))
    assert nft.chains(IP, TABLE) == {"c": 2}
    run(nft, FlushChain("c"))
    assert nft.chains(IP, TABLE) == {"c": 0}
    run(nft, DeleteChain("c"))
    assert nft.chains(IP, TABLE) == {}
    assert refused(nft, DeleteChain("c")) == errno.ENOENT
    assert refused(nft, AddRule("c", (Decide(DROP),))) == errno.ENOENT


def test_a_chain_that_is_jumped_to_stays(nft: Nftables) -> None:
    run(nft, AddTable(), AddChain("a"), AddChain("b"), AddRule("a", (Decide(jump("b")),)))
    assert refused(nft, DeleteChain("b")) == errno.EBUSY
    run(nft, FlushChain("a"), DeleteChain("b"))
    assert refused(nft, AddRule("a", (Decide(jump("b")),))) == errno.ENOENT


def test_a_chain_that_a_map_leads_to_stays(nft: Nftables) -> None:
    run(nft, AddTable(), AddChain("a"), AddSet(CHAINS), AddElements("chains", {A: goto("a"), B: DROP}))
    assert refused(nft, DeleteChain("a")) == errno.EBUSY
    assert refused(nft, AddElements("chains", {C: goto("nowhere")})) == errno.ENOENT
    run(nft, DeleteElements("chains", [A]), DeleteChain("a"))
    assert nft.elements(IP, TABLE, "chains") == {B: DROP}


def test_sets(nft: Nftables) -> None:
    run(nft, AddTable(), AddSet(PORTS), AddSet(CHAINS), AddSet(ADDRESSES), AddSet(RANGES), AddSet(CLIENTS))
    run(nft, AddSet(PORTS))
    assert nft.sets(IP, TABLE) == {"ports", "chains", "addresses", "ranges", "clients"}
    run(nft, DeleteSet("ports"))
    assert "ports" not in nft.sets(IP, TABLE)
    assert refused(nft, DeleteSet("ports")) == errno.ENOENT


def test_a_set_of_another_kind_under_the_same_name(nft: Nftables) -> None:
    run(nft, AddTable(), AddSet(ADDRESSES))
    assert refused(nft, AddSet(Set(name="addresses", key=("inet_service",)))) == errno.EEXIST


def test_a_set_in_use_stays(nft: Nftables) -> None:
    rule = (Payload(0, "network", 16, 4), Lookup("addresses", 0), Decide(DROP))
    run(nft, AddTable(), AddChain("c"), AddSet(ADDRESSES), AddRule("c", rule))
    assert refused(nft, DeleteSet("addresses")) == errno.EBUSY
    assert refused(nft, AddRule("c", (Payload(0, "network", 16, 4), Lookup("none", 0)))) == errno.ENOENT


def test_elements(nft: Nftables) -> None:
    run(nft, AddTable(), AddSet(PORTS))
    key, data = port_key(A, 80), port_data(B, 8080)
    run(nft, AddElements("ports", {key: data}))
    run(nft, AddElements("ports", {key: data}))
    assert nft.elements(IP, TABLE, "ports") == {key: data}
    assert refused(nft, AddElements("ports", {key: port_data(C, 8080)})) == errno.EEXIST
    run(nft, DeleteElements("ports", [key]), AddElements("ports", {key: port_data(C, 8080)}))
    assert nft.elements(IP, TABLE, "ports") == {key: port_data(C, 8080)}
    run(nft, DeleteElements("ports", [key]))
    assert refused(nft, DeleteElements("ports", [key])) == errno.ENOENT
    run(nft, DeleteElements("ports", [key], missing_ok=True))
    assert nft.elements(IP, TABLE, "ports") == {}


def test_elements_of_the_wrong_shape(nft: Nftables) -> None:
    run(nft, AddTable(), AddSet(PORTS), AddSet(ADDRESSES))
    assert refused(nft, AddElements("ports", {A + A + A + A: port_data(A, 1)})) == errno.EINVAL
    assert refused(nft, AddElements("ports", {port_key(A, 80): A})) == errno.EINVAL
    assert refused(nft, AddElements("none", {A: None})) == errno.ENOENT
    with pytest.raises(OSError, match="none") as caught:
        nft.elements(IP, TABLE, "none")
    assert caught.value.errno == errno.ENOENT


def test_pieces_are_all_elements_and_let_others_work_in_between(nft: Nftables) -> None:
    elements = {port_key(struct.pack(">I", 0x0A600000 + n), 80): port_data(A, 1 + n) for n in range(2_000)}
    run(nft, AddTable(), AddSet(PORTS), AddElements("ports", elements))
    found: dict[bytes, object] = {}
    sizes = []
    for number, piece in enumerate(nft.pieces(IP, TABLE, "ports")):
        sizes.append(len(piece))
        found |= piece
        if number < 3:
            run(nft, AddElements("ports", {port_key(B, 1 + number): port_data(C, 1)}))
            assert nft.elements(IP, TABLE, "ports").keys() > elements.keys()
    assert max(sizes) < 1_500
    assert {key: found.get(key) for key in elements} == elements
    assert found.keys() - elements.keys() <= {port_key(B, 1 + number) for number in range(3)}
    pieces = nft.pieces(IP, TABLE, "none")
    with pytest.raises(OSError, match="none") as caught:
        next(pieces)
    assert caught.value.errno == errno.ENOENT


def test_a_reading_may_be_given_up(nft: Nftables) -> None:
    elements = {port_key(struct.pack(">I", 0x0A600000 + n), 80): port_data(A, 1 + n) for n in range(2_000)}
    run(nft, AddTable(), AddSet(PORTS), AddElements("ports", elements))
    pieces = nft.pieces(IP, TABLE, "ports")
    next(pieces)
    del pieces
    assert nft.elements(IP, TABLE, "ports") == elements


def test_single_elements_are_looked_up(nft: Nftables) -> None:
    key, other = port_key(A, 80), port_key(B, 80)
    run(nft, AddTable(), AddSet(PORTS), AddSet(ADDRESSES), AddSet(CHAINS))
    run(nft, AddElements("ports", {key: port_data(B, 8080)}), AddElements("addresses", {A: None, B: None}))
    run(nft, AddElements("chains", {B: DROP}))
    assert nft.lookup(IP, TABLE, "ports", [other, key]) == {key: port_data(B, 8080)}
    assert nft.lookup(IP, TABLE, "addresses", [C, B]) == {B: None}
    assert nft.lookup(IP, TABLE, "chains", [B, A]) == {B: DROP}
    assert nft.lookup(IP, TABLE, "chains", []) == {}
    for table, name in ((TABLE, "none"), ("none", "ports")):
        with pytest.raises(OSError, match="none") as caught:
            nft.lookup(IP, table, name, [A])
        assert caught.value.errno == errno.ENOENT


def test_a_refused_transaction_leaves_nothing(nft: Nftables) -> None:
    run(nft, AddTable(), AddSet(ADDRESSES), AddElements("addresses", {A: None}))
    code = refused(
        nft, AddElements("addresses", {B: None}), DeleteElements("addresses", [A]), DeleteElements("addresses", [C])
    )
    assert code == errno.ENOENT
    assert nft.elements(IP, TABLE, "addresses") == {A: None}


def test_many_elements_in_one_transaction(nft: Nftables) -> None:
    elements = {port_key(struct.pack(">I", 0x0A600000 + n), 80): port_data(A, 1 + n % 60000) for n in range(20_000)}
    run(nft, AddTable(), AddSet(PORTS), AddElements("ports", elements))
    assert nft.elements(IP, TABLE, "ports") == elements
    run(nft, FlushSet("ports"))
    assert nft.elements(IP, TABLE, "ports") == {}


def test_an_error_in_the_middle_of_many_names_its_operation(nft: Nftables) -> None:
    elements = {port_key(struct.pack(">I", 0x0A600000 + n), 80): port_data(A, 8080) for n in range(5_000)}
    run(nft, AddTable(), AddSet(PORTS), AddSet(ADDRESSES))
    bad = DeleteElements("addresses", [A])
    with pytest.raises(Refused) as caught:
        run(nft, AddElements("ports", elements), bad, AddElements("addresses", {B: None}))
    assert caught.value.operation == bad
    assert nft.elements(IP, TABLE, "ports") == {}


def test_intervals(nft: Nftables) -> None:
    run(nft, AddTable(), AddSet(RANGES))
    run(
        nft,
        AddElements(
            "ranges", {bytes([10, 96, 0, 0]): None, bytes([10, 97, 0, 0]): None}, frozenset([bytes([10, 97, 0, 0])])
        ),
    )
    assert set(nft.elements(IP, TABLE, "ranges")) == {bytes([10, 96, 0, 0]), bytes([10, 97, 0, 0])}


def test_translation_only_where_it_makes_sense(nft: Nftables) -> None:
    dnat = (
        Meta(0, "l4proto"),
        Compare(0, b"\x06"),
        Payload(1, "network", 16, 4),
        Payload(2, "transport", 2, 2),
        Dnat(IP, 1, 2),
    )
    run(nft, AddTable(), AddChain("nat", Hook("nat", "prerouting", -100)), AddRule("nat", dnat))
    run(nft, AddChain("post", Hook("nat", "postrouting", 100)), AddRule("post", (Masquerade(),)))
    run(nft, AddChain("filter", Hook("filter", "forward", 0)))
    with pytest.raises(Refused) as caught:
        run(nft, AddRule("filter", dnat))
    assert caught.value.errno == errno.EOPNOTSUPP
    with pytest.raises(Refused):
        run(nft, AddRule("nat", (Masquerade(),)))
    with pytest.raises(Refused):
        run(nft, AddChain("x"), AddRule("x", dnat), AddRule("filter", (Decide(jump("x")),)))


def test_loops_are_refused(nft: Nftables) -> None:
    run(nft, AddTable(), AddChain("base", Hook("filter", "input", 0)), AddChain("a"), AddChain("b"))
    run(nft, AddRule("base", (Decide(jump("a")),)), AddRule("a", (Decide(jump("b")),)))
    with pytest.raises(Refused) as caught:
        run(nft, AddRule("b", (Decide(jump("a")),)))
    assert caught.value.errno in (errno.ELOOP, errno.EMLINK)


def test_dynamic_maps_and_random_keys(nft: Nftables) -> None:
    slots = Set(name="slots", key=("ipv4_addr", "mark"), data=("ipv4_addr", "inet_service"))
    rule = (
        Payload(0, "network", 16, 4),
        Numgen(1, 3),
        Lookup("slots", 0, into=2),
        Payload(5, "network", 12, 4),
        Dynset("clients", "update", 5, data=2, timeout_ms=5000),
    )
    forget = (Payload(0, "network", 12, 4), Dynset("clients", "delete", 0, data=2))
    run(
        nft,
        AddTable(),
        AddChain("c"),
        AddSet(slots),
        AddSet(CLIENTS),
        AddRule("c", rule),
        AddRule("c", (Payload(2, "network", 12, 8), *forget)),
    )
    assert nft.chains(IP, TABLE) == {"c": 2}
    assert refused(nft, AddRule("c", (Payload(0, "network", 12, 4), Dynset("clients", "add", 0)))) == errno.EINVAL


def test_rejects_and_verdict_maps(nft: Nftables) -> None:
    run(nft, AddTable(), AddChain("base", Hook("filter", "input", 0)), AddChain("no"), AddSet(CHAINS))
    run(
        nft,
        AddRule("no", (Meta(0, "l4proto"), Compare(0, b"\x06"), Reject("tcp-reset", IP))),
        AddRule("no", (Reject("icmp", IP),)),
    )
    run(nft, AddRule("base", (Payload(0, "network", 16, 4), VerdictLookup("chains", 0))))
    run(nft, AddElements("chains", {A: goto("no")}))
    assert nft.chains(IP, TABLE) == {"base": 1, "no": 2}
    assert nft.elements(IP, TABLE, "chains") == {A: goto("no")}


def test_an_empty_transaction_does_nothing(nft: Nftables) -> None:
    run(nft)
    assert nft.comment(IP, TABLE) is None


def test_the_generation_counts_transactions(nft: Nftables) -> None:
    before = nft.generation()
    run(nft)
    assert nft.generation() == before
    run(nft, AddTable())
    run(nft, AddChain("c"))
    assert nft.generation() == before + 2
    with pytest.raises(Refused):
        run(nft, DeleteChain("none"))
    assert nft.generation() == before + 2


def test_a_chain_is_filled_anew_in_one_transaction(nft: Nftables) -> None:
    fill = (AddChain("c"), FlushChain("c"), AddRule("c", (Decide(DROP),)))
    run(nft, AddTable(), *fill)
    run(nft, *fill)
    assert nft.chains(IP, TABLE) == {"c": 1}


def test_a_table_is_replaced_whether_it_is_there_or_not(nft: Nftables) -> None:
    replace = (AddTable(), DeleteTable(), AddTable("mine"), AddSet(ADDRESSES), AddElements("addresses", {A: None}))
    for _ in range(2):
        run(nft, *replace)
        assert nft.comment(IP, TABLE) == "mine"
        assert nft.elements(IP, TABLE, "addresses") == {A: None}


@pytest.mark.kernel
@pytest.mark.skipif(bool(kernel.missing()), reason=f"needs {kernel.missing()}")
def test_more_answers_than_the_socket_holds_are_in_nobodys_way() -> None:
    """A socket that overran takes no answer until it is read empty: the next call would wait for ever."""
    missing = Transaction(IP, TABLE, [FlushChain(f"missing-{number}") for number in range(500)])
    with kernel.namespace("overrun") as path, closing(KernelNftables(path)) as nft:
        nft.netlink.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        run(nft, AddTable(), AddSet(ADDRESSES), AddElements("addresses", {A: None}))
        for _ in range(3):
            with pytest.raises(Refused, match="missing-0"):
                nft.commit(missing)
            generation = nft.generation()
            run(nft, AddChain("c"))
            assert nft.generation() == generation + 1
            assert nft.chains(IP, TABLE) == {"c": 0}
            assert nft.lookup(IP, TABLE, "addresses", [A, B]) == {A: None}
            run(nft, DeleteChain("c"))
