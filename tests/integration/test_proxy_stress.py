"""Connections while endpoints change thousands of times a second: none is lost with the care that the proxy takes, and
some are without any piece of it. `bench/proxy.py stress` is the long form.
"""

import os
import time
from collections.abc import Iterator

import pytest

from support import kernel
from support.proxy_stress import CAREFUL, CARELESS, NOTHING, Net, Outcome, Stress, Way, network

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(kernel.missing()), reason=f"needs {kernel.missing()}"),
]

two_cpus = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs: packets are lost while another one commits"
)
CONNECTIONS = 10_000
BATCH = 5_000
PATIENCE_SECONDS = 240
"""Without care some are lost in the first second or two, on a busy machine in ten."""


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with network() as made:
        yield made


@pytest.mark.parametrize("way", CAREFUL, ids=lambda way: way.name)
def test_no_connection_is_lost(net: Net, way: Way) -> None:
    stress = Stress(net, way)
    try:
        outcome = stress.run(CONNECTIONS)
    finally:
        stress.close()
    assert (outcome.refused, outcome.late, outcome.misled) == (0, 0, 0)
    assert outcome.connections == CONNECTIONS
    assert outcome.changes > 100


@two_cpus
@pytest.mark.parametrize("way", CARELESS, ids=lambda way: way.name)
def test_some_are_lost_without_care(net: Net, way: Way) -> None:
    """So the test above is one that can fail."""
    stress = Stress(net, way)
    outcome: Outcome = NOTHING
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        while not outcome.lost and time.monotonic() < deadline:
            outcome += stress.run(BATCH)
    finally:
        stress.close()
    assert outcome.lost > 0
