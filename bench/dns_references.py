"""Other name servers over the names of a zone file, on one CPU: what bench/dns.py measures beside ours.

    python -P bench/dns_references.py ZONE_FILE ORIGIN PORT     the plain dnspython server

(-P, because the directory has a dns.py, which is not dnspython.)
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def nsd(zone: Path, origin: str, port: int) -> list[str]:
    """One server process, without a rate limit (Debian's default turns dnsperf away)."""
    conf = zone.with_suffix(".nsd")
    conf.write_text(f"""server:
  ip-address: 127.0.0.1@{port}
  server-count: 1
  username: ""
  chroot: ""
  pidfile: ""
  zonesdir: "{zone.parent}"
  xfrdfile: ""
  zonelistfile: "{conf}.list"
  xfrdir: "{zone.parent}"
  database: ""
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: "{origin}"
  zonefile: "{zone}"
""")
    return ["nsd", "-d", "-c", str(conf)]


def unbound(zone: Path, origin: str, port: int) -> list[str]:
    """One thread, a static zone."""
    conf = zone.with_suffix(".unbound")
    lines = [
        "server:", f"  port: {port}", "  interface: 127.0.0.1", "  num-threads: 1", '  chroot: ""', '  username: ""',
        f'  directory: "{zone.parent}"', '  pidfile: ""', "  do-ip6: no", f'  local-zone: "{origin}." static',
    ]  # fmt: skip
    records = [line for line in zone.read_text().splitlines() if " IN A " in line or " IN SRV " in line]
    lines += [f'  local-data: "{record}"' for record in records]
    conf.write_text("\n".join([*lines, "remote-control:", "  control-enable: no", ""]))
    return ["unbound", "-d", "-c", str(conf)]


def dnspython(zone: Path, origin: str, port: int) -> list[str]:
    """The server that one writes in an afternoon."""
    return [sys.executable, "-P", __file__, str(zone), origin, str(port)]


class Reference:
    """A server process, answering when the constructor returns."""

    def __init__(self, argv: list[str], *, cpu: int, answers: Callable[[], bool]) -> None:
        self.process = subprocess.Popen(["taskset", "-c", str(cpu), *argv], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise SystemExit(f"{argv[0]} does not answer")
            time.sleep(0.1)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def serve(zone_file: str, origin: str, port: int) -> None:
    """Blocking, a message object for each question and reply."""
    import dns.flags
    import dns.message
    import dns.rcode
    import dns.zone

    # (to mypy, which has one path for all of bench/, `dns` is dns.py)
    zone = dns.zone.from_file(  # type: ignore[attr-defined]
        zone_file, f"{origin}.", relativize=False
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
        while True:
            data, peer = sock.recvfrom(4096)
            query = dns.message.from_wire(data)
            asked = query.question[0]
            response = dns.message.make_response(query)
            response.flags |= dns.flags.AA
            node = zone.get_node(asked.name)
            if found := zone.get_rrset(asked.name, asked.rdtype) if node else None:
                response.answer.append(found)
            else:
                response.set_rcode(dns.rcode.NOERROR if node else dns.rcode.NXDOMAIN)
                response.authority.append(zone.get_rrset(zone.origin, "SOA"))
            sock.sendto(response.to_wire(), peer)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(f"usage: python -P {os.path.basename(__file__)} ZONE_FILE ORIGIN PORT")
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
