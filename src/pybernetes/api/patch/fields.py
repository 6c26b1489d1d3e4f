"""Sets of fields: which places of an object somebody owns, and their wire form, FieldsV1.

A place is a path of elements, each written as FieldsV1 writes it: `f:replicas` a field, `k:{"name":"web"}` an element
of a list by its keys, `v:"x"` an element of a set by its value. A set of fields is a frozenset of paths, so that union,
intersection and difference are Python's own. Sources: meta/v1 FieldsV1, and sigs.k8s.io/structured-merge-diff
(fieldpath, typed) for what is a member: leaves, elements of lists, and atomic lists and maps as one.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ..objects import Obj, decode
from ..schema import Type

Path = tuple[str, ...]
Fields = frozenset[Path]

EMPTY: Fields = frozenset()
_DEFAULT_KEYS = {"protocol": "TCP"}
"""Keys of lists that may be left out; all of them are ports' protocols."""
_encode = msgspec.json.Encoder(order="sorted").encode


class Untyped(ValueError):
    """A value does not fit its type, so its fields cannot be told apart."""


def is_map(type_: Type | None, value: Any) -> bool:
    """Whether the value is a map whose entries are owned one by one."""
    if type_ is not None and (type_.kind == "object" and not type_.preserve):
        return False
    if type_ is not None and type_.hints.map_type == "atomic":
        return False
    return isinstance(value, dict)


def is_keyed(type_: Type | None) -> bool:
    """Whether elements of the list are owned one by one."""
    return type_ is not None and type_.kind == "list" and type_.hints.list_type in ("map", "set")


def below(type_: Type | None, element: str) -> Type | None:
    """The type at an element; None when the schema says nothing of it."""
    if type_ is None:
        return None
    if element.startswith("f:"):
        return type_.at(element[2:])
    return type_.items


def element_of(type_: Type, item: Any) -> str:
    """The path element of an item of a keyed list. Raises Untyped when it lacks a key."""
    if type_.hints.list_type == "set":
        return "v:" + _encode(item).decode()
    if not isinstance(item, dict):
        raise Untyped("associative list with keys may not have non-map elements")
    keys = {}
    for key in type_.hints.map_keys:
        if (value := item.get(key, _DEFAULT_KEYS.get(key))) is None:
            raise Untyped(
                f'associative list with keys has an element that omits key field "{key}" '
                "(and doesn't have default value)"
            )
        keys[key] = value
    return "k:" + _encode(keys).decode()


def items_by_element(type_: Type, items: list[Any], *, strict: bool) -> list[tuple[str, Any]]:
    """Items of a keyed list with their elements. Strict raises Untyped for a repeated one; else the first stands."""
    found: dict[str, Any] = {}
    for at, item in enumerate(items):
        try:
            element = element_of(type_, item)
        except Untyped as error:
            if strict:
                raise Untyped(f"element {at}: {error}") from error
            element = f"i:{at}"
        if strict and element in found:
            raise Untyped(f"duplicate entries for key {shown((element,)).removeprefix('.')}")
        found.setdefault(element, item)
    return list(found.items())


def fields_of(value: Any, type_: Type | None, *, strict: bool = False) -> Fields:
    """The fields that a configuration sets. `strict` is for one just handed in: raises Untyped with its place."""
    return frozenset(_fields(value, type_, (), strict))


def _fields(value: Any, type_: Type | None, path: Path, strict: bool) -> Iterator[Path]:
    if is_map(type_, value):
        yield from _map_fields(value, type_, path, strict)
    elif isinstance(value, list) and type_ is not None and is_keyed(type_):
        try:
            items = items_by_element(type_, value, strict=strict)
        except Untyped as error:
            raise Untyped(f"{shown(path)}: {error}") from error
        for element, item in items:
            yield (*path, element)
            yield from _fields(item, type_.items, (*path, element), strict)
    elif value is not None or not is_keyed(type_):
        yield path


