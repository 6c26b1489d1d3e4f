"""PodCertificateRequests are deleted when they are a quarter of an hour old, whatever became of them.

Source: pkg/controller/certificates/cleaner/pcrcleaner.go. What they brought is on the node by then.
"""

from pybernetes.api import times
from pybernetes.api.errors import Conflict, NotFound
from pybernetes.api.objects import Key, is_deleting, uid_of
from pybernetes.api.resources import POD_CERTIFICATE_REQUESTS
from pybernetes.client import Delta
from pybernetes.control import Again, Controller

from .shared import Shared

KEPT_SECONDS = 15 * 60.0


class PodCertificateRequestCleaner:
    """Keys are those of the requests."""

    def __init__(self, shared: Shared) -> None:
        self.client, self.now = shared.client, shared.now
        self.requests = shared.informers.of(POD_CERTIFICATE_REQUESTS)
        self.controller = Controller(
            "podcertificaterequestcleaner", self.reconcile, workers=1, informers=(self.requests,)
        )
        self.requests.subscribe(self._changed)

    async def run(self) -> None:
        await self.controller.run()

    def _changed(self, delta: Delta) -> None:
        self.controller.queue.add(delta.key)

    async def reconcile(self, key: Key) -> Again | None:
        request = self.requests.cache.get(key)
        if request is None or is_deleting(request):
            return None
        left = times.parse(request["metadata"]["creationTimestamp"]) + KEPT_SECONDS - self.now()
        if left > 0:
            return Again(left)
        try:
            await self.client.delete(POD_CERTIFICATE_REQUESTS, key, uid=uid_of(request))
        except (Conflict, NotFound):
            return None  # somebody was first
        return None
