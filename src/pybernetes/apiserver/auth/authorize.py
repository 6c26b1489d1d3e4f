"""Authorization of one request, in Kubernetes' order: health for everybody, all for system:masters, nodes, RBAC."""

from pybernetes.api.errors import Forbidden
from pybernetes.api.resources import Resource

from ..users import MASTERS, User
from ..watchcache import WatchCache
from .attributes import Attributes
from .nodes import NodeAuthorizer
from .rbac import Answer, Rbac

PUBLIC = ("/healthz", "/livez", "/readyz")


class Authorizer:
    """The first that allows decides; what none allows is refused, with all they have to say about it."""

    def __init__(self, cache: WatchCache) -> None:
        self.rbac = Rbac(cache)
        self.nodes = NodeAuthorizer(cache)

    def allows(self, user: User, asked: Attributes) -> bool:
        return self.decide(user, asked).allowed

    def decide(self, user: User, asked: Attributes) -> Answer:
        if asked.path and asked.verb in ("get", "head") and _public(asked.path):
            return Answer(True)
        if MASTERS in user.groups:
            return Answer(True)
        node = self.nodes.answer(user, asked)
        if node.allowed:
            return node
        answer = self.rbac.answer(user, asked)
        if answer.allowed or not node.reason:
            return answer
        return Answer(False, "\n".join(one for one in (node.reason, answer.reason) if one))

    def refuse(self, user: User, asked: Attributes, row: Resource | None = None) -> Forbidden | None:
        """The error for what is not allowed, in Kubernetes' words; None for what is."""
        answer = self.decide(user, asked)
        return None if answer.allowed else forbidden(user, asked, answer.reason, row)


def _public(path: str) -> bool:
    return path.startswith(PUBLIC) and any(path == one or path.startswith(f"{one}/") for one in PUBLIC)


def forbidden(user: User, asked: Attributes, reason: str = "", row: Resource | None = None) -> Forbidden:
    """What Kubernetes answers to what is not allowed; `row` for the details of a resource that is served."""
    behind = f": {reason}" if reason else ""
    if asked.path:
        text = f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"{behind}'
        return Forbidden(text, details={})
    qualified = f"{asked.plural}.{asked.group}" if asked.group else asked.plural
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    what = f'{qualified} "{asked.name}"' if asked.name else qualified
    details = {"name": asked.name} if asked.name else {}
    details |= {"group": asked.group} if asked.group else {}
    details["kind"] = row.plural if row is not None else asked.plural
    text = f'User "{user.name}" cannot {asked.verb} resource "{asked.resource}" in API group "{asked.group}" {where}'
    return Forbidden(f"{what} is forbidden: {text}{behind}", details=details)
