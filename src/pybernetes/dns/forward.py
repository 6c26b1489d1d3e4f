"""Questions about the rest of the world: asked of the upstreams in turn, once for all who ask the same at once."""

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path

from .address import Address, address_of, nameservers, searches
from .cache import AnswerCache, CacheKey, key_of
from .config import DnsConfig
from .foreign import BadReply, Reply
from .message import Body, Query
from .names import Name, name_of, packed
from .question import Rcode
from .stream import tls_context
from .upstream import Upstream

log = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0
"""How often resolv.conf is looked at for a change."""
_CHECK_SECONDS = 1.0
"""How long a health check waits for a reply."""
_RESOLVED = Path("/run/systemd/resolve/resolv.conf")
FAILED = Reply(Body(Rcode.SERVFAIL, flags=0), (), truncated=False, lasting=0)


class Forwarder:
    """The upstreams and the cache before them. `run` watches resolv.conf; all else works without it."""

    def __init__(self, config: DnsConfig, *, clock: Callable[[], float]) -> None:
        self.config = config
        self.clock = clock
        self.cache = AnswerCache(
            entries=config.cache_entries,
            seconds=config.cache_seconds,
            denial_seconds=config.cache_denial_seconds,
            least_seconds=config.cache_least_seconds,
            stale_seconds=config.stale_seconds,
        )
        self.upstreams: list[Upstream] = []
        self.searches: tuple[str, ...] = ()
        """The search domains of the node's resolv.conf, which the kubelet gives to pods too."""
        self.rejected = 0
        self.prefetches = 0
        self.failures = 0
        self.all_down = 0
        """Questions for which no upstream was up."""
        self.stubs: dict[Name, list[Upstream]] = {}
        """Upstreams by the domain that they are asked for."""
        self._ours = {Address(host, config.port) for host in config.listen}
        self._seen = ""
        self._turn = 0
        self._tls: ssl.SSLContext | None = None
        self._failing = asyncio.Event()
        """Somebody has failed, and is to be asked whether it is back."""
        self._under_way: dict[CacheKey, asyncio.Task[Reply]] = {}
        self._ask_as_configured()

    def configure(self, config: DnsConfig) -> None:
        """Another configuration, at once; what other upstreams said is forgotten."""
        was, self.config = self.config, config
        cache = self.cache
        cache.seconds, cache.denial_seconds = config.cache_seconds, config.cache_denial_seconds
        cache.stale_seconds = config.stale_seconds
        others = (was.upstreams, was.stub_domains) != (config.upstreams, config.stub_domains)
        otherwise = _manner(was) != _manner(config)
        if otherwise:
            self._forget()
        if others or otherwise:
            cache.clear()
            self._ask_as_configured()

    def _forget(self) -> None:
        """All upstreams are made anew; the connections of the old ones end when nobody uses them."""
        self.upstreams, self.stubs, self._tls = [], {}, None

    def _ask_as_configured(self) -> None:
        stubs = self.config.stub_domains.items()
        self.stubs = {name_of(domain): self._made(map(address_of, texts)) for domain, texts in stubs}
        if self.config.upstreams is not None:
            self.use([address_of(text) for text in self.config.upstreams])
        self._seen = ""
        self.look()

    def use(self, addresses: Iterable[Address]) -> None:
        """Ask these from now on, never ourselves. What is known of those that stay is kept."""
        self.upstreams = self._made(addresses)

    def _made(self, addresses: Iterable[Address]) -> list[Upstream]:
        known = {upstream.address: upstream for upstream in self.all}
        wanted = dict.fromkeys(address for address in addresses if not self._is_ours(address))
        return [known.get(address) or self._make(address) for address in wanted]

    def _make(self, address: Address) -> Upstream:
        config = self.config
        if address.transport == "tls" and self._tls is None:
            self._tls = tls_context(config.tls_ca)
        tls = self._tls if address.transport == "tls" else None
        return Upstream(address, max_fails=config.max_fails, size=config.udp_size, mixes=config.mixed_case, tls=tls)

    @property
    def all(self) -> list[Upstream]:
        """Every upstream once, those of stub domains too."""
        return list(dict.fromkeys([*self.upstreams, *(one for many in self.stubs.values() for one in many)]))

    def upstreams_of(self, name: Name) -> list[Upstream]:
        """Who is asked about a name: the upstreams of its longest stub domain, else the common ones."""
        if self.stubs:
            for cut in range(len(name)):
                if (found := self.stubs.get(name[cut:])) is not None:
                    return found
        return self.upstreams

    def look(self) -> None:
        """Read the node's resolv.conf, if it has changed."""
        text = _text(Path(self.config.resolv_conf))
        self.searches = searches(text)
        if self.config.upstreams is not None:
            return
        found = nameservers(text)
        if found and all(address.host == "127.0.0.53" for address in found):
            # the stub of systemd-resolved: its own upstreams are one file further, and cannot loop back to us
            found = nameservers(_text(_RESOLVED)) or found
        seen = " ".join(map(str, found))
        if seen != self._seen:
            log.info("upstreams found path=%s upstreams=%s", self.config.resolv_conf, seen)
            self._seen = seen
            self.use(found)

    async def run(self) -> None:
        """Until cancelled; then the questions under way are given up and the connections closed."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(), name="dns-resolv-conf")
                group.create_task(self._check(), name="dns-upstream-health")
        finally:
            tasks = list(self._under_way.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for upstream in self.all:
                upstream.close()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.look()

    async def _check(self) -> None:
        """Ask those that have failed, again and again until each is back, so that no client has to find out."""
        while True:
            await self._failing.wait()
            await asyncio.sleep(self.config.health_seconds)
            failing = [upstream for upstream in self.all if upstream.fails]
            await asyncio.gather(*map(self._checked, failing))
            if not failing:
                self._failing.clear()

    async def _checked(self, upstream: Upstream) -> None:
        try:
            await upstream.check(seconds=_CHECK_SECONDS)
        except (OSError, TimeoutError, BadReply) as error:
            upstream.failed_checks += 1
            self._failed(upstream, error)
        else:
            log.debug("upstream is back upstream=%s", upstream.address)
            upstream.succeeded()

    def _failed(self, upstream: Upstream, error: Exception) -> None:
        upstream.failed(now=self.clock())
        if upstream.fails == upstream.max_fails:
            log.warning("upstream is down upstream=%s error=%r", upstream.address, error)
        self._failing.set()

    def cached(self, query: Query) -> Reply | None:
        """What the upstreams have said before and still holds; what is asked for often is asked anew in time."""
        now = self.clock()
        reply = self.cache.get(query, now=now)
        if (
            reply is not None
            and self.upstreams_of(query.question.name)
            and key_of(query) not in self._under_way
            and self.cache.due(query, now=now)
            and self._start(query) is not None
        ):
            self.prefetches += 1
        return reply

    async def ask(self, query: Query) -> Reply:
        """The upstreams' reply, which is then kept; when none gives a good one in time, what held before, or SERVFAIL.

        Whoever may get an old answer waits only so long; the question goes on, for those who ask next.
        """
        task = self._start(query)
        if task is None:
            return self.cache.stale(query, now=self.clock()) or FAILED
        if self.cache.keeps(query):
            await asyncio.wait([task], timeout=self.config.stale_wait_seconds)
            if not task.done() and (stale := self.cache.stale(query, now=self.clock())) is not None:
                return stale
        reply = await asyncio.shield(task)
        if reply.body.rcode in (Rcode.SERVFAIL, Rcode.REFUSED):
            return self.cache.stale(query, now=self.clock()) or reply
        return reply

    def _start(self, query: Query) -> "asyncio.Task[Reply] | None":
        """The question under way, made when there is none; None when there are too many."""
        key = key_of(query)
        task = self._under_way.get(key)
        if task is None:
            if len(self._under_way) >= self.config.forward_concurrent:
                self.rejected += 1
                return None
            task = asyncio.get_running_loop().create_task(self._ask(query), name="dns-forward")
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return task

    async def _ask(self, query: Query) -> Reply:
        try:
            async with asyncio.timeout(self.config.forward_timeout_seconds):
                reply = await self._first(query)
        except TimeoutError:
            reply = FAILED
        if reply is FAILED:
            self.failures += 1
        else:
            self.cache.put(query, reply, now=self.clock())
        return reply

    async def _first(self, query: Query) -> Reply:
        """The first good reply of the upstreams that are up, each asked once, in turn."""
        last = FAILED
        for upstream in self._candidates(query.question.name):
            try:
                reply = await upstream.ask(query, seconds=self.config.forward_try_seconds)
            except (OSError, TimeoutError, BadReply) as error:
                self._failed(upstream, error)
                continue
            upstream.succeeded()
            if reply.body.rcode not in (Rcode.SERVFAIL, Rcode.REFUSED):
                return reply
            last = reply
        return last

    def _candidates(self, name: Name) -> list[Upstream]:
        """Those that are up. When all are down, perhaps only the health check is: then one question a second tries."""
        ordered = self._order(self.upstreams_of(name))
        up = [upstream for upstream in ordered if not upstream.down]
        if up or not ordered:
            return up
        self.all_down += 1
        now = self.clock()
        return [upstream for upstream in ordered if upstream.may_try(now=now)]

    def _order(self, upstreams: list[Upstream]) -> list[Upstream]:
        """By the policy."""
        self._turn += 1
        start = 0
        if self.config.policy == "round_robin" and upstreams:
            start = self._turn % len(upstreams)
        turned = upstreams[start:] + upstreams[:start]
        if self.config.policy == "random":
            random.shuffle(turned)
        return turned

    def _is_ours(self, address: Address) -> bool:
        return any(packed(address.host) == packed(ours.host) and address.port == ours.port for ours in self._ours)


def _manner(config: DnsConfig) -> tuple[object, ...]:
    """How upstreams are asked."""
    return config.mixed_case, config.max_fails, config.tls_ca, config.udp_size


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
