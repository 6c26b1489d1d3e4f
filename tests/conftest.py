"""What holds for all tests."""

import asyncio

from hypothesis import HealthCheck, settings

# pytest-asyncio asks for "the current loop" before its first async test; when a sync test ran before it, that makes
# a loop that nobody closes, and a run with warnings as errors ends in red. With a loop set (to none) it makes none.
asyncio.set_event_loop(None)

# What hypothesis tries is settled by the test alone, and no machine is too slow for it: a run tells what changed in
# the code. `--hypothesis-profile=explore` looks for what is new, with other examples each time.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("settled", settings.get_profile("explore"), derandomize=True)
settings.load_profile("settled")
