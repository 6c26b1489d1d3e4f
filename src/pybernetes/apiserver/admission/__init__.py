"""Admission: what a write must pass, in order; each step may change the object or refuse it."""

from .call import Admission, Call, Reader
from .namespaces import namespace_lifecycle
from .pods import default_tolerations, priority, service_account

ADMISSION: tuple[Admission, ...] = (
    namespace_lifecycle,
    service_account,
    default_tolerations,
    priority,
)

VALIDATION: tuple[Admission, ...] = ()
"""Those that look at the object as it will be stored, and change nothing."""

__all__ = ["ADMISSION", "VALIDATION", "Admission", "Call", "Reader"]
