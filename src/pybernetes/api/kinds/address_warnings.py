"""Addresses that are known for what they mean, but are not written as they should be.

Source: apimachinery/pkg/util/validation/ip.go, GetWarningsForIP and GetWarningsForCIDR.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator

from ..errors import quoted

_LEADING_ZEROS = re.compile(r"(?<![\w:.])0+(?=\d)|(?<=\.)0+(?=\d)|(?<=[:/])0+(?=\d+(?:\.|$))")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(text: str) -> _Address:
    """As clients once read it: zeros before a number mean nothing. Raises ValueError."""
    found = ipaddress.ip_address(_LEADING_ZEROS.sub("", text) if "." in text else text)
    return getattr(found, "ipv4_mapped", None) or found


def _is_standard(text: str) -> bool:
    try:
        return getattr(ipaddress.ip_address(text), "ipv4_mapped", None) is None
    except ValueError:
        return False


def ip_warnings(text: str, path: str) -> Iterator[str]:
    """Nothing for what is no address at all."""
    try:
        found = _address(text)
    except ValueError:
        return
    if not _is_standard(text):
        yield f"{path}: non-standard IP address {quoted(text)} is invalid: use {quoted(str(found))}"
    elif found.version == 6 and str(found) != text:
        yield f"{path}: IPv6 address {quoted(text)} should be in RFC 5952 canonical format ({quoted(str(found))})"


def each_ip(texts: Iterable[str] | None, path: str) -> Iterator[str]:
    for index, text in enumerate(texts or ()):
        yield from ip_warnings(text, f"{path}[{index}]")


def cidr_warnings(text: str, path: str) -> Iterator[str]:
    """Nothing for what is no range at all."""
    host, _, length = text.partition("/")
    try:
        found = _address(host)
        bits = int(length) - (96 if ":" in host and found.version == 4 else 0)
        network = ipaddress.ip_network((found, bits), strict=False)
    except ValueError:
        return
    standard = _is_standard(host) and length == str(int(length))
    if network.network_address != found:
        single = f"{found}/{found.max_prefixlen}"
        should = f"should be {quoted(str(network))} or {quoted(single)}?"
        yield f"{path}: CIDR value {quoted(text)} is ambiguous in this context ({should})"
        if standard:
            return
    if not standard:
        yield f"{path}: non-standard CIDR value {quoted(text)} is invalid: use {quoted(str(network))}"
    elif found.version == 6 and str(network) != text:
        yield f"{path}: IPv6 CIDR value {quoted(text)} should be in RFC 5952 canonical format ({quoted(str(network))})"


def each_cidr(texts: Iterable[str] | None, path: str) -> Iterator[str]:
    for index, text in enumerate(texts or ()):
        yield from cidr_warnings(text, f"{path}[{index}]")
