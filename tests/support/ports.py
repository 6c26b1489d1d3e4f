"""Free ports for servers that a test starts."""

from pybernetes.dns.sockets import bind


def free_port(host: str = "127.0.0.1") -> int:
    """One that nobody has at this address now, neither over TCP nor over UDP."""
    pair = bind(host, 0)
    try:
        return int(pair.udp.getsockname()[1])
    finally:
        pair.close()
