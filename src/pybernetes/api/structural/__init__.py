"""What a CustomResourceDefinition's structural schema does to objects: pruning, defaults, validation, rules.

Pure functions over plain OpenAPI dicts, in Kubernetes' order: prune, default, check, rules.
"""

from .check import problems
from .default import apply_defaults
from .definition import schema_problems
from .prune import prune
from .rules import broken_rules

__all__ = ["apply_defaults", "broken_rules", "problems", "prune", "schema_problems"]
