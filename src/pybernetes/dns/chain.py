"""Who answers: the handlers in order, the first that has something to say wins."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from .foreign import BadReply, addresses
from .forward import Forwarder
from .message import Body, Query, body_of
from .names import Name
from .question import AXFR, IN, IXFR, Answer, Rcode, Record
from .search import Search, alias, onward
from .settings import Hosts
from .table import Entry, Table

Result = Body | Awaitable[Body] | None
"""A reply at once, one that has to be waited for, or "not mine"."""


@dataclass(slots=True)
class Resolver:
    """What handlers work with."""

    table: Table
    forwarder: Forwarder
    search: Search | None = None
    """None: everybody walks the search list alone."""
    hosts: Hosts | None = None
    ready: bool = False
    """The snapshot holds the whole cluster."""
    panics: int = 0


Handler = Callable[[Resolver, Query], Result]


def version(_: Resolver, query: Query) -> Result:
    """EDNS above version 0 is BADVERS (RFC 6891)."""
    return _error(Rcode.BADVERS) if query.edns and query.edns.version else None


def foreign_class(_: Resolver, query: Query) -> Result:
    """Only class IN is served, and no transfers."""
    return _error(Rcode.REFUSED) if query.question.cls != IN or query.question.type in (AXFR, IXFR) else None


def unready(resolver: Resolver, query: Query) -> Result:
    """Until the whole cluster is known, "no such name" would be a guess."""
    if resolver.ready or resolver.table.rules.zone_of(query.question.name) is None:
        return None
    return _error(Rcode.SERVFAIL)


def searched(resolver: Resolver, query: Query) -> Result:
    """The first question of a pod's search list, when its name is not there: where the rest of the list leads."""
    names = resolver.search.names(query) if resolver.search is not None else ()
    if not names:
        return None
    found = resolver.table.find(query)
    if not isinstance(found, Entry) or found.rcode != Rcode.NXDOMAIN:
        return None
    return _walked(resolver, query, iter(names))


def _walked(resolver: Resolver, query: Query, names: Iterator[Name]) -> Result:
    """At once as long as the cluster and the cache know; None when the list leads nowhere, or nobody can tell."""
    for name in names:
        asked = onward(query, name)
        result = resolve(resolver, asked).result
        if not isinstance(result, Body):
            return _walked_on(resolver, query, names, asked, result)
        if result.rcode != Rcode.NXDOMAIN:
            return _aliased(resolver, query, asked, result)
    return None


async def _walked_on(
    resolver: Resolver, query: Query, names: Iterator[Name], asked: Query, result: Awaitable[Body]
) -> Body:
    body = await result
    onto = _walked(resolver, query, names) if body.rcode == Rcode.NXDOMAIN else _aliased(resolver, query, asked, body)
    if onto is None:
        denial = cluster(resolver, query)
        assert denial is not None
        onto = denial
    return onto if isinstance(onto, Body) else await onto


def _aliased(resolver: Resolver, query: Query, asked: Query, body: Body) -> Body | None:
    if body.rcode != Rcode.NOERROR or resolver.search is None:
        return None  # an upstream failed: the plain denial lets the client find that out by itself
    made = alias(query, asked, body, ttl=resolver.table.rules.ttl)
    resolver.search.successes += made is not None
    return made


def cluster(resolver: Resolver, query: Query) -> Result:
    """The cluster's own names and addresses."""
    found = resolver.table.find(query)
    if found is None:
        return None
    if isinstance(found, Answer):
        return _chased(resolver, query, found)
    return resolver.table.body(found)


async def _chased(resolver: Resolver, query: Query, found: Answer) -> Body:
    """An ExternalName whose target is outside: the CNAME with what all others here say to that name, hosts and
    upstreams, or NODATA when they say nothing.
    """
    assert found.chase is not None
    asked = onward(query, found.chase)
    result = resolve(resolver, asked).result
    body = result if isinstance(result, Body) else await result
    records: tuple[Record, ...] = ()
    if body.rcode in (Rcode.NOERROR, Rcode.NXDOMAIN):
        with suppress(BadReply):
            records = (*found.records, *addresses(body, asked))
    table = resolver.table
    return body_of(
        query.question,
        Answer(Rcode.NOERROR, records, zone=found.zone),
        wire_length=len(query.wire),
        ttl=table.rules.ttl,
        serial=table.soa.serial,
    )


def hosts(resolver: Resolver, query: Query) -> Result:
    """Names that somebody wrote down."""
    return resolver.hosts.answer(query, ttl=resolver.table.rules.ttl) if resolver.hosts is not None else None


def cached(resolver: Resolver, query: Query) -> Result:
    """What the upstreams have said before."""
    reply = resolver.forwarder.cached(query)
    return reply.body if reply else None


def forwarded(resolver: Resolver, query: Query) -> Result:
    """What the upstreams say."""
    return _asked(resolver, query) if resolver.forwarder.upstreams_of(query.question.name) else None


async def _asked(resolver: Resolver, query: Query) -> Body:
    return (await resolver.forwarder.ask(query)).body


def refused(_: Resolver, __: Query) -> Result:
    """Nobody to ask."""
    return _error(Rcode.REFUSED)


class Resolved(NamedTuple):
    """A reply, at once or to be waited for, and whose it is in CoreDNS' words; "" is nobody's in particular."""

    plugin: str
    result: Body | Awaitable[Body]


HANDLERS: tuple[tuple[str, Handler], ...] = (
    ("", version),
    ("", foreign_class),
    ("kubernetes", unready),
    ("autopath", searched),
    ("kubernetes", cluster),
    ("hosts", hosts),
    ("cache", cached),
    ("forward", forwarded),
    ("", refused),
)
PLUGINS = tuple(dict.fromkeys(name for name, _ in HANDLERS if name))


def resolve(resolver: Resolver, query: Query) -> Resolved:
    """The reply of the first handler that has one."""
    for plugin, handler in HANDLERS:
        result = handler(resolver, query)
        if result is not None:
            return Resolved(plugin, result)
    return Resolved("", _error(Rcode.REFUSED))


def _error(rcode: Rcode) -> Body:
    return Body(rcode, flags=0)
