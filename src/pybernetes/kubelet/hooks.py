"""postStart and preStop of containers (API reference: Lifecycle)."""

import asyncio
from collections.abc import Callable

from pybernetes.api.objects import Obj

from .probes import Prober, Target

LEAST_GRACE_SECONDS = 2.0
"""What SIGTERM gets at least, however long preStop took (the kubelet's minimumGracePeriodInSeconds)."""


class Hooks:
    """Those of one pod's containers. `warn(reason, message, container)` tells of one that failed."""

    def __init__(self, prober: Prober, warn: Callable[[str, str, Obj], None]) -> None:
        self._prober = prober
        self._warn = warn

    async def post_start(self, hook: Obj, target: Target) -> bool:
        """Whether it went well; the container is to be ended if not."""
        outcome = await self._prober.handle(hook, target)
        if not outcome.ok:
            self._warn("FailedPostStartHook", f"PostStartHook failed: {outcome.message}", target.spec)
        return outcome.ok

    async def pre_stop(self, hook: Obj, target: Target, *, grace_seconds: float) -> float:
        """Returns the seconds that are left of the grace."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(grace_seconds):
                if (pause := hook.get("sleep")) is not None:
                    await asyncio.sleep(float(pause["seconds"]))
                else:
                    outcome = await self._prober.handle(hook, target)
                    if not outcome.ok:
                        self._warn("FailedPreStopHook", f"PreStopHook failed: {outcome.message}", target.spec)
        except TimeoutError:
            self._warn("FailedPreStopHook", "PreStopHook did not end within the grace period", target.spec)
        return max(grace_seconds - (clock() - began), LEAST_GRACE_SECONDS)
