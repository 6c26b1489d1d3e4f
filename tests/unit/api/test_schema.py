import pytest

from pybernetes.api import schema
from pybernetes.api.resources import RESOURCES
from pybernetes.api.scheme import Scheme

POD = schema.type_of("io.k8s.api.core.v1.Pod")


@pytest.mark.parametrize("row", RESOURCES, ids=lambda row: row.qualified + "." + row.version)
def test_every_row_and_its_subresources_have_types(row):
    scheme = Scheme.builtin()
    assert scheme.type(row).fields["metadata"].name == schema.OBJECT_META
    for part in row.parts:
        if not part.kind.endswith("Options"):
            assert scheme.type(row, part.name).kind == "struct"


def test_every_definition_compiles():
    definitions = schema.definitions()
    for name in definitions:
        found = definitions[name]
        assert found.kind in schema.KINDS
        assert {inner.kind for inner in found.fields.values()} <= schema.KINDS


def test_what_strategic_merge_needs():
    containers = POD.at("spec", "containers")
    assert containers is not None
    assert containers.hints.merge_key == "name"
    assert containers.hints.strategies == {"merge"}
    assert containers.hints.list_type == "map"
    assert containers.hints.map_keys == ("name",)
    assert containers.go == "[]v1.Container"


def test_two_strategies_and_two_keys():
    volumes = POD.at("spec", "volumes")
    assert volumes is not None
    assert volumes.hints.strategies == {"merge", "retainKeys"}
    ports = schema.type_of("io.k8s.api.core.v1.ServiceSpec").at("ports")
    assert ports is not None
    assert ports.hints.map_keys == ("port", "protocol")
    assert ports.hints.merge_key == "port"


def test_hints_at_a_place_do_not_leak_to_the_definition():
    strategy = schema.type_of("io.k8s.api.apps.v1.DeploymentSpec").at("strategy")
    assert strategy is not None
    assert strategy.hints.strategies == {"retainKeys"}
    assert not schema.type_of("io.k8s.api.apps.v1.DeploymentStrategy").hints.strategies
    assert "rollingUpdate" in strategy.fields


def test_below_lists_and_maps():
    assert POD.at("spec", "containers", "*", "env", "*", "name").kind == "string"
    assert POD.at("metadata", "labels", "*").kind == "string"
    assert POD.at("spec", "nonsense") is None
    assert POD.at("spec", "nonsense", "deeper") is None


def test_recursive_definitions_are_compiled_as_they_are_walked():
    props = schema.type_of("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
    deeper = props.at("properties", "*", "properties", "*", "type")
    assert deeper is not None
    assert deeper.kind == "string"


def test_a_custom_schema():
    found = schema.of_openapi(
        {
            "type": "object",
            "properties": {
                "spec": {
                    "type": "object",
                    "required": ["size"],
                    "properties": {
                        "size": {"type": "integer", "format": "int32"},
                        "port": {"x-kubernetes-int-or-string": True},
                        "notes": {"type": "object", "additionalProperties": {"type": "string"}},
                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        "parts": {
                            "type": "array",
                            "items": {"type": "object", "properties": {"name": {"type": "string"}}},
                            "x-kubernetes-list-type": "map",
                            "x-kubernetes-list-map-keys": ["name"],
                        },
                    },
                }
            },
        },
        root=True,
    )
    assert found.fields["metadata"].name == schema.OBJECT_META
    spec = found.fields["spec"]
    assert spec.required == ("size",)
    assert {name: inner.kind for name, inner in spec.fields.items()} == {
        "size": "integer",
        "port": "int-or-string",
        "notes": "map",
        "free": "object",
        "parts": "list",
    }
    assert spec.fields["parts"].hints.map_keys == ("name",)


def test_missing_definitions_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="build_definitions"):
        schema.Definitions.read(tmp_path / "schema.json")
