"""Admission: what a write must pass, in order; each step may change the object or refuse it."""

from .call import Admission, Call
from .namespaces import namespace_lifecycle
from .pods import default_tolerations, priority, service_account

ADMISSION: tuple[Admission, ...] = (
    namespace_lifecycle,
    service_account,
    default_tolerations,
    priority,
)

__all__ = ["ADMISSION", "Admission", "Call"]
