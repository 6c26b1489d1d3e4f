"""Roles and bindings are written by those who hold what they grant, or who may `escalate` or `bind`.

Source: pkg/registry/rbac/*/policybased. In Kubernetes this stands between admission and the store; here it is the
last look at what is written, aggregation labels included.
"""

from pybernetes.api import resources
from pybernetes.api.errors import NotFound
from pybernetes.api.objects import Obj

from ..auth.attributes import Attributes
from ..auth.escalation import EVERYTHING, lacking, refusal
from ..users import MASTERS
from .call import Call

_GROUP = "rbac.authorization.k8s.io"
_ROLES = (resources.ROLES, resources.CLUSTER_ROLES)
_BINDINGS = (resources.ROLE_BINDINGS, resources.CLUSTER_ROLE_BINDINGS)
_OF_COLLECTOR = ("ownerReferences", "finalizers", "managedFields", "resourceVersion")


def no_escalation(call: Call) -> None:
    """Raises Forbidden with the missing rules, NotFound for a role that is not there to be compared."""
    if call.row.group != _GROUP or call.new is None or MASTERS in call.user.groups or _only_collected(call):
        return
    if call.row in _ROLES:
        _role(call, call.new)
    elif call.row in _BINDINGS:
        _binding(call, call.new)


def _role(call: Call, role: Obj) -> None:
    asked = Attributes("escalate", _GROUP, call.row.plural, call.namespace, call.name)
    if call.registry.authorizer.allows(call.user, asked):
        return
    held = call.registry.authorizer.rbac.rules(call.user, call.namespace)
    if missing := lacking(held, role.get("rules") or ()):
        raise call.forbidden(refusal(call.user, missing))
    if (role.get("aggregationRule") or (call.old or {}).get("aggregationRule")) and lacking(held, EVERYTHING):
        raise call.forbidden("must have cluster-admin privileges to use the aggregationRule")


def _binding(call: Call, binding: Obj) -> None:
    reference = binding["roleRef"]
    row = resources.ROLES if reference["kind"] == "Role" else resources.CLUSTER_ROLES
    authorizer, namespace = call.registry.authorizer, call.namespace
    if authorizer.allows(call.user, Attributes("bind", _GROUP, row.plural, namespace, reference["name"])):
        return
    rules = authorizer.rbac.role_rules(reference, namespace)
    if rules is None:
        raise NotFound.of(row.plural, reference["name"], group=_GROUP)
    wanted = [rule.source for rule in rules if rule.source is not None]
    if missing := lacking(authorizer.rbac.rules(call.user, namespace), wanted):
        raise call.forbidden(refusal(call.user, missing))


def _only_collected(call: Call) -> bool:
    """Whether an update changes only what lets the garbage collector end the object."""
    if call.new is None or call.old is None:
        return False
    return _essence(call.new) == _essence(call.old)


def _essence(obj: Obj) -> Obj:
    meta = {key: value for key, value in obj["metadata"].items() if key not in _OF_COLLECTOR}
    return obj | {"metadata": meta}
