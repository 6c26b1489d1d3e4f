"""matchConditions: the CEL expressions that must all be true for a webhook to be asked.

The variables are Kubernetes': object, oldObject, request. A condition that cannot be evaluated refuses the write, or
with failurePolicy Ignore leaves the webhook out.
"""

from pybernetes.api.kinds.webhooks import CONDITION_VARIABLES
from pybernetes.api.objects import Obj

from .hooks import Hook


class Undecided(Exception):
    """A condition that cannot be evaluated; the text says which and why."""


def met(hook: Hook, asked: Obj) -> bool:
    """Whether all conditions of a webhook hold of the `request` of an AdmissionReview. Raises Undecided.

    One that is false decides, whatever is wrong with another.
    """
    from pybernetes.api import cel  # few servers ever see an expression

    variables = {"object": asked.get("object"), "oldObject": asked.get("oldObject"), "request": asked}
    troubles = []
    for _, expression in hook.conditions:
        try:
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
