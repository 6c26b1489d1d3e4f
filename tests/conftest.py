"""What holds for all tests."""

import asyncio

# pytest-asyncio asks for "the current loop" before its first async test; when a sync test ran before it, that makes
# a loop that nobody closes, and a run with warnings as errors ends in red. With a loop set (to none) it makes none.
asyncio.set_event_loop(None)
