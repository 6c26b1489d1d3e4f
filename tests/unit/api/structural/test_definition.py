"""Schemas of custom resources: what a definition may not say."""

from typing import Any

import pytest

from pybernetes.api.structural.definition import schema_problems


def wrong_fields(**properties: Any) -> list[str]:
    schema = {"type": "object", "properties": properties}
    return [problem.field for problem in schema_problems(schema, "s")]


@pytest.mark.parametrize(
    ("items", "field"),
    [
        ({"type": "object"}, "x-kubernetes-map-type"),
        ({"type": "object", "x-kubernetes-map-type": "granular"}, "x-kubernetes-map-type"),
        ({"type": "object", "x-kubernetes-map-type": "atomic"}, ""),
        ({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}, "x-kubernetes-list-type"),
        ({"type": "array", "items": {"type": "string"}}, ""),
        ({"type": "string"}, ""),
    ],
)
def test_what_is_in_a_set_is_written_whole(items: dict[str, Any], field: str) -> None:
    found = wrong_fields(a={"type": "array", "x-kubernetes-list-type": "set", "items": items})
    assert found == ([f"s.properties[a].items.{field}"] if field else [])
