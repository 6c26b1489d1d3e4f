"""JSON Patch (RFC 6902) over decoded JSON.

Nothing handed in is edited: each operation copies the path it changes. Like the API server, an index may be negative
(-1 is the last element), the number of operations and the growth by `copy` are bounded, and every failure to apply
has one wording; what went wrong is chained to it for the log.

Where the RFC is stricter than the API server, clients count on the latter: a member that an object lacks is null to
`test` (kube-rs sets its finalizers by that) and to `copy`, `replace` makes it, and no value is null.
"""

from collections.abc import Callable
from typing import Any

from ..errors import BadRequest, Invalid, TooLarge
from ..objects import decode, encode
from .equal import same
from .limits import bounded

OPERATIONS_LIMIT = 10_000
COPY_LIMIT = 3 * 1024 * 1024
REJECTED = "the server rejected our request due to an error in our request"

_GO_NAMES = {dict: "object", str: "string", bool: "bool", int: "number", float: "number", list: "array"}


class JsonPatchFailed(ValueError):
    """Why an operation could not be applied."""


@bounded
def json_patch(document: Any, operations: Any) -> Any:
    """The document after the operations, all or none.

    Raises BadRequest for something that is no list of operations, TooLarge for too many, Invalid when one fails.
    """
    if not isinstance(operations, list) or not all(isinstance(one, dict) for one in operations):
        raise BadRequest(f"error decoding patch: {_undecodable(operations)}")
    if len(operations) > OPERATIONS_LIMIT:
        raise TooLarge(f"The allowed maximum operations in a JSON patch is {OPERATIONS_LIMIT}, got {len(operations)}")
    copied = 0
    try:
        for operation in operations:
            if operation.get("op") == "copy":
                copied += len(encode(_look(document, _pointer(operation, "from"))))
                if copied > COPY_LIMIT:
                    raise JsonPatchFailed(f"the copies add up to {copied} bytes, over the limit of {COPY_LIMIT}")
            document = _apply(document, operation)
    except JsonPatchFailed as error:
        raise Invalid(REJECTED) from error
    return document


def json_diff(source: Any, target: Any) -> list[dict[str, Any]]:
    """Operations that make `target` of `source`: maps by key, lists as a whole."""
    return list(_diff(source, target, ""))


def _undecodable(operations: Any) -> str:
    if not isinstance(operations, list):
        return f"json: cannot unmarshal {go_name(operations)} into Go value of type []handlers.jsonPatchOp"
    wrong = next(one for one in operations if not isinstance(one, dict))
    return f"json: cannot unmarshal {go_name(wrong)} into Go value of type handlers.jsonPatchOp"


def go_name(value: Any) -> str:
    return _GO_NAMES.get(type(value), "null")


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    run = _OPERATIONS.get(operation.get("op", "")) if isinstance(operation.get("op"), str) else None
    if run is None:
        raise JsonPatchFailed(f"unexpected kind: {operation.get('op')}")
    return run(document, operation)


def _add(document: Any, operation: dict[str, Any]) -> Any:
    return _put(document, _below(operation), operation.get("value"), insert=True)


def _remove(document: Any, operation: dict[str, Any]) -> Any:
    return _drop(document, _below(operation))


def _replace(document: Any, operation: dict[str, Any]) -> Any:
    return _put(document, _pointer(operation, "path"), operation.get("value"), insert=False)


def _move(document: Any, operation: dict[str, Any]) -> Any:
    source, target = _pointer(operation, "from"), _pointer(operation, "path")
    if source == target[: len(source)] and len(source) < len(target):
        raise JsonPatchFailed("a value cannot be moved into one of its children")
    value = _get(document, source)
    return value if not target else _put(_drop(document, source), target, value, insert=True)


def _copy(document: Any, operation: dict[str, Any]) -> Any:
    value = decode(encode(_look(document, _pointer(operation, "from"))))
    return _put(document, _pointer(operation, "path"), value, insert=True)


def _test(document: Any, operation: dict[str, Any]) -> Any:
    path = _pointer(operation, "path")
    if not same(_look(document, path), operation.get("value")):
        raise JsonPatchFailed(f"testing value {operation['path']} failed")
    return document


_OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}


def _below(operation: dict[str, Any]) -> list[str]:
    """The path of something inside the document."""
    path = _pointer(operation, "path")
    if not path:
        raise JsonPatchFailed(f"{operation['op']} operation does not apply to the document itself")
    return path


def _pointer(operation: dict[str, Any], name: str) -> list[str]:
    """The tokens of a JSON Pointer (RFC 6901)."""
    text = operation.get(name)
    if not isinstance(text, str) or (text and text[0] != "/"):
        raise JsonPatchFailed(f"{operation.get('op')} operation has no valid {name!r}: {text!r}")
    return [token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:]]


def _index(items: list[Any], token: str, *, end: int) -> int:
    """An index into 0..end (exclusive)."""
    digits = token.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or (len(digits) > 1 and digits[0] == "0") or len(digits) > 10:
        raise JsonPatchFailed(f"invalid array index {token!r}")
    index = int(token)
    if index < 0:
        index += end
    if not 0 <= index < end:
        raise JsonPatchFailed(f"index out of range: {token} of {len(items)}")
    return index


def _get(document: Any, path: list[str]) -> Any:
    for token in path:
        if isinstance(document, dict):
            if token not in document:
                raise JsonPatchFailed(f"nonexistent key: {token}")
            document = document[token]
        elif isinstance(document, list):
            document = document[_index(document, token, end=len(document))]
        else:
            raise JsonPatchFailed(f"nothing can be below a value: {token}")
    return document


def _look(document: Any, path: list[str]) -> Any:
    """As _get, and null for a member that the last object lacks."""
    above = _get(document, path[:-1])
    return above.get(path[-1]) if path and isinstance(above, dict) else _get(above, path[-1:])


def _edit(document: Any, path: list[str], change: Callable[[Any, str], Any]) -> Any:
    """A copy of the document in which `change(container, last token)` has been made to a copied container."""
    token, rest = path[0], path[1:]
    if not isinstance(document, dict | list):
        raise JsonPatchFailed(f"nothing can be below a value: {token}")
    fresh = document.copy()
    if not rest:
        change(fresh, token)
        return fresh
    inner = _edit(_get(document, [token]), rest, change)
    if isinstance(fresh, dict):
        fresh[token] = inner
    else:
        fresh[_index(fresh, token, end=len(fresh))] = inner
    return fresh


def _put(document: Any, path: list[str], value: Any, *, insert: bool) -> Any:
    def put(container: Any, token: str) -> None:
        if isinstance(container, dict):
            container[token] = value
        elif not insert:
            container[_index(container, token, end=len(container))] = value
        elif token == "-":
            container.append(value)
        else:
            container.insert(_index(container, token, end=len(container) + 1), value)

    return _edit(document, path, put) if path else value


def _drop(document: Any, path: list[str]) -> Any:
    def drop(container: Any, token: str) -> None:
        _get(container, [token])
        del container[token if isinstance(container, dict) else _index(container, token, end=len(container))]

    return _edit(document, path, drop) if path else None


def _diff(source: Any, target: Any, at: str) -> Any:
    if not (isinstance(source, dict) and isinstance(target, dict)):
        if not same(source, target):
            yield {"op": "replace", "path": at, "value": target}
        return
    for key in source.keys() | target.keys():
        path = f"{at}/{key.replace('~', '~0').replace('/', '~1')}"
        if key not in target:
            yield {"op": "remove", "path": path}
        elif key not in source:
            yield {"op": "add", "path": path, "value": target[key]}
        else:
            yield from _diff(source[key], target[key], path)
