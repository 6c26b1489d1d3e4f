"""NamespaceLifecycle: nothing is created in a namespace that is not there or is going; three are never deleted."""

from pybernetes.api import resources
from pybernetes.api.errors import NotFound
from pybernetes.api.objects import is_deleting

from .call import Call

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})


def namespace_lifecycle(call: Call) -> None:
    if call.new is None:
        if call.row is resources.NAMESPACES and call.name in IMMORTAL:
            raise call.forbidden("this namespace may not be deleted")
        return
    if not call.creates or not call.row.namespaced:
        return
    namespace = call.registry.read(resources.NAMESPACES, "", call.namespace)
    if namespace is None:
        raise NotFound.of("namespaces", call.namespace)
    if is_deleting(namespace):
        error = call.forbidden(
            f"unable to create new content in namespace {call.namespace} because it is being terminated"
        )
        error.details["causes"] = [
            {
                "reason": "NamespaceTerminating",
                "message": f"namespace {call.namespace} is being terminated",
                "field": "metadata.namespace",
            }
        ]
        raise error
