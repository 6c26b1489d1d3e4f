"""Who may come in: counts in all, and by where a connection comes from."""

import pytest

from pybernetes.wire.door import Door, group_of


def test_bounds_in_all_and_each() -> None:
    door = Door(total=3, each=2)
    first, second = door.enter("10.0.0.1"), door.enter("10.0.0.1")
    assert first is not None
    assert second is not None
    assert door.enter("10.0.0.1") is None
    assert door.enter("10.0.0.2") is not None
    assert door.enter("10.0.0.3") is None
    assert door.refused == {"total": 1, "address": 1}
    assert (door.open, door.accepted) == (3, 3)
    first.leave()
    first.leave()  # once is what counts
    assert door.open == 2
    assert door.enter("10.0.0.1") is not None


def test_nothing_is_remembered_of_who_has_left() -> None:
    door = Door(total=10, each=10)
    for number in range(100):
        entry = door.enter(f"10.0.0.{number}")
        assert entry is not None
        entry.leave()
    assert door.open == 0
    assert door._groups == {}


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_an_ipv6_network_is_one_address(address: str, group: str) -> None:
    assert group_of(address) == group
