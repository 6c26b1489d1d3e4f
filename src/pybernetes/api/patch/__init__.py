"""Patch algebra, pure: JSON patch, merge patch, strategic merge patch, and server-side apply with managed fields.

Nothing handed in is edited; the result shares unchanged parts with it, so copy before you edit the result in place.
Errors are ApiErrors in the API server's words. `type_` is the schema.Type of the object.
"""

from .apply import appliable, apply, declared, track
from .json_patch import json_diff, json_patch
from .merge import merge_diff, merge_patch
from .strategic import strategic_merge
from .strategic_diff import strategic_diff
from .versions import View

__all__ = [
    "View",
    "appliable",
    "apply",
    "declared",
    "json_diff",
    "json_patch",
    "merge_diff",
    "merge_patch",
    "strategic_diff",
    "strategic_merge",
    "track",
]
