"""The packet table as real connections: kernel namespaces, kernel rules, both families."""

from collections.abc import Iterator

import pytest

from support import kernel
from support.proxy_cases import CASES, FAMILIES, NODES, Addresses, Case, desired
from support.proxy_net import Net, network

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(kernel.missing()), reason=f"needs {kernel.missing()}")]

TRIES = 24
CALLS = [case for case in CASES if case.protocol != "SCTP"]
"""Kernels of build machines seldom have SCTP sockets; the rules are the same but for one byte, and are traced."""


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with network() as made:
        for at in FAMILIES:
            made.sync(at, {node: desired(at, node) for node in NODES})
        yield made


@pytest.mark.parametrize("at", FAMILIES, ids=lambda at: f"ipv{at.version}")
@pytest.mark.parametrize("case", CALLS, ids=lambda case: case.name)
def test_connection(net: Net, case: Case, at: Addresses) -> None:
    address = case.address(at)
    if case.expected == "dropped":
        assert net.dropped(case.caller, address, case.port)
        return
    found = [net.call(case.caller, address, case.port, case.protocol) for _ in range(TRIES)]
    names = {name for name, _ in found}
    if case.expected in ("refused", "node"):
        assert names == {case.expected}
        return
    sticky = case.to in (24, 30) or case.port == 30024
    assert names <= set(case.expected)
    assert len(names) == 1 if sticky else names == set(case.expected)
    for name, seen in found:
        masked = name == case.caller or (
            not case.kept and (isinstance(case.to, str) or not case.caller.startswith("pod-"))
        )
        if not masked:
            assert seen == at.hosts[case.caller]
        elif case.caller.startswith("pod-") or case.caller == "outside":
            assert seen != at.hosts[case.caller]
