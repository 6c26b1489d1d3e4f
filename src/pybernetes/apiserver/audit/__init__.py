"""The audit log: who did what, by a policy file (audit.k8s.io/v1), as JSON lines in a file that is rotated."""

from .filter import Auditor
from .log import AuditLog
from .metrics import AuditMetrics
from .policy import BadPolicy, Policy

__all__ = ["AuditLog", "AuditMetrics", "Auditor", "BadPolicy", "Policy"]
