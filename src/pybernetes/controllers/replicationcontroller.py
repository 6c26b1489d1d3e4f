"""ReplicationController: what a ReplicaSet is, with a plain map for a selector.

As in Kubernetes (pkg/controller/replication) an adapter of the ReplicaSet's controller, and nothing more.
"""

from collections.abc import Iterable

from pybernetes.api import selectors
from pybernetes.api.objects import Obj
from pybernetes.api.resources import REPLICATION_CONTROLLERS
from pybernetes.api.selectors import NOTHING, Selector

from .replicaset import ReplicaSetController
from .shared import Shared


class ReplicationControllerController(ReplicaSetController):
    def __init__(self, shared: Shared) -> None:
        super().__init__(shared, REPLICATION_CONTROLLERS, name="replicationmanager", component="replication-controller")

    def selector(self, owner: Obj) -> Selector:
        """None is taken for no pods at all, as an object of the older days may have none."""
        wanted = owner["spec"].get("selector")
        return selectors.exact(wanted) if wanted else NOTHING

    def status(self, owner: Obj, pods: Iterable[Obj], *, failure: str, failure_reason: str) -> Obj:
        """Without the count of terminating pods, which this kind does not tell."""
        status = super().status(owner, pods, failure=failure, failure_reason=failure_reason)
        return {field: value for field, value in status.items() if field != "terminatingReplicas"}
