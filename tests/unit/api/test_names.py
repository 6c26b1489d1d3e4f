import random

import pytest

from pybernetes.api import names

GOOD_LABELS = ["a", "web-1", "0a", "a" * 63]
BAD_LABELS = ["", "A", "a_b", "-a", "a-", "a.b", "a" * 64, "a\n"]


@pytest.mark.parametrize("text", GOOD_LABELS)
def test_labels(text):
    assert not list(names.label(text))


@pytest.mark.parametrize("text", BAD_LABELS)
def test_what_is_no_label(text):
    assert list(names.label(text))


def test_the_sentence_is_kubernetes_own():
    assert list(names.label("Bad_Name")) == [
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    ]


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (names.subdomain, ["a.b-c.d", "a" * 253], ["a..b", ".a", "a.", "A.b", "a" * 254]),
        (names.label_1035, ["a1", "abc"], ["1a", "a.b", ""]),
        (names.qualified, ["a", "a.b/C_d-e.f", "example.com/x"], ["", "a/b/c", "/x", "A.b/", "-x", "x" * 64]),
        (names.label_value, ["", "A.b_c-1", "x" * 63], ["-a", "a b", "x" * 64]),
        (names.port_name, ["http", "a-1", "x1"], ["", "HTTP", "a--b", "-a", "123", "a" * 16]),
        (names.env_name, ["A", "a.b-c", "_", "1"], ["", "a=b", "ä"]),
        (names.config_key, ["a", ".dot", "A_b-c.d"], ["", ".", "..", "..a", "a/b", "a" * 254]),
        (names.path_segment, ["system:node", "a b"], [".", "..", "a/b", "a%b"]),
        (names.ip, ["10.0.0.1", "fd00::1"], ["", "10.0.0", "10.0.0.01", "x"]),
        (names.cidr, ["10.0.0.0/8", "fd00::/8", "FD00::/8"], ["10.0.0.0", "x/8", "10.0.0.0/33", "10.0.0.0/255.0.0.0"]),
        (names.canonical_ip, ["10.0.0.1", "fd00::1"], ["FD00::1", "fd00:0::1", "::ffff:1.2.3.4", "fe80::1%a"]),
        (names.canonical_cidr, ["10.0.0.0/8", "fd00::/8"], ["FD00::/8", "fd00:0::/8", "10.0.0.1/8"]),
    ],
)
def test_rules(rule, good, bad):
    assert [text for text in good if list(rule(text))] == []
    assert [text for text in bad if not list(rule(text))] == []


def test_a_generated_name_fits_a_label_and_ends_in_five_plain_characters():
    rng = random.Random(1)
    short, long = names.generated("web-", rng), names.generated("x" * 100, rng)
    assert short.startswith("web-")
    assert len(short) == 9
    assert len(long) == 63
    assert not set(short[4:]) & set("aeiou013")


def test_generated_names_differ():
    rng = random.Random(1)
    assert len({names.generated("a-", rng) for _ in range(500)}) == 500


@pytest.mark.parametrize(
    ("rule", "text", "problem"),
    [
        (names.ip, "10.0.0.01", "must not have leading 0s"),
        (names.ip, "::ffff:10.0.0.1", "must not be an IPv4-mapped IPv6 address"),
        (names.ip, "fe80::1%eth0", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        (names.cidr, "10.0.0.0/08", "must not have leading 0s in IP or prefix length"),
        (names.cidr, "010.0.0.0/8", "must not have leading 0s in IP or prefix length"),
        (names.cidr, "::ffff:10.0.0.0/104", "must not have an IPv4-mapped IPv6 address"),
        (names.cidr, "10.0.0.1/8", "must not have bits set beyond the prefix length"),
        (names.cidr, "10.0.0.0/-1", "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
        (names.canonical_ip, "FD00::1", 'must be in canonical form ("fd00::1")'),
        (names.canonical_cidr, "FD00::/8", 'must be in canonical form ("fd00::/8")'),
    ],
)
def test_addresses_that_are_read_in_two_ways(rule, text, problem):
    assert list(rule(text)) == [problem]
