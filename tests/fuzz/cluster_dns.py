"""Coverage-guided fuzzing of the cluster DNS: `tools/fuzz` runs it with atheris, which is not among the dependencies.

    python tests/fuzz/cluster_dns.py packets|replies [libFuzzer's options] CORPUS

packets  what anybody may send: no panic, nothing longer than may be, and the table's answer is that of the rules
replies  what may come from an upstream, after a good one: no error but BadReply, and what is made of it can be read
"""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

with atheris.instrument_imports(include=["pybernetes.dns"]):
    import dns.message
    from tests.unit.dns.test_bad_input import CORPUS, comparable, drained, offline

    from pybernetes.dns.foreign import BadReply, addresses, aged, read_reply, recased, start_of_authority
    from pybernetes.dns.message import read, reply
    from pybernetes.dns.upstream import mixed

QUERY = read(dns.message.make_query("www.example.com", "A", use_edns=0).to_wire())
ASKED = QUERY._replace(wire=mixed(QUERY.wire, 0x5555555555))


def packets() -> Callable[[bytes], None]:
    server = offline()

    def run(data: bytes) -> None:
        data = data[:4096]
        slow = server.server.responder.respond(data, udp=True, client="127.0.0.1")
        assert isinstance(slow, bytes)
        fast = drained(server, data, data)
        assert len(fast) == (2 if slow else 0)
        for each in fast:
            assert comparable(each) == comparable(slow)
            assert len(each) <= 1232

    return run


def replies() -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        """The header and the question are right; all that follows is the upstream's."""
        packet = b"\1\2" + data[:10].ljust(10, b"\0") + ASKED.wire + data[10:]
        try:
            found = read_reply(packet, ASKED, id=b"\1\2")
        except BadReply:
            return
        passed = recased(found, asked=ASKED.wire, wanted=QUERY.wire)
        for body in (passed.body, aged(passed, 30).body):
            sent = reply(QUERY, body, size=1232)
            assert len(sent) <= 1232
            assert sent[12 : 12 + len(QUERY.wire)] == QUERY.wire
        with contextlib.suppress(BadReply):
            addresses(passed.body, QUERY)
        with contextlib.suppress(BadReply):
            start_of_authority(passed.body, QUERY)

    return run


def seeds(target: str) -> list[bytes]:
    if target == "packets":
        return CORPUS
    found = []
    for lines in (["A 192.0.2.1"], ["A 192.0.2.1", "AAAA 2001:db8::1"], ["CNAME a.example.com."], ["TXT x", "MX 1 a."]):
        response = dns.message.make_response(dns.message.make_query("www.example.com", "A", use_edns=0))
        for line in lines:
            kind, _, data = line.partition(" ")
            response.answer.append(dns.rrset.from_text("www.example.com.", 60, "IN", kind, data))
        response.authority.append(dns.rrset.from_text("example.com.", 60, "IN", "SOA", "ns. me. 1 2 3 4 60"))
        wire = response.to_wire()
        found.append(wire[2:12] + wire[12 + len(QUERY.wire) :])
    return found


def main() -> None:
    target, corpus = sys.argv.pop(1), Path(sys.argv[-1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup(sys.argv, {"packets": packets, "replies": replies}[target]())
    atheris.Fuzz()


if __name__ == "__main__":
    main()
