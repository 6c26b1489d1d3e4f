import random

from pybernetes.aio.backoff import Backoff


def test_waits_grow_to_a_limit() -> None:
    backoff = Backoff(first=1, limit=10, jitter=0)
    assert [backoff.next() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    backoff.reset()
    assert backoff.next() == 1


def test_jitter_only_shortens() -> None:
    backoff = Backoff(first=1, limit=1, jitter=0.5, rng=random.Random(1))
    waits = [backoff.next() for _ in range(100)]
    assert all(0.5 <= wait <= 1 for wait in waits)
    assert len(set(waits)) > 90


def test_it_never_overflows() -> None:
    backoff = Backoff(jitter=0)
    assert [backoff.next() for _ in range(5000)][-1] == backoff.limit
