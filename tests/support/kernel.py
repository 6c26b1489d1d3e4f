"""Kernel namespaces for tests: made under a name of their own, gone when the test ends, however it ends."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pybernetes.netlink import namespaces

_numbers = itertools.count(1)


def missing() -> str:
    """What this machine lacks for kernel tests; "" for nothing."""
    if os.geteuid() != 0:
        return "root"
    if not os.path.exists("/proc/sys/net/netfilter"):
        return "netfilter in the kernel"
    return ""


@contextmanager
def namespace(name: str = "ns") -> Iterator[str]:
    """The path of a new, empty network namespace."""
    path = f"/run/netns/pybtest-{os.getpid()}-{next(_numbers)}-{name}"
    namespaces.create(path)
    try:
        yield path
    finally:
        namespaces.delete(path)
