"""Addresses that mean something, written as they should not be."""

import pytest

from pybernetes.api.kinds.address_warnings import cidr_warnings, ip_warnings

CANONICAL = "should be in RFC 5952 canonical format"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10.1.2.3", []),
        ("fd00::1", []),
        ("a.b", []),
        ("", []),
        ("010.001.02.3", ['non-standard IP address "010.001.02.3" is invalid: use "10.1.2.3"']),
        ("10.0.0.0", []),
        ("00.0.0.0", ['non-standard IP address "00.0.0.0" is invalid: use "0.0.0.0"']),
        ("::ffff:1.2.3.4", ['non-standard IP address "::ffff:1.2.3.4" is invalid: use "1.2.3.4"']),
        ("::ffff:01.2.3.4", ['non-standard IP address "::ffff:01.2.3.4" is invalid: use "1.2.3.4"']),
        ("FD00::1", [f'IPv6 address "FD00::1" {CANONICAL} ("fd00::1")']),
        ("fd00:0:0:0:0:0:0:1", [f'IPv6 address "fd00:0:0:0:0:0:0:1" {CANONICAL} ("fd00::1")']),
    ],
)
def test_addresses(text, said):
    assert list(ip_warnings(text, "f")) == [f"f: {one}" for one in said]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10.0.0.0/8", []),
        ("fd00::/8", []),
        ("a/8", []),
        ("10.0.0.0", []),
        ("10.0.0.0/40", []),
        (
            "10.1.2.3/8",
            ['CIDR value "10.1.2.3/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.1.2.3/32"?)'],
        ),
        ("010.0.0.0/8", ['non-standard CIDR value "010.0.0.0/8" is invalid: use "10.0.0.0/8"']),
        ("10.0.0.0/08", ['non-standard CIDR value "10.0.0.0/08" is invalid: use "10.0.0.0/8"']),
        ("::ffff:10.0.0.0/104", ['non-standard CIDR value "::ffff:10.0.0.0/104" is invalid: use "10.0.0.0/8"']),
        ("FD00::/8", [f'IPv6 CIDR value "FD00::/8" {CANONICAL} ("fd00::/8")']),
        ("fd00:0::/8", [f'IPv6 CIDR value "fd00:0::/8" {CANONICAL} ("fd00::/8")']),
    ],
)
def test_ranges(text, said):
    assert list(cidr_warnings(text, "f")) == [f"f: {one}" for one in said]
