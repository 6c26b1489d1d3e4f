"""Where upstreams are, as people write it and as resolv.conf has it."""

import ipaddress
from typing import Literal, NamedTuple

from pybernetes.api.ranges import host_port

from .names import name_of, wire_of

Transport = Literal["udp", "tcp", "tls"]
_SCHEMES: dict[str, Transport] = {"dns": "udp", "udp": "udp", "tcp": "tcp", "tls": "tls"}
_TLS_PORT = 853


class Address(NamedTuple):
    host: str
    port: int = 53
    transport: Transport = "udp"
    """udp asks again over TCP what came cut or cannot be believed; the others ask over their own only."""
    server_name: str = ""
    """Whose certificate it has to be over TLS; "" is that of the address."""

    def __str__(self) -> str:
        return host_port(self.host, self.port)


def address_of(text: str) -> Address:
    """[SCHEME://]HOST[:PORT][#SERVER-NAME], HOST an address, [V6] where a port follows; raises ValueError.

    SCHEME is dns or udp, tcp, or tls, whose port is 853 and who alone may have a name for its certificate.
    """
    scheme, found, rest = text.rpartition("://")
    transport = _SCHEMES.get(scheme if found else "dns")
    if transport is None:
        raise ValueError(f"{text!r} begins with none of {', '.join(_SCHEMES)}")
    rest, hash, server_name = rest.partition("#")
    if hash and (transport != "tls" or not server_name):
        raise ValueError(f"{text!r}: #NAME is the name in the certificate of a tls:// upstream")
    wire_of(name_of(server_name))
    host, port = _split(rest, str(_TLS_PORT if transport == "tls" else 53))
    ipaddress.ip_address(host.partition("%")[0])
    if not 0 < int(port) < 65536:
        raise ValueError(f"port {port} is out of range")
    return Address(host, int(port), transport, server_name.rstrip("."))


def _split(text: str, port: str) -> tuple[str, str]:
    if text.startswith("["):
        host, closing, rest = text[1:].partition("]")
        if not closing or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not [ADDRESS]:PORT")
        return host, rest.removeprefix(":") or port
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, port


def nameservers(resolv_conf: str) -> list[Address]:
    """The nameserver lines of a resolv.conf, those that are no address left out."""
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                host = words[1]
                ipaddress.ip_address(host.partition("%")[0])
            except ValueError:
                continue
            found.append(Address(host))
    return found


def searches(resolv_conf: str) -> tuple[str, ...]:
    """The domains of the last search line of a resolv.conf, as the kubelet reads it."""
    found: tuple[str, ...] = ()
    for line in resolv_conf.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if words[:1] == ["search"]:
            found = tuple(word for word in words[1:] if word != ".")
    return found
