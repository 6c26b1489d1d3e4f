"""Kernel settings under /proc/sys, read and written inside a namespace.

/proc/sys/net shows the settings of the namespace that the opening thread is in, so the file is opened in there.
Keys are dotted ("net.ipv4.ip_forward") or, where a part holds a dot (a link "eth0.5"), slashed, as in sysctl(8).
"""

import os
from collections.abc import Iterable, Mapping
from ipaddress import ip_interface

from pybernetes.netlink.namespaces import run_in


def read(key: str, *, namespace: str | None = None) -> str:
    """The value without its newline. Raises FileNotFoundError for a setting this kernel lacks."""
    return run_in(namespace, lambda: _read(key))


def write(key: str, value: str | int, *, namespace: str | None = None) -> None:
    """Set one value. Raises OSError with what was attempted."""
    write_all({key: value}, namespace=namespace)


def write_all(values: Mapping[str, str | int], *, namespace: str | None = None) -> None:
    """Set values in order, entering the namespace once; those that already hold are not written."""

    def apply() -> None:
        for key, value in values.items():
            _write(key, str(value))

    run_in(namespace, apply)


def forwarding(ranges: Iterable[str], *, namespace: str | None = None) -> None:
    """Let a namespace forward packets of the IP versions that these CIDRs (or addresses) have."""
    versions = sorted({ip_interface(text).version for text in ranges})
    keys = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
    write_all({keys[version]: 1 for version in versions}, namespace=namespace)


def _path(key: str) -> str:
    return "/proc/sys/" + (key if "/" in key else key.replace(".", "/"))


def _read(key: str) -> str:
    with open(_path(key), encoding="ascii") as file:
        return file.read().rstrip("\n")


def _write(key: str, value: str) -> None:
    try:
        if _read(key) == value:
            return
        with open(_path(key), "w", encoding="ascii") as file:
            file.write(value)
    except OSError as error:
        code = error.errno or 0
        raise OSError(code, f"sysctl {key} = {value}: {os.strerror(code)}") from error
