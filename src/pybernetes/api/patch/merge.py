"""JSON Merge Patch (RFC 7386): maps merge, null deletes, everything else replaces.

Nothing handed in is edited; parts that do not change are shared with the result.
"""

from typing import Any

from ..errors import BadRequest
from ..objects import Obj
from .equal import same
from .json_patch import go_name
from .limits import bounded


@bounded
def merge_patch(document: Obj, patch: Any) -> Obj:
    """The document after the patch. Raises BadRequest when the patch is no JSON object."""
    if not isinstance(patch, dict):
        text = f"json: cannot unmarshal {go_name(patch)} into Go value of type map[string]interface {{}}"
        raise BadRequest(f"error decoding patch: {text}")
    merged: Obj = _merged(document, patch)
    return merged


def merge_diff(source: Obj, target: Obj) -> Obj:
    """The smallest merge patch that makes `target` of `source`; the target holds no nulls."""
    patch: Obj = dict.fromkeys(source.keys() - target.keys())
    for key, value in target.items():
        if key not in source:
            patch[key] = value
        elif isinstance(value, dict) and isinstance(source[key], dict):
            if inner := merge_diff(source[key], value):
                patch[key] = inner
        elif not same(source[key], value):
            patch[key] = value
    return patch


def _merged(document: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    fresh = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            fresh.pop(key, None)
        else:
            fresh[key] = _merged(fresh.get(key), value)
    return fresh
