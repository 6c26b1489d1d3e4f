"""What a CustomResourceDefinition's structural schema does to objects: pruning, defaults, validation, rules.

Pure functions over plain OpenAPI dicts, in Kubernetes' order: prune, default, check, rules.
"""

from .check import problems
from .default import apply_defaults, drop_nulls
from .definition import schema_problems
from .embedded import fit_metadata, has_embedded
from .numbers import plain
from .prune import prune
from .rules import broken_rules
from .unwise import unwise

__all__ = [
    "apply_defaults",
    "broken_rules",
    "drop_nulls",
    "fit_metadata",
    "has_embedded",
    "plain",
    "problems",
    "prune",
    "schema_problems",
    "unwise",
]
