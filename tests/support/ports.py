"""Free ports for servers that a test starts."""

import itertools
import os

from pybernetes.dns.sockets import bind

FIRST, LAST = 12_000, 29_999
"""Below what the kernel gives to those who ask for any port (32768), so that nobody gets one of these by chance
between here and its use, and below the NodePorts."""
_NEXT = itertools.count(os.getpid() * 101)  # processes of one run begin far from each other


def free_port(host: str = "127.0.0.1") -> int:
    """One that nobody has at this address now, neither over TCP nor over UDP, and that is given out but once."""
    for _ in range(1000):
        port = FIRST + next(_NEXT) % (LAST - FIRST + 1)
        try:
            bind(host, port).close()
        except OSError:
            continue
        return port
    raise OSError(f"no free port at {host}")
