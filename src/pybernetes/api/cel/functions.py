"""Kubernetes' own functions: quantities, addresses, URLs, versions, lists, regular expressions.

Quantities and the like are maps with one telling key, since the evaluator lets no foreign types through; equal values
are equal maps. Source: k8s.io/apiserver/pkg/cel/library.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .. import regex
from ..quantity import Quantity

_NANO = 10**9
_MOST = 2**63 - 1
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?"
)
Value = dict[str, Any]
"""A quantity, address, range, URL or version."""


class Function(NamedTuple):
    """One overload. Parameter types are CEL's names; `member` is called on its first parameter."""

    name: str
    parameters: tuple[str, ...]
    returns: str
    call: Callable[..., Any]
    member: bool = True


def _is(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


# -- quantities --


def _quantity(text: str) -> Value:
    return {"quantity": str(Quantity.parse(text).nano)}


def _of_nano(nano: int) -> Value:
    return {"quantity": str(nano)}


def _nano(value: Any) -> int:
    if isinstance(value, int):
        return value * _NANO
    return int(value["quantity"])


def _as_integer(value: Value) -> int:
    whole, rest = divmod(_nano(value), _NANO)
    if rest or abs(whole) > _MOST:
        raise ValueError("cannot convert value to integer")
    return whole


def _is_integer(value: Value) -> bool:
    nano = _nano(value)
    return nano % _NANO == 0 and abs(nano // _NANO) <= _MOST


def _sign(value: Value) -> int:
    nano = _nano(value)
    return (nano > 0) - (nano < 0)


def _compare(one: Value, other: Value) -> int:
    """Quantities, or versions."""
    order: Callable[[Value], Any] = _order if "semver" in one else _nano
    left, right = order(one), order(other)
    return int(left > right) - int(left < right)


# -- addresses and ranges --


def _ip(text: str) -> Value:
    if "%" in text or (":" in text and "." in text and text.lower().startswith("::ffff:")):
        raise ValueError(f"IP Address {text!r} is not allowed: zones and IPv4-mapped IPv6 addresses are not")
    return {"ip": str(ip_address(text))}


def _cidr(text: str) -> Value:
    address, slash, length = text.partition("/")
    if not slash or not length.isdigit():
        raise ValueError(f"{text!r} is no CIDR range")
    _ip(address)
    ip_network(text, strict=False)
    return {"cidr": text}


def _range(value: Value) -> IPv4Network | IPv6Network:
    return ip_network(value["cidr"], strict=False)


def _address(value: Any) -> str:
    if isinstance(value, str):
        return str(_ip(value)["ip"])
    return str(value["ip"] if "ip" in value else value["cidr"].partition("/")[0])


def _contains_ip(value: Value, other: Any) -> bool:
    return ip_address(_address(other)) in _range(value)


def _contains_cidr(value: Value, other: Any) -> bool:
    inner, outer = _range(_cidr(other) if isinstance(other, str) else other), _range(value)
    return inner.version == outer.version and inner.prefixlen >= outer.prefixlen and inner.network_address in outer


def _family(value: Value) -> int:
    return ip_address(_address(value)).version


def _is_canonical(text: str) -> bool:
    return str(_ip(text)["ip"]) == text


def _global_unicast(value: Value) -> bool:
    """As Go has it: private addresses too."""
    address = ip_address(value["ip"])
    return not (
        address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
    ) and address != ip_address("255.255.255.255")


# -- URLs --


def _url(text: str) -> Value:
    parts = urlsplit(text)
    if not (parts.scheme and parts.netloc) and not text.startswith("/"):
        raise ValueError(f"URL parse error during conversion from string: parse {text!r}: invalid URI for request")
    _ = parts.port  # raises ValueError for one that is no number
    return {"url": text}


def _query(value: Value) -> dict[str, list[str]]:
    from urllib.parse import parse_qsl

    found: dict[str, list[str]] = {}
    for name, text in parse_qsl(urlsplit(value["url"]).query, keep_blank_values=True):
        found.setdefault(name, []).append(text)
    return found


# -- versions --


def _semver(text: str) -> Value:
    if _SEMVER.fullmatch(text) is None:
        raise ValueError(f"semver parse error during conversion from string: {text!r}")
    return {"semver": text}


def _semver_normalized(text: str, normalize: bool) -> Value:
    """With `normalize`: a leading v, absent minor and patch numbers and leading zeros are let through."""
    if not normalize:
        return _semver(text)
    core, *rest = re.split(r"(?=[-+])", text.removeprefix("v"), maxsplit=1)
    numbers = [str(int(part)) if part.isdigit() else part for part in core.split(".")]
    return _semver(".".join([*numbers, "0", "0"][: max(3, len(numbers))]) + "".join(rest))


def _order(value: Value) -> tuple[Any, ...]:
    """Precedence of semver 2.0.0, section 11."""
    found = _SEMVER.fullmatch(value["semver"])
    assert found is not None
    release = tuple(int(part) for part in found.group(1, 2, 3))
    parts = found[4].split(".") if found[4] else []
    pre = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
    return (*release, not parts, pre)


def _number(index: int) -> Callable[[Value], int]:
    return lambda value: int(_order(value)[index])


# -- lists and texts --


def _is_sorted(values: list[Any]) -> bool:
    return all(values[index] <= values[index + 1] for index in range(len(values) - 1))


def _extreme(choose: Callable[[list[Any]], Any], name: str) -> Callable[[list[Any]], Any]:
    def call(values: list[Any]) -> Any:
        if not values:
            raise ValueError(f"{name} called on empty list")
        return choose(values)

    return call


def _index(values: list[Any], wanted: Any) -> int:
    return values.index(wanted) if wanted in values else -1


def _last_index(values: list[Any], wanted: Any) -> int:
    return len(values) - 1 - values[::-1].index(wanted) if wanted in values else -1


def _find(text: str, pattern: str) -> str:
    found = regex.compiled(pattern).search(text)
    return str(found[0]) if found else ""


def _find_all(text: str, pattern: str, most: int = -1) -> list[str]:
    found = [str(one[0]) for one in regex.compiled(pattern).finditer(text)]
    return found if most < 0 else found[:most]


FUNCTIONS: tuple[Function, ...] = (
    Function("quantity", ("string",), "dyn", _quantity, member=False),
    Function("isQuantity", ("string",), "bool", _is(Quantity.parse), member=False),
    Function("asInteger", ("dyn",), "int", _as_integer),
    Function("asApproximateFloat", ("dyn",), "double", lambda value: _nano(value) / _NANO),
    Function("isInteger", ("dyn",), "bool", _is_integer),
    Function("sign", ("dyn",), "int", _sign),
    Function("add", ("dyn", "dyn"), "dyn", lambda one, other: _of_nano(_nano(one) + _nano(other))),
    Function("sub", ("dyn", "dyn"), "dyn", lambda one, other: _of_nano(_nano(one) - _nano(other))),
    Function("isGreaterThan", ("dyn", "dyn"), "bool", lambda one, other: _compare(one, other) > 0),
    Function("isLessThan", ("dyn", "dyn"), "bool", lambda one, other: _compare(one, other) < 0),
    Function("compareTo", ("dyn", "dyn"), "int", _compare),
    Function("ip", ("string",), "dyn", _ip, member=False),
    Function("isIP", ("string",), "bool", _is(_ip), member=False),
    Function("ip.isCanonical", ("string",), "bool", _is_canonical, member=False),
    Function("family", ("dyn",), "int", _family),
    Function("isUnspecified", ("dyn",), "bool", lambda value: ip_address(value["ip"]).is_unspecified),
    Function("isLoopback", ("dyn",), "bool", lambda value: ip_address(value["ip"]).is_loopback),
    Function(
        "isLinkLocalMulticast",
        ("dyn",),
        "bool",
        lambda value: value["ip"].startswith(("224.0.0.", "ff02:", "ff12:")),
    ),
    Function(
        "isLinkLocalUnicast",
        ("dyn",),
        "bool",
        lambda value: ip_address(value["ip"]).is_link_local and not ip_address(value["ip"]).is_multicast,
    ),
    Function("isGlobalUnicast", ("dyn",), "bool", _global_unicast),
    Function("cidr", ("string",), "dyn", _cidr, member=False),
    Function("isCIDR", ("string",), "bool", _is(_cidr), member=False),
    Function("containsIP", ("dyn", "dyn"), "bool", _contains_ip),
    Function("containsCIDR", ("dyn", "dyn"), "bool", _contains_cidr),
    Function("ip", ("dyn",), "dyn", lambda value: {"ip": _address(value)}),
    Function("masked", ("dyn",), "dyn", lambda value: {"cidr": str(_range(value))}),
    Function("prefixLength", ("dyn",), "int", lambda value: _range(value).prefixlen),
    Function("url", ("string",), "dyn", _url, member=False),
    Function("isURL", ("string",), "bool", _is(_url), member=False),
    Function("getScheme", ("dyn",), "string", lambda value: urlsplit(value["url"]).scheme),
    Function("getHost", ("dyn",), "string", lambda value: urlsplit(value["url"]).netloc.rpartition("@")[2]),
    Function("getHostname", ("dyn",), "string", lambda value: urlsplit(value["url"]).hostname or ""),
    Function("getPort", ("dyn",), "string", lambda value: str(urlsplit(value["url"]).port or "")),
    Function("getEscapedPath", ("dyn",), "string", lambda value: urlsplit(value["url"]).path),
    Function("getQuery", ("dyn",), "dyn", _query),
    Function("semver", ("string",), "dyn", _semver, member=False),
    Function("semver", ("string", "bool"), "dyn", _semver_normalized, member=False),
    Function("isSemver", ("string",), "bool", _is(_semver), member=False),
    Function(
        "isSemver",
        ("string", "bool"),
        "bool",
        lambda text, normalize: _is(lambda one: _semver_normalized(one, normalize))(text),
        member=False,
    ),
    Function("major", ("dyn",), "int", _number(0)),
    Function("minor", ("dyn",), "int", _number(1)),
    Function("patch", ("dyn",), "int", _number(2)),
    Function("isSorted", ("list",), "bool", _is_sorted),
    Function("sum", ("list",), "dyn", sum),
    Function("min", ("list",), "dyn", _extreme(min, "min")),
    Function("max", ("list",), "dyn", _extreme(max, "max")),
    Function("indexOf", ("list", "dyn"), "int", _index),
    Function("lastIndexOf", ("list", "dyn"), "int", _last_index),
    Function("find", ("string", "string"), "string", _find),
    Function("findAll", ("string", "string"), "texts", _find_all),
    Function("findAll", ("string", "string", "int"), "texts", _find_all),
)
