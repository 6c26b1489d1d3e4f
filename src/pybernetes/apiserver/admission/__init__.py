"""Admission: what a write must pass, in order; each step may change the object or refuse it."""

from .accounts import account_secrets
from .call import Admission, Call, Reader
from .certificates import certificate_requests, request_origin
from .classes import default_ingress_class, default_storage_class
from .limits import limit_bounds, limit_defaults
from .namespaces import namespace_lifecycle
from .nodes import node_restriction
from .pods import default_tolerations, priority, priority_classes, service_account
from .roles import no_escalation
from .runtime_classes import runtime_class, runtime_class_overhead

ADMISSION: tuple[Admission, ...] = (
    namespace_lifecycle,
    limit_defaults,
    service_account,
    priority,
    default_tolerations,
    runtime_class,
    default_storage_class,
    default_ingress_class,
    request_origin,
)

VALIDATION: tuple[Admission, ...] = (
    limit_bounds,
    runtime_class_overhead,
    node_restriction,
    account_secrets,
    priority_classes,
    no_escalation,
    certificate_requests,
)
"""Those that look at the object as it will be stored, and change nothing."""

__all__ = ["ADMISSION", "VALIDATION", "Admission", "Call", "Reader", "node_restriction"]
