"""The golden table of cluster DNS asked by dig and by busybox' nslookup, as people ask it to see what is wrong."""

import shutil
from collections.abc import Iterator

import pytest
import yaml

from support import kernel
from support.dns_golden import GOLDEN, Case, seen_by_dig
from support.dns_node import ADDRESSES, SIX, Node, node

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(kernel.missing()), reason=f"needs {kernel.missing()}")]
TRANSFERS = [case for case in GOLDEN if case.type == "AXFR"]
QUESTIONS = [case for case in GOLDEN if case.type != "AXFR"]
LINES = {"PTR": "\tname = ", "SRV": "service = ", "CNAME": "canonical name = ", "NS": "nameserver = ", "TXT": "text = "}
"""What busybox calls the data of a type."""


@pytest.fixture(scope="module")
def servers() -> Iterator[Node]:
    with node() as found:
        yield found


def dig_line(case: Case, server: str) -> str:
    """The arguments of one question in a file of them; dig reads fourteen of a line."""
    length = "+noedns" if case.plain else f"+edns={case.edns} +noednsnegotiation +bufsize={case.bufsize}"
    how = ("+tcp" if case.tcp else "+notcp") + (" +ignore" if case.tc else " +noignore")
    question = f"-q {case.name} -t {case.type} -c {case.cls}"
    return f"@{server} {question} {how} {length}"


@pytest.mark.skipif(not shutil.which("dig"), reason="needs dig (bind9-dnsutils)")
@pytest.mark.parametrize("default", [ADDRESSES["default"], SIX])
def test_dig(servers: Node, default: str) -> None:
    where = {**ADDRESSES, "default": default}
    lines = "\n".join(dig_line(case, where[case.server]) for case in QUESTIONS) + "\n"
    # "/dev/stdin", for dig takes "-" for nothing
    replies = yaml.safe_load(servers.run(["dig", "+yaml", "+tries=1", "+timeout=30", "-f", "/dev/stdin"], text=lines))
    assert len(replies) == len(QUESTIONS)
    wrong = {}
    for case, seen in zip(QUESTIONS, map(seen_by_dig, replies), strict=True):
        if found := list(case.at(ADDRESSES[case.server]).differences(seen)):
            wrong[str(case)] = found
    assert not wrong, "\n".join(f"{case}: {found}" for case, found in wrong.items())


@pytest.mark.skipif(not shutil.which("dig"), reason="needs dig (bind9-dnsutils)")
def test_dig_is_refused_a_transfer(servers: Node) -> None:
    for case in TRANSFERS:
        out = servers.run(["dig", f"@{ADDRESSES[case.server]}", "-t", "AXFR", case.name])
        assert "; Transfer failed." in out


def nslookup(servers: Node, case: Case) -> tuple[str, list[str]]:
    """The response code and the data that busybox' nslookup prints, in the table's words."""
    name = case.name.rstrip(".") + "."
    argv = ["busybox", "nslookup", f"-type={case.type.lower()}", name, ADDRESSES[case.server]]
    out = servers.run(argv, check=False).split("\n\n", 1)[1]
    found = []
    rcode = "NOERROR"
    for line in out.splitlines():
        if line.startswith("** server can't find "):
            rcode = line.rpartition(" ")[2]
        elif line.startswith("Address: "):
            address = line.removeprefix("Address: ")
            found.append(f"{'AAAA' if ':' in address else 'A'} {address}")
        for kind, mark in LINES.items():
            if mark in line:
                data = line.partition(mark)[2]
                found.append(f"{kind} {data}" + ("" if kind == "TXT" else "."))
    return rcode, sorted(found)


@pytest.mark.skipif(not shutil.which("busybox"), reason="needs busybox")
def test_busybox(servers: Node) -> None:
    """Every plain question of a type that it prints; the long answer comes cut, for it does not ask over TCP."""
    cases = [case for case in QUESTIONS if case.usual and case.type in ("A", "AAAA", *LINES) and not case.count]
    assert len(cases) > 100
    wrong = {}
    for case in cases:
        wanted = (case.rcode, sorted(case.at(ADDRESSES[case.server]).answer))
        if (seen := nslookup(servers, case)) != wanted:
            wrong[str(case)] = (seen, wanted)
    assert not wrong, "\n".join(f"{case}: {found}" for case, found in wrong.items())
