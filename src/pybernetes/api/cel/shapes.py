"""Types of variables, by which an expression is checked when it is written.

The evaluator's variables are dynamic (values are plain dicts), so that a field nobody declared would be found out only
with a value at hand. Here the types of a schema become message types of protobuf, which the checker understands: an
undeclared field, a comparison of a number with a text, are refused at once. Nothing is evaluated by these types.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

Scalar = Literal["bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp"]


class ListOf(NamedTuple):
    items: "Shape"


class MapOf(NamedTuple):
    """From text to values."""

    values: "Shape"


class Fields(NamedTuple):
    """An object; names are identifiers."""

    fields: "Mapping[str, Shape]"


Shape = Scalar | ListOf | MapOf | Fields

_PACKAGE = "k"
_OPTIONAL, _REPEATED = 1, 3
_MESSAGE = 11
_SCALARS = {"bool": 8, "bytes": 12, "double": 1, "int": 3, "string": 9}
_MESSAGES = {
    "duration": ".google.protobuf.Duration",
    "dyn": ".google.protobuf.Value",  # what CEL takes for anything
    "timestamp": ".google.protobuf.Timestamp",
}


def pool_of(variables: Mapping[str, Shape]) -> tuple[Any, dict[str, Any]]:
    """A pool of message types, and the CEL type of each variable in it."""
    from cel_expr_python import cel
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(name="schema.proto", package=_PACKAGE, syntax="proto2")
    pool = descriptor_pool.DescriptorPool()
    for known in _well_known():
        pool.Add(known)
        file.dependency.append(known.name)
    holder = _Messages(file)
    types = {name: holder.variable(shape, cel) for name, shape in variables.items()}
    pool.Add(file)
    return pool, types


class _Messages:
    """The message types of one file."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._names: dict[int, str] = {}

    def variable(self, shape: Shape, cel: Any) -> Any:
        if isinstance(shape, Fields):
            return cel.Type(self._message(shape).removeprefix("."))
        if isinstance(shape, ListOf):
            return cel.Type.List(self.variable(shape.items, cel))
        if isinstance(shape, MapOf):
            return cel.Type.Map(cel.Type.STRING, self.variable(shape.values, cel))
        return getattr(cel.Type, shape.upper())

    def _message(self, shape: Fields) -> str:
        """Its full name; the same shape is one type, so that self and oldSelf can be compared."""
        found = self._names.get(id(shape))
        if found is None:
            name = f"Object{len(self._names)}"
            found = self._names[id(shape)] = f".{_PACKAGE}.{name}"
            message = self._file.message_type.add(name=name)
            message.options.deprecated_legacy_json_field_conflicts = True  # fooBar and foo_bar are two fields
            for number, (field, inner) in enumerate(shape.fields.items(), 1):
                self._field(message, field, number, inner)
        return found

    def _field(self, message: Any, name: str, number: int, shape: Shape) -> None:
        field = message.field.add(name=name, number=number, label=_OPTIONAL)
        if isinstance(shape, ListOf):
            field.label = _REPEATED
            self._typed(field, shape.items)
        elif isinstance(shape, MapOf) and all(one.name != f"{_camel(name)}Entry" for one in message.nested_type):
            field.label = _REPEATED
            entry = message.nested_type.add(name=f"{_camel(name)}Entry")
            entry.options.map_entry = True
            self._typed(entry.field.add(name="key", number=1, label=_OPTIONAL), "string")
            self._typed(entry.field.add(name="value", number=2, label=_OPTIONAL), shape.values)
            field.type, field.type_name = _MESSAGE, f".{_PACKAGE}.{message.name}.{entry.name}"
        else:
            self._typed(field, shape)

    def _typed(self, field: Any, shape: Shape) -> None:
        """Lists and maps in one another are beyond protobuf, as are maps foo_bar and fooBar: they can be anything."""
        if isinstance(shape, Fields):
            field.type, field.type_name = _MESSAGE, self._message(shape)
        elif isinstance(shape, str) and shape in _SCALARS:
            field.type = _SCALARS[shape]
        else:
            field.type, field.type_name = _MESSAGE, _MESSAGES[shape if isinstance(shape, str) else "dyn"]


def _camel(name: str) -> str:
    """As protobuf names the entries of a map field."""
    parts = name.split("_")
    return "".join(part[:1].upper() + part[1:] for part in parts)


@cache
def _well_known() -> tuple[Any, ...]:
    from google.protobuf import descriptor_pb2, duration_pb2, struct_pb2, timestamp_pb2

    found = []
    for module in (duration_pb2, struct_pb2, timestamp_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        found.append(file)
    return tuple(found)
