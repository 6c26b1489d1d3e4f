"""What of a pod's ports is asked for at the node, as values that can be kept in a file. Pure."""

from collections.abc import Iterator
from ipaddress import ip_address

import msgspec

from pybernetes.api.objects import Obj
from pybernetes.control.pods import containers_of

from ..runtime.protocol import RuntimeFailure

PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}


class PortMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A port of the node, and the one of the pod that it leads to."""

    protocol: str = "TCP"
    host_ip: str = ""
    """One address of the node; "" all, 0.0.0.0 all of IPv4, :: all of IPv6 (as portmap has it)."""
    host_port: int
    container_port: int

    def is_for(self, version: int) -> bool:
        """Whether it is open at addresses of that IP version."""
        return not self.host_ip or ip_address(self.host_ip).version == version

    @property
    def address(self) -> str:
        """The one address it is open at, "" for all."""
        return "" if not self.host_ip or ip_address(self.host_ip).is_unspecified else self.host_ip

    @property
    def is_on_loopback(self) -> bool:
        """Whether the node reaches it at 127.0.0.0/8."""
        return self.is_for(4) and (not self.address or ip_address(self.address).is_loopback)


class PodPorts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One pod's mappings, and where the pod is."""

    addresses: tuple[str, ...]
    """One of each IP version."""
    link: str
    """The node's end of its pair."""
    mappings: tuple[PortMapping, ...]

    def address_of(self, version: int) -> str:
        """Its address of that IP version, "" for none."""
        return next((each for each in self.addresses if ip_address(each).version == version), "")

    @property
    def is_on_loopback(self) -> bool:
        return bool(self.address_of(4)) and any(each.is_on_loopback for each in self.mappings)


def mappings_of(pod: Obj) -> tuple[PortMapping, ...]:
    """Of its main containers and sidecars; none of a hostNetwork pod, whose container ports are the node's. Raises
    RuntimeFailure for a hostIP that is no address (the API takes any).
    """
    return () if pod["spec"].get("hostNetwork") else tuple(_mappings(pod))


def _mappings(pod: Obj) -> Iterator[PortMapping]:
    for container in containers_of(pod):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield PortMapping(
                    protocol=port.get("protocol") or "TCP",
                    host_ip=_address(port),
                    host_port=int(port["hostPort"]),
                    container_port=int(port["containerPort"]),
                )


def _address(port: Obj) -> str:
    text = port.get("hostIP") or ""
    try:
        return text and str(ip_address(text))
    except ValueError:
        message = f"hostIP {text!r} of hostPort {port['hostPort']} is not an IP address"
        raise RuntimeFailure("InvalidHostPort", message) from None
