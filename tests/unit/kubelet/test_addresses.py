import pytest

from pybernetes.kubelet.addresses import AddressPool, Exhausted


def test_addresses_are_kept_over_a_restart(tmp_path):
    pool = AddressPool(tmp_path, "10.1.0.0/24")
    assert [pool.take("a"), pool.take("b"), pool.take("a")] == ["10.1.0.2", "10.1.0.3", "10.1.0.2"]
    again = AddressPool(tmp_path, "10.1.0.0/24")
    assert again.owners == {"a", "b"}
    assert again.of("b") == "10.1.0.3"
    assert again.take("c") == "10.1.0.4"


def test_a_freed_address_rests(tmp_path):
    pool = AddressPool(tmp_path, "10.1.0.0/29")
    pool.take("a")
    pool.release("a")
    pool.release("a")
    assert pool.take("b") == "10.1.0.3"
    assert [pool.take(name) for name in "cde"] == ["10.1.0.4", "10.1.0.5", "10.1.0.6"]
    assert pool.take("f") == "10.1.0.2"


def test_an_exhausted_range_says_so(tmp_path):
    pool = AddressPool(tmp_path, "10.1.0.0/30")
    pool.take("a")
    with pytest.raises(Exhausted, match=r"10\.1\.0\.0/30"):
        pool.take("b")
