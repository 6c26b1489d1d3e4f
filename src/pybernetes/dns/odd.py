"""Packets that the plain reader leaves alone, read by dnspython: compressed questions, TSIG, padding, nonsense.

dnspython is loaded when the first such packet comes, which in most clusters is never.
"""

from .message import HEADER, Edns, Query
from .question import Question, Rcode


class Wrong(Exception):
    """The packet gets an error and no answer."""

    def __init__(self, rcode: Rcode) -> None:
        super().__init__(rcode.name)
        self.rcode = rcode


def reread(data: bytes, *, udp: bool) -> Query:
    """The query in an odd packet; raises Wrong with the error that is due."""
    if len(data) < 12:
        raise Wrong(Rcode.FORMERR)
    _, flags, questions, *_ = HEADER.unpack_from(data)
    if flags & 0x7800:
        raise Wrong(Rcode.NOTIMP)
    if questions != 1:
        raise Wrong(Rcode.FORMERR if questions else Rcode.SERVFAIL)
    return _parsed(data, flags, udp=udp)


def _parsed(data: bytes, flags: int, *, udp: bool) -> Query:
    import dns.exception
    import dns.flags
    import dns.message

    try:
        message = dns.message.from_wire(data, keyring=False, ignore_trailing=True)
        asked = message.question[0]
        # the name is unpacked here: what comes back points nowhere
        wire = asked.name.to_wire()
    except (dns.exception.DNSException, ValueError, IndexError) as error:
        raise Wrong(Rcode.FORMERR) from error
    assert wire is not None
    kind, cls = int(asked.rdtype), int(asked.rdclass)
    name = tuple(label.lower().decode("latin-1") for label in asked.name.labels[:-1])
    edns = None
    if message.edns >= 0:
        edns = Edns(message.payload, message.edns, bool(message.ednsflags & dns.flags.DO))
    section = wire + kind.to_bytes(2) + cls.to_bytes(2)
    return Query(data[:2], flags, section, Question(name, kind, cls), edns, udp)
