"""Search lists walked on the server: a pod's first question is answered with what its whole search list leads to.

A pod asks for `www.example.com` as `www.example.com.NS.svc.Z` first, then for the rest of its list, then as it is: four
questions, each for two families. Whose list it is tells the asker's address, so the server walks it at once and answers
the first question with a CNAME to the name that was found (CoreDNS: autopath). The answer is what the pod would have
found by itself; where it is not certain (an upstream that fails, an address that is not known, a type that is no
address) the plain "no such name" lets the pod walk on, so a stale address costs questions and never an answer.
"""

from collections.abc import Callable, Sequence

from .foreign import BadReply, addresses, start_of_authority
from .message import AA, Body, Encoder, Query
from .names import Name, name_of, wire_of
from .question import AAAA, CNAME, IN, A, Question, Rcode, Record
from .snapshot import Snapshot

TYPES = frozenset({A, AAAA})
"""What getaddrinfo asks for; whoever looks for another type walks the list alone."""
_NAME_LIMIT = 255


class Search:
    """Knows the search list of each client. `host` says the node's own search domains, which pods have after ours."""

    def __init__(self, snapshot: Snapshot, *, domain: Name, host: Callable[[], Sequence[str]]) -> None:
        self.snapshot = snapshot
        self.domain = domain
        self.host = host
        self.successes = 0
        """First questions that were answered in place of the whole list."""

    def names(self, query: Query) -> list[Name]:
        """What the client would ask for next, in order; none unless this is the first question of its list."""
        pod = self.snapshot.clients.get(query.client)
        name, kind, cls = query.question
        if pod is None or pod.searches is None or kind not in TYPES or cls != IN or (query.edns and query.edns.dnssec):
            return []
        first = (pod.key.namespace, "svc", *self.domain)
        base = name[: len(name) - len(first)]
        if not base or name[len(base) :] != first:
            return []
        more = [name_of(text) for text in (*self.host(), *pod.searches)]
        domains = dict.fromkeys([first, first[1:], self.domain, *more, ()])
        del domains[first]
        return [found for domain in domains if _fits(found := (*base, *domain))]


def _fits(name: Name) -> bool:
    return sum(len(label) + 1 for label in name) < _NAME_LIMIT


def onward(query: Query, name: Name) -> Query:
    """The same question about another name."""
    _, kind, cls = query.question
    wire = wire_of(name) + kind.to_bytes(2) + cls.to_bytes(2)
    return query._replace(wire=wire, question=Question(name, kind, cls), client="")


def alias(query: Query, asked: Query, body: Body, *, ttl: int) -> Body | None:
    """The answer to `asked` as one to `query`, behind a CNAME; None when its records make no sense.

    The CNAME holds only while the first name does not exist, so it lives no longer than a denial of ours (`ttl`).
    """
    try:
        records = addresses(body, asked)
        authority = None if any(one.type in TYPES for one in records) else start_of_authority(body, asked)
    except BadReply:
        return None
    target = asked.question.name
    lasting = min([ttl, *(one.ttl for one in records)])
    encoder = Encoder(query.question.name, len(query.wire))
    encoder.add(Record(None, CNAME, lasting, target))
    for record in records:
        encoder.add(record)
    if authority is not None:
        encoder.add(authority)
    counts = (1 + len(records), int(authority is not None), 0)
    return encoder.body(Rcode.NOERROR, counts, flags=body.flags & AA)
