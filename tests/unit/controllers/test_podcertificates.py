"""Old PodCertificateRequests go."""

import asyncio

from pybernetes.api import times
from pybernetes.api.objects import name_of
from pybernetes.api.resources import POD_CERTIFICATE_REQUESTS
from pybernetes.controllers.podcertificates import KEPT_SECONDS, PodCertificateRequestCleaner
from support.control_plane import Stage

NOW = 1_800_000_000.0


async def test_requests_are_deleted_after_a_quarter_of_an_hour() -> None:
    stage = Stage()
    stage.shared.now = lambda: NOW
    cleaner = PodCertificateRequestCleaner(stage.shared)
    for name, age in (("old", KEPT_SECONDS + 1), ("young", KEPT_SECONDS - 60)):
        meta = {"name": name, "namespace": "default", "creationTimestamp": times.stamp(NOW - age)}
        stage.api.put(POD_CERTIFICATE_REQUESTS, {"metadata": meta, "spec": {}})
    async with stage.running(cleaner) as api:
        await api.until(lambda: [name_of(one) for one in api.of(POD_CERTIFICATE_REQUESTS)] == ["young"])
        await asyncio.sleep(0)
        stage.shared.now = lambda: NOW
        cleaner.now = lambda: NOW + 120
        cleaner.controller.queue.add(next(iter(cleaner.requests.cache)))
        await api.until(lambda: not api.of(POD_CERTIFICATE_REQUESTS))
