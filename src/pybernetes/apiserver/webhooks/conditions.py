"""matchConditions: the CEL expressions that must all be true for a webhook to be asked.

The variables are Kubernetes': object, oldObject, request, authorizer and authorizer.requestResource. A condition that
cannot be evaluated refuses the write, or with failurePolicy Ignore leaves the webhook out.
"""

from typing import TYPE_CHECKING, Any

from pybernetes.api.kinds.webhooks import CONDITION_VARIABLES
from pybernetes.api.objects import Obj

from ..admission.call import Call
from ..auth.attributes import Attributes, field_terms, label_terms
from ..users import service_account_user
from .hooks import Hook

if TYPE_CHECKING:
    from pybernetes.api import cel


class Undecided(Exception):
    """A condition that cannot be evaluated; the text says which and why."""


def met(hook: Hook, asked: Obj, call: Call) -> bool:
    """Whether all conditions of a webhook hold of the `request` of an AdmissionReview. Raises Undecided.

    One that is false decides, whatever is wrong with another.
    """
    from pybernetes.api import cel  # few servers ever see an expression

    variables = _variables(asked)
    troubles = []
    for _, expression in hook.conditions:
        try:
            with cel.asking(lambda check: _decided(check, call)):
                value = cel.compiled(expression, CONDITION_VARIABLES).evaluate(variables)
        except ValueError as error:
            troubles.append(f"expression '{expression}' resulted in error: {error}")
            continue
        if value is not True:
            return False
    if not troubles:
        return True
    if hook.fails_open:
        return False
    raise Undecided(troubles[0] if len(troubles) == 1 else f"[{', '.join(troubles)}]")


def _variables(asked: Obj) -> dict[str, Any]:
    from pybernetes.api import cel

    what = asked.get("resource") or {}
    return {
        "object": asked.get("object"),
        "oldObject": asked.get("oldObject"),
        "request": asked,
        "authorizer": cel.AUTHORIZER,
        "authorizer.requestResource": cel.resource_check(
            what.get("group", ""),
            what.get("resource", ""),
            subresource=asked.get("subResource") or "",
            namespace=asked.get("namespace") or "",
            name=asked.get("name") or "",
        ),
    }


def _decided(check: "cel.Check", call: Call) -> "cel.Decision":
    """What authorization says to the requester, or to the service account that the expression names."""
    from pybernetes.api import cel

    user = service_account_user(*check.account, extra={}) if check.account else call.user
    asked = Attributes(
        check.verb,
        check.group,
        f"{check.resource}/{check.subresource}" if check.subresource else check.resource,
        check.namespace,
        check.name,
        check.path,
        field_terms(check.fields),
        label_terms(check.labels),
    )
    answer = call.registry.authorizer.decide(user, asked)
    return cel.Decision(answer.allowed, answer.reason)
