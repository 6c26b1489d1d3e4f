"""Addresses that are known for what they mean, but are not written as they should be.

Source: apimachinery/pkg/util/validation/ip.go, GetWarningsForIP and GetWarningsForCIDR.
"""

from collections.abc import Iterable, Iterator

from .. import names
from ..errors import quoted


def ip_warnings(text: str, path: str) -> Iterator[str]:
    """Nothing for what is no address at all."""
    found = names.sloppy(text)
    if found is None:
        return
    if any(names.ip(text)):
        yield f"{path}: non-standard IP address {quoted(text)} is invalid: use {quoted(str(found))}"
    elif found.version == 6 and str(found) != text:
        yield f"{path}: IPv6 address {quoted(text)} should be in RFC 5952 canonical format ({quoted(str(found))})"


def each_ip(texts: Iterable[str] | None, path: str) -> Iterator[str]:
    for index, text in enumerate(texts or ()):
        yield from ip_warnings(text, f"{path}[{index}]")


def cidr_warnings(text: str, path: str) -> Iterator[str]:
    """Nothing for what is no range at all."""
    read = names.network(text)
    if read is None:
        return
    found, first = read
    host, _, length = text.partition("/")
    standard = not any(names.ip(host)) and length == str(int(length))
    shown = quoted(str(found))
    if not first:
        address = names.sloppy(host)
        single = quoted(f"{address}/{found.max_prefixlen}")
        yield f"{path}: CIDR value {quoted(text)} is ambiguous in this context (should be {shown} or {single}?)"
    if not standard:
        yield f"{path}: non-standard CIDR value {quoted(text)} is invalid: use {shown}"
    elif first and found.version == 6 and str(found) != text:
        yield f"{path}: IPv6 CIDR value {quoted(text)} should be in RFC 5952 canonical format ({shown})"


def each_cidr(texts: Iterable[str] | None, path: str) -> Iterator[str]:
    for index, text in enumerate(texts or ()):
        yield from cidr_warnings(text, f"{path}[{index}]")
