"""Expressions of CEL, as Kubernetes writes them in CRDs and webhooks, with its extension functions.

The evaluator is Google's own (cel-cpp, PyPI cel-expr-python); it is loaded with the first expression. Sources: docs
"Common Expression Language in Kubernetes", k8s.io/apiserver/pkg/cel/library.
"""

from .program import Broken, Failed, Program, compiled
from .values import duration, timestamp

__all__ = ["Broken", "Failed", "Program", "compiled", "duration", "timestamp"]
