"""The rules names follow (RFC 1123, RFC 1035, qualified names); each yields what is wrong, in Kubernetes' words.

Source: k8s.io/apimachinery/pkg/util/validation; the sentences are what users search for, so they are kept as they are.
"""

import ipaddress
import random
import re
from collections.abc import Iterator
from functools import lru_cache

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_UNDERSCORED = re.compile(r"[a-z0-9_]([-_a-z0-9]*[a-z0-9_])?(\.[a-z0-9_]([-_a-z0-9]*[a-z0-9_])?)*")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_ENV = re.compile(r"[ -<>-~]+")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_PORT_NAME = re.compile(r"[-a-z0-9]+")
_LEADING_ZEROS = re.compile(r"(?<![\w:.])0+(?=\d)|(?<=\.)0+(?=\d)|(?<=:)0+(?=\d+\.)")
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_MOST_GENERATED = 63 - 5


def _regex(message: str, pattern: str, *examples: str) -> str:
    if not examples:
        return f"{message} (regex used for validation is '{pattern}')"
    shown = "".join(f"{' or ' if i else ''}'{one}', " for i, one in enumerate(examples))
    return f"{message} (e.g. {shown}regex used for validation is '{pattern}')"


_LABEL_TEXT = _regex(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character",
    "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
    "my-name",
    "123-abc",
)
_SUBDOMAIN_TEXT = _regex(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character",
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
    "example.com",
)
_UNDERSCORED_TEXT = _regex(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    r"[a-z0-9_]([-_a-z0-9]*[a-z0-9_])?(\.[a-z0-9_]([-_a-z0-9]*[a-z0-9_])?)*",
    "example.com",
)
_LABEL_1035_TEXT = _regex(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character",
    "[a-z]([-a-z0-9]*[a-z0-9])?",
    "my-name",
    "abc-123",
)
_QUALIFIED_TEXT = _regex(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]",
    "MyName",
    "my.name",
    "123-abc",
)
_LABEL_VALUE_TEXT = _regex(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
    "MyValue",
    "my_value",
    "12345",
)
_ENV_TEXT = "a valid environment variable name must consist only of printable ASCII characters other than '='"
_CONFIG_KEY_TEXT = _regex(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    r"[-._a-zA-Z0-9]+",
    "key.name",
    "KEY_NAME",
    "key-name",
)