def _map_fields(value: Obj, type_: Type | None, path: Path, strict: bool) -> Iterator[Path]:
    for key, inner in value.items():
        here = (*path, f"f:{key}")
        type_below = below(type_, here[-1])
        if strict and type_below is None and type_ is not None and type_.kind == "struct" and not type_.preserve:
            raise Untyped(f"{shown(here)}: field not declared in schema")
        if inner is None or (isinstance(inner, dict) and not inner):
            yield here
        else:
            yield from _fields(inner, type_below, here, strict)


def beneath(fields: Fields, prefixes: Iterable[tuple[str, ...]]) -> Fields:
    """The fields at or below one of the prefixes."""
    found = tuple(prefixes)
    return frozenset(path for path in fields if any(path[: len(prefix)] == prefix for prefix in found))


def with_named_parents(fields: Fields, type_: Type | None) -> Fields:
    """Also the declared fields on the way to each member, which are no members themselves."""
    found = set(fields)
    known: dict[Path, tuple[Type | None, bool]] = {(): (type_, False)}
    for path in fields:
        for end in range(1, len(path)):
            prefix = path[:end]
            if prefix not in known:
                parent = known[prefix[:-1]][0]
                declared = parent is not None and parent.kind == "struct" and prefix[-1][2:] in parent.fields
                known[prefix] = (below(parent, prefix[-1]), declared and prefix[-1].startswith("f:"))
            if known[prefix][1]:
                found.add(prefix)
    return frozenset(found)


def without(value: Any, fields: Fields, type_: Type | None) -> Any:
    """The value without the places in `fields`; what becomes empty by it is gone too. The input is not edited."""
    return _without(value, to_wire(fields), type_)


def _without(value: Any, tree: Obj, type_: Type | None) -> Any:
    if is_map(type_, value):
        kept = {}
        for key, inner in value.items():
            element = f"f:{key}"
            if element not in tree:
                kept[key] = inner
            elif not _is_member(tree[element]):
                rest = _without(inner, tree[element], below(type_, element))
                if rest is not None:
                    kept[key] = rest
        return kept or None if value else value
    if isinstance(value, list) and value and type_ is not None and is_keyed(type_):
        left = []
        for element, item in items_by_element(type_, value, strict=False):
            if element not in tree:
                left.append(item)
            elif not _is_member(tree[element]):
                left.append(_without(item, tree[element], type_.items))
        return [item for item in left if item is not None] or None
    return value


def _is_member(node: Obj) -> bool:
    return not node or "." in node


def to_wire(fields: Iterable[Path]) -> Obj:
    """FieldsV1: a member without children is {}, one with children has "."."""
    root: Obj = {}
    for path in sorted(fields):
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    return _collapsed(root)


def _collapsed(node: Obj) -> Obj:
    if node.keys() == {"."}:
        return {}
    return {element: _collapsed(inner) if element != "." else inner for element, inner in node.items()}


def from_wire(tree: Any) -> Fields:
    """The fields of a FieldsV1. Raises ValueError when it is none."""
    return frozenset(_read(tree, ()))


def _read(node: Any, path: Path) -> Iterator[Path]:
    if not isinstance(node, dict):
        raise ValueError(f"FieldsV1 must be made of objects, not {node!r}")
    if path and (not node or "." in node):
        yield path
    for element, inner in node.items():
        if element != ".":
            yield from _read(inner, (*path, _canonical(element)))


def _canonical(element: str) -> str:
    kind, colon, rest = element.partition(":")
    if not colon or kind not in ("f", "k", "v", "i"):
        raise ValueError(f"invalid path element {element!r}")
    return element if kind == "f" else f"{kind}:{_encode(decode(rest)).decode()}"


def shown(path: Path) -> str:
    """For people: .spec.containers[name="web"].image"""
    return "".join(map(_shown, path))


def _shown(element: str) -> str:
    kind, _, rest = element.partition(":")
    if kind == "f":
        return f".{rest}"
    if kind == "k":
        keys = decode(rest)
        return "[" + ",".join(f"{key}={_encode(keys[key]).decode()}" for key in sorted(keys)) + "]"
    return f"[={rest}]" if kind == "v" else f"[{rest}]"
