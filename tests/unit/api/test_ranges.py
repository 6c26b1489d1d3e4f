import pytest

from pybernetes.api import ranges

BOTH = "10.96.0.0/16, fd00:10:96::/112"


def test_parts_in_order():
    assert ranges.split(BOTH) == ("10.96.0.0/16", "fd00:10:96::/112")
    assert ranges.split("") == ranges.split(" , ") == ()


def test_parts_of_one_version():
    assert ranges.of_version(BOTH, 4) == ("10.96.0.0/16",)
    assert ranges.of_version(BOTH, 6) == ("fd00:10:96::/112",)
    assert ranges.of_version("10.0.0.1", 6) == ()


def test_an_address_of_each():
    assert ranges.nth(BOTH, 10) == ("10.96.0.10", "fd00:10:96::a")
    with pytest.raises(IndexError):
        ranges.nth("10.0.0.0/30", 10)


def test_what_is_no_range_is_refused():
    with pytest.raises(ValueError, match="nowhere"):
        ranges.of_version("nowhere", 4)


def test_hosts_in_urls():
    assert ranges.host_port("10.0.0.1", 80) == "10.0.0.1:80"
    assert ranges.host_port("fd00::1", 80) == "[fd00::1]:80"