def _most(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def label(text: str) -> Iterator[str]:
    """An RFC 1123 label: names of namespaces, containers, ports of pods."""
    if len(text) > 63:
        yield _most(63)
    if not _LABEL.fullmatch(text):
        yield _LABEL_TEXT


def subdomain(text: str) -> Iterator[str]:
    """An RFC 1123 subdomain: the names of most kinds."""
    if len(text) > 253:
        yield _most(253)
    if not _SUBDOMAIN.fullmatch(text):
        yield _SUBDOMAIN_TEXT


def subdomain_with_underscore(text: str) -> Iterator[str]:
    """A subdomain as DNS searches have them: "_tcp" is a label too."""
    if len(text) > 253:
        yield _most(253)
    if not _UNDERSCORED.fullmatch(text):
        yield _UNDERSCORED_TEXT


def label_1035(text: str) -> Iterator[str]:
    """An RFC 1035 label."""
    if len(text) > 63:
        yield _most(63)
    if not _LABEL_1035.fullmatch(text):
        yield _LABEL_1035_TEXT


def path_segment(text: str) -> Iterator[str]:
    """What can stand in a URL: names of RBAC kinds."""
    if text in (".", ".."):
        yield f"may not be '{text}'"
    for part in ("/", "%"):
        if part in text:
            yield f"may not contain '{part}'"


def qualified(text: str) -> Iterator[str]:
    """A label or annotation key: [prefix/]name."""
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        yield (
            "a qualified name "
            + _QUALIFIED_TEXT
            + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        )
        return
    if slash:
        if not prefix:
            yield "prefix part must be non-empty"
        else:
            yield from (f"prefix part {problem}" for problem in subdomain(prefix))
    if not name:
        yield "name part must be non-empty"
    elif len(name) > 63:
        yield f"name part {_most(63)}"
    if not _QUALIFIED.fullmatch(name):
        yield f"name part {_QUALIFIED_TEXT}"


def label_value(text: str) -> Iterator[str]:
    if len(text) > 63:
        yield _most(63)
    if not _LABEL_VALUE.fullmatch(text):
        yield _LABEL_VALUE_TEXT


def port_name(text: str) -> Iterator[str]:
    """An IANA service name, as container ports and target ports use."""
    if len(text) > 15:
        yield "must be no more than 15 characters"
    if not _PORT_NAME.fullmatch(text):
        yield "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    if not re.search("[a-z]", text):
        yield "must contain at least one letter (a-z)"
    if "--" in text:
        yield "must not contain consecutive hyphens"
    if text and (text[0] == "-" or text[-1] == "-"):
        yield "must not begin or end with a hyphen"


def port_number(value: int) -> Iterator[str]:
    if not 1 <= value <= 65535:
        yield "must be between 1 and 65535, inclusive"


def env_name(text: str) -> Iterator[str]:
    if not _ENV.fullmatch(text):
        yield _ENV_TEXT


def config_key(text: str) -> Iterator[str]:
    """A key of a ConfigMap or Secret."""
    if len(text) > 253:
        yield _most(253)
    if not _CONFIG_KEY.fullmatch(text):
        yield _CONFIG_KEY_TEXT
    if text == ".":
        yield "must not be '.'"
    elif text.startswith(".."):
        yield "must not be '..'" if text == ".." else "must not start with '..'"


@lru_cache(maxsize=4096)
def address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The parsed IP address; None when it is none."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def sloppy(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address as clients once read it: zeros before a number mean nothing, and an IPv4 one may be in IPv6's form."""
    found = address(_LEADING_ZEROS.sub("", text) if "." in text else text)
    if found is None or getattr(found, "scope_id", None):
        return None
    return getattr(found, "ipv4_mapped", None) or found


def ip(text: str) -> Iterator[str]:
    """One that everybody reads alike (KEP-4858)."""
    if sloppy(text) is None:
        yield "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
    elif address(text) is None:
        yield "must not have leading 0s"
    elif _is_mapped(text):
        yield "must not be an IPv4-mapped IPv6 address"


def _is_mapped(text: str) -> bool:
    return getattr(address(text), "ipv4_mapped", None) is not None


def network(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, bool] | None:
    """The range, and whether the address is its first; None when it is none. Sloppy in the same way."""
    host, slash, length = text.partition("/")
    found = sloppy(host)
    if found is None or not slash or not (length.isascii() and length.isdecimal()):
        return None
    bits = int(length) - (96 if ":" in host and found.version == 4 else 0)
    if not 0 <= bits <= found.max_prefixlen:
        return None
    whole = ipaddress.ip_network((found, bits), strict=False)
    return whole, whole.network_address == found


def cidr(text: str) -> Iterator[str]:
    """A range that everybody reads alike (KEP-4858)."""
    found = network(text)
    host, _, length = text.partition("/")
    if found is None:
        yield "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    elif address(host) is None or length != str(int(length)):
        yield "must not have leading 0s in IP or prefix length"
    elif _is_mapped(host):
        yield "must not have an IPv4-mapped IPv6 address"
    elif not found[1]:
        yield "must not have bits set beyond the prefix length"


def canonical_ip(text: str) -> Iterator[str]:
    """One that is written as RFC 5952 wants it."""
    problems = list(ip(text))
    yield from problems
    if not problems and str(address(text)) != text:
        yield f'must be in canonical form ("{address(text)}")'


def canonical_cidr(text: str) -> Iterator[str]:
    problems = list(cidr(text))
    yield from problems
    found = network(text)
    if not problems and found is not None and str(found[0]) != text:
        yield f'must be in canonical form ("{found[0]}")'


def generated(base: str, rng: random.Random) -> str:
    """metadata.generateName made a name: the base, cut to fit, and five characters without vowels."""
    return base[:_MOST_GENERATED] + suffix(rng)


def suffix(rng: random.Random, *, length: int = 5) -> str:
    """Characters that form no words (apimachinery's rand.String)."""
    return "".join(rng.choices(_ALPHABET, k=length))


def safe_encoded(text: str) -> str:
    """A hash written in characters that form no words (apimachinery's rand.SafeEncodeString)."""
    return "".join(_ALPHABET[ord(character) % len(_ALPHABET)] for character in text)
