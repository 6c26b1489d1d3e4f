"""metadata: what every object has, checked as apimachinery's ValidateObjectMeta does."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .. import names
from ..errors import FieldError
from ..objects import Obj

Rule = Callable[[str], Iterator[str]]
Problems = Iterator[FieldError]

_MOST_ANNOTATIONS = 256 * 1024
_FORBIDDEN_FINALIZERS = {"orphan", "foregroundDeletion", "kubernetes"}
_NOT_ON_CREATE = ("deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")


def subdomain_name(text: str) -> Iterator[str]:
    return names.subdomain(text)


def label_name(text: str) -> Iterator[str]:
    return names.label(text)


def ip_name(text: str) -> Iterator[str]:
    found = names.address(text)
    if found is None or str(found) != text:
        yield "must be a valid IP address in its canonical form, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def path_name(text: str) -> Iterator[str]:
    return names.path_segment(text)


def fresh(new: Obj) -> None:
    """A new object brings none of what the server sets; uid and creationTimestamp the registry has set already."""
    metadata = new.setdefault("metadata", {})
    for field in _NOT_ON_CREATE:
        metadata.pop(field, None)


def keep(new: Obj, old: Obj, fields: Iterable[str]) -> None:
    """Metadata fields that stay as they were. A uid that was sent stays, to be compared."""
    metadata, before = new.setdefault("metadata", {}), old.get("metadata") or {}
    for field in fields:
        if field == "uid" and metadata.get("uid"):
            continue
        if field in before:
            metadata[field] = before[field]
        else:
            metadata.pop(field, None)


def validate(
    new: Obj, old: Obj | None, *, name_rule: Rule, path: str = "metadata", owned_finalizers: bool = True
) -> Problems:
    """`owned_finalizers` wants each finalizer to say by a domain whose it is, as kinds of Kubernetes' own do."""
    metadata: Obj = new.get("metadata") or {}
    yield from _name(metadata, path, name_rule)
    yield from labels(metadata.get("labels"), f"{path}.labels")
    yield from annotations(metadata.get("annotations"), f"{path}.annotations")
    yield from _owners(metadata.get("ownerReferences") or (), f"{path}.ownerReferences")
    yield from _finalizers(metadata.get("finalizers") or (), f"{path}.finalizers", owned=owned_finalizers)
    if old is not None:
        yield from _update(metadata, old.get("metadata") or {}, path)


def _name(metadata: Obj, path: str, name_rule: Rule) -> Problems:
    if generate := metadata.get("generateName"):
        masked = generate[:-1] + "a" if generate.endswith("-") else generate
        yield from (FieldError.invalid(f"{path}.generateName", generate, text) for text in name_rule(masked))
    if name := metadata.get("name"):
        yield from (FieldError.invalid(f"{path}.name", name, text) for text in name_rule(name))
    else:
        yield FieldError.required(f"{path}.name", "name or generateName is required")


def labels(found: Mapping[str, str] | None, path: str) -> Problems:
    for key, value in (found or {}).items():
        yield from (FieldError.invalid(path, key, text) for text in names.qualified(key))
        yield from (FieldError.invalid(path, value, text) for text in names.label_value(value))


def annotations(found: Mapping[str, str] | None, path: str) -> Problems:
    for key in found or {}:
        yield from (FieldError.invalid(path, key, text) for text in names.qualified(key.lower()))
    if sum(len(k.encode()) + len(v.encode()) for k, v in (found or {}).items()) > _MOST_ANNOTATIONS:
        yield FieldError.too_long(path, "", _MOST_ANNOTATIONS)


def _owners(owners: Iterable[Obj], path: str) -> Problems:
    controller = ""
    for index, owner in enumerate(owners):
        where = f"{path}[{index}]"
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                text = "version must not be empty" if field == "apiVersion" else "must not be empty"
                yield FieldError.invalid(f"{where}.{field}", owner.get(field, ""), text)
        if owner.get("controller"):
            if controller:
                text = (
                    f'Only one reference can have Controller set to true. Found "true" in references for '
                    f"{controller} and {owner.get('kind')}/{owner.get('name')}"
                )
                yield FieldError.invalid(path, list(owners), text)
            controller = f"{owner.get('kind')}/{owner.get('name')}"


def drop_doubled_owners(obj: Obj) -> list[str]:
    """Owners that are told twice in the same words are told once, in place. The uids of those that were."""
    held = obj.get("metadata") or {}
    owners: list[Obj] = held.get("ownerReferences") or []
    kept: list[Obj] = []
    doubled = []
    for owner in owners:
        if owner in kept:
            doubled.append(str(owner.get("uid", "")))
        else:
            kept.append(owner)
    if doubled:
        held["ownerReferences"] = kept
    return doubled


def _finalizers(finalizers: Iterable[str], path: str, *, owned: bool) -> Problems:
    found = list(finalizers)
    for name in found:
        yield from (FieldError.invalid(path, name, text) for text in names.qualified(name))
    if "orphan" in found and "foregroundDeletion" in found:
        yield FieldError.invalid(path, found, "finalizer orphan and foregroundDeletion cannot be both set")
    for index, name in enumerate(found if owned else ()):
        yield from _standard(name, f"{path}[{index}]")


def finalizer(name: str, path: str) -> Problems:
    """One finalizer of a namespace's spec."""
    yield from (FieldError.invalid(path, name, text) for text in names.qualified(name))
    yield from _standard(name, path)


def _standard(name: str, path: str) -> Problems:
    if "/" not in name and name not in _FORBIDDEN_FINALIZERS:
        yield FieldError.invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified")


def _update(new: Obj, old: Obj, path: str) -> Problems:
    for field in ("name", "namespace", "uid", "creationTimestamp"):
        yield from immutable(new.get(field, ""), old.get(field, ""), f"{path}.{field}")
    if old.get("deletionTimestamp"):
        added = [one for one in new.get("finalizers") or () if one not in (old.get("finalizers") or ())]
        if added:
            detail = "no new finalizers can be added if the object is being deleted, found new finalizers "
            yield FieldError.forbidden(f"{path}.finalizers", detail + f"[]string{{{', '.join(map(_quoted, added))}}}")


def _quoted(text: str) -> str:
    return f'"{text}"'


def immutable(new: Any, old: Any, path: str) -> Problems:
    if new != old:
        yield FieldError.invalid(path, new, "field is immutable")
