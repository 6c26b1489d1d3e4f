"""The hash of a pod template: what tells one revision's pods from another's. It must never change between releases."""

from pybernetes.api import names
from pybernetes.api.objects import Obj, encode


def template_hash(template: Obj, collisions: int) -> str:
    """pod-template-hash, controller-revision-hash: FNV-1a of the canonical JSON, in letters that form no words."""
    value = 2166136261
    for byte in _canonical(template) + (str(collisions).encode() if collisions else b""):
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return names.safe_encoded(str(value))


def _canonical(value: object) -> bytes:
    def ordered(part: object) -> object:
        if isinstance(part, dict):
            return {key: ordered(part[key]) for key in sorted(part)}
        return [ordered(one) for one in part] if isinstance(part, list) else part

    return encode(ordered(value))
