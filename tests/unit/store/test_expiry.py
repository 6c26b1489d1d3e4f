import asyncio
from collections.abc import Sequence

import pytest

from pybernetes.store.expiry import Expiry


@pytest.mark.looptime
async def test_keys_expire_in_order_of_their_time() -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    seen: list[tuple[int, str]] = []

    def expire(due: Sequence[tuple[str, int]]) -> None:
        seen.extend((round(loop.time() - begin), key) for key, _ in due)

    expiry = Expiry(expire)
    for key, seconds in (("/c", 30.0), ("/a", 10.0), ("/b", 20.0), ("/past", -5.0)):
        expiry.add(key, 2, seconds=seconds)
    await asyncio.sleep(25)
    assert seen == [(0, "/past"), (10, "/a"), (20, "/b")]
    expiry.close()
    await asyncio.sleep(100)
    assert len(seen) == 3


@pytest.mark.looptime
async def test_a_flood_comes_in_portions() -> None:
    portions: list[int] = []
    expiry = Expiry(lambda due: portions.append(len(due)))
    for number in range(1200):
        expiry.add(f"/{number}", 2, seconds=1)
    await asyncio.sleep(2)
    assert portions == [500, 500, 200]
    expiry.close()
