"""Expressions of CEL, as Kubernetes writes them in CRDs and webhooks, with its extension functions.

The evaluator is Google's own (cel-cpp, PyPI cel-expr-python); it is loaded with the first expression. Sources: docs
"Common Expression Language in Kubernetes", k8s.io/apiserver/pkg/cel/library.
"""

from .authorization import AUTHORIZER, Ask, Check, Decision, asking, resource_check
from .program import Broken, Checker, Failed, Program, compiled
from .shapes import Fields, ListOf, MapOf, Scalar, Shape
from .values import duration, timestamp

__all__ = [
    "AUTHORIZER",
    "Ask",
    "Broken",
    "Check",
    "Checker",
    "Decision",
    "Failed",
    "Fields",
    "ListOf",
    "MapOf",
    "Program",
    "Scalar",
    "Shape",
    "asking",
    "compiled",
    "duration",
    "resource_check",
    "timestamp",
]
