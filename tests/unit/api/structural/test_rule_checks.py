"""Rules of a schema that cannot work are refused when they are written."""

from typing import Any

import pytest

from pybernetes.api.structural.definition import schema_problems
from pybernetes.api.structural.rule_checks import shape_of

Schema = dict[str, Any]
OBJECT: Schema = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "s": {"type": "string"},
        "namespace": {"type": "string"},
        "a-b": {"type": "string"},
        "either": {"x-kubernetes-int-or-string": True, "type": "string"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"v": {"type": "number"}}}},
    },
}


def problems(rule: Schema, schema: Schema = OBJECT, **root: Any) -> list[tuple[str, str]]:
    ruled = schema | {"x-kubernetes-validations": [rule]}
    whole = {"type": "object", "properties": {"spec": ruled}} | root
    return [(one.field, one.detail) for one in schema_problems(whole, "s")]


@pytest.mark.parametrize(
    "rule",
    [
        {"rule": "self.n > 1 && self.n < 2.5 && self.s != ''"},
        {"rule": "self.either == 1 || self.either == 'a'"},
        {"rule": "self.namespace == self.__namespace__ && self.a__dash__b == ''"},
        {"rule": "self.map.all(k, self.map[k].v > 1.0)"},
        {"rule": "self == oldSelf"},
        {"rule": "!oldSelf.hasValue() || oldSelf.value().n == self.n", "optionalOldSelf": True},
        {"rule": "self.n > 1", "fieldPath": ".map['x'].v", "messageExpression": "'n is ' + string(self.n)"},
        {"rule": "self.n > 1 &&\nself.n < 3", "message": "two"},
    ],
)
def test_what_works(rule: Schema) -> None:
    assert problems(rule) == []


@pytest.mark.parametrize(
    ("rule", "field", "why"),
    [
        ({"rule": "self.m > 1"}, "rule", "undefined field 'm'"),
        ({"rule": "self.free.x > 1"}, "rule", "undefined field 'x'"),
        ({"rule": "self.n == 'a'"}, "rule", "no matching overload"),
        ({"rule": "self.n + 1"}, "rule", "cel expression must evaluate to a bool"),
        ({"rule": "oldSelf.value().m == 1", "optionalOldSelf": True}, "rule", "undefined field 'm'"),
        ({"rule": "self.n > 1", "optionalOldSelf": True}, "optionalOldSelf", "may not be set if oldSelf is not used"),
        ({"rule": "self.n > 1", "messageExpression": "self.n"}, "messageExpression", "must evaluate to a string"),
        ({"rule": "self.n > 1", "messageExpression": " "}, "messageExpression", "must be non-empty if specified"),
        ({"rule": "self.n > 1", "message": " "}, "message", "must be non-empty if specified"),
        ({"rule": "self.n > 1", "message": "a\nb"}, "message", "must not contain line breaks"),
        ({"rule": "self.n > 1 &&\nself.n < 3"}, "message", "must be specified if rule contains line breaks"),
        ({"rule": "self.n > 1", "fieldPath": ".x"}, "fieldPath", "must be a valid path"),
        ({"rule": "self.n > 1", "fieldPath": "n"}, "fieldPath", "must be a valid path"),
        ({"rule": "self.n > 1", "fieldPath": ".map['x'].w"}, "fieldPath", "must be a valid path"),
        ({"rule": " "}, "rule", "rule is not specified"),
        ({"rule": "true", "reason": "Odd"}, "reason", "supported values"),
    ],
)
def test_what_does_not(rule: Schema, field: str, why: str) -> None:
    [(where, detail)] = problems(rule)
    assert (where, why in detail) == (f"s.properties[spec].x-kubernetes-validations[0].{field}", True), detail


@pytest.mark.parametrize(("kind", "lost"), [("atomic", True), ("set", True), (None, True), ("map", False)])
def test_what_is_in_a_list_has_an_old_value_by_its_key_alone(kind: str | None, lost: bool) -> None:
    item = {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}
    schema: Schema = {"type": "array", "items": item}
    if kind == "map":
        keyed = {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": item}}
        schema = {"type": "array", "x-kubernetes-list-map-keys": ["k"], "items": keyed}
    if kind is not None:
        schema["x-kubernetes-list-type"] = kind
    found = [one.detail for one in schema_problems({"type": "object", "properties": {"l": schema}}, "s")]
    why = "oldSelf cannot be used on the uncorrelatable portion of the schema within s.properties[l]"
    assert found == ([why] if lost else [])


def test_an_atomic_map_has_no_old_members() -> None:
    member = {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}
    schema = {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": member}}
    assert len(list(schema_problems({"type": "object", "properties": {"m": schema}}, "s"))) == 1


def test_the_root_has_a_name_whatever_the_schema_says() -> None:
    root: Schema = {"type": "object", "properties": {"spec": OBJECT}}
    ruled = root | {"x-kubernetes-validations": [{"rule": "self.metadata.name.startsWith('a') && self.kind != ''"}]}
    assert list(schema_problems(ruled, "s")) == []
    wrong = root | {"x-kubernetes-validations": [{"rule": "has(self.metadata.labels)"}]}
    assert len(list(schema_problems(wrong, "s"))) == 1


def test_rules_above_what_is_no_schema_are_not_compiled() -> None:
    [(field, _)] = problems({"rule": "self.nothing == 1"}, OBJECT | {"properties": {"x": {"type": "odd"}}})
    assert field == "s.properties[spec].properties[x].type"


def test_a_type_beside_int_or_string_says_nothing() -> None:
    """external-snapshotter's VolumeSnapshot has one."""
    assert shape_of(OBJECT["properties"]["either"]) == "dyn"
    assert list(schema_problems({"type": "object", "properties": {"a": OBJECT}}, "s")) == []
