import pytest

from pybernetes.api import decoding
from pybernetes.api.errors import BadRequest
from pybernetes.api.resources import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    LEASES,
    PODS,
    SECRETS,
    SERVICES,
)
from pybernetes.api.scheme import Scheme

SCHEME = Scheme.builtin()


def container(**fields):
    return {"spec": {"template": {"spec": {"containers": [{"name": "a", **fields}]}}}}


def refused(obj, row):
    with pytest.raises(BadRequest) as caught:
        SCHEME.conform(obj, row)
    assert caught.value.code == 400
    return str(caught.value)


def test_unknown_fields_go_and_are_named_with_their_place():
    obj = container(bar=1) | {"datax": 1, "metadata": {"name": "x", "foo": {}}}
    assert SCHEME.conform(obj, DEPLOYMENTS) == [
        'unknown field "spec.template.spec.containers[0].bar"',
        'unknown field "datax"',
        'unknown field "metadata.foo"',
    ]
    assert obj == container() | {"metadata": {"name": "x"}}


def test_the_strict_error_is_kubernetes_own():
    error = decoding.strict(['unknown field "datax"'], version="v1", kind="ConfigMap")
    assert str(error) == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "datax"'
    )


def test_nulls_go():
    obj = {"metadata": {"creationTimestamp": None, "name": "x"}, "spec": {"replicas": None}, "status": {}}
    assert SCHEME.conform(obj, DEPLOYMENTS) == []
    assert obj == {"metadata": {"name": "x"}, "spec": {}, "status": {}}


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        ({"spec": {"replicas": "3"}}, "string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"spec": {"replicas": 1.5}}, "number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        (
            {"spec": {"replicas": 1 << 31}},
            "number 2147483648 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        ({"spec": {"replicas": True}}, "bool into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"spec": {"paused": "no"}}, "string into Go struct field DeploymentSpec.spec.paused of type bool"),
        ({"spec": []}, "array into Go struct field Deployment.spec of type v1.DeploymentSpec"),
        ({"metadata": {"labels": {"a": 1}}}, "number into Go struct field ObjectMeta.metadata.labels of type string"),
        (
            {"metadata": {"labels": ["a"]}},
            "array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
        (
            {"spec": {"template": {"spec": {"containers": {}}}}},
            "object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            container(env=[{"name": "a", "value": 1}]),
            "number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
        ),
        (
            container(command=["a", 1]),
            "number into Go struct field Container.spec.template.spec.containers.command of type string",
        ),
    ],
)
def test_a_wrong_type_is_refused_in_the_words_of_gos_decoder(obj, text):
    whole = 'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal '
    assert refused(obj, DEPLOYMENTS) == whole + text


def test_the_first_wrong_type_is_the_one_reported():
    obj = {"spec": {"replicas": "x", "paused": "y"}}
    assert "replicas" in refused(obj, DEPLOYMENTS)


def test_quantities_become_canonical():
    obj = container(resources={"requests": {"cpu": 0.5, "memory": "1024Mi"}, "limits": {"cpu": 1}})
    SCHEME.conform(obj, DEPLOYMENTS)
    assert obj["spec"]["template"]["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "500m", "memory": "1Gi"},
        "limits": {"cpu": "1"},
    }


def test_times_become_canonical():
    obj = {
        "metadata": {"creationTimestamp": "2024-01-01T01:00:00+01:00"},
        "spec": {"renewTime": "2024-01-01T00:00:00Z"},
    }
    SCHEME.conform(obj, LEASES)
    assert obj["metadata"]["creationTimestamp"] == "2024-01-01T00:00:00Z"
    assert obj["spec"]["renewTime"] == "2024-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("obj", "row", "text"),
    [
        (container(resources={"limits": {"cpu": "x"}}), DEPLOYMENTS, "quantities must match the regular expression"),
        (container(resources={"limits": {"cpu": "1x"}}), DEPLOYMENTS, "quantities must match the regular expression"),
        (container(resources={"limits": {"cpu": "1Mn"}}), DEPLOYMENTS, "unable to parse quantity's suffix"),
        ({"metadata": {"creationTimestamp": "now"}}, PODS, 'parsing time "now"'),
        ({"data": {"a": "?"}}, SECRETS, "illegal base64 data at input byte 0"),
        (
            {"data": {"a": "YQ=="}, "stringData": {}, "type": "x", "immutable": 1},
            SECRETS,
            "number into Go struct field",
        ),
        ({"data": {"a": "YWÄ="}}, SECRETS, "illegal base64 data at input byte 2"),
        ({"data": {"a": "YWE"}}, SECRETS, "illegal base64 data at input byte 0"),
        (
            {"spec": {"ports": [{"targetPort": True}]}},
            SERVICES,
            "cannot unmarshal bool into Go value of type int32",
        ),
    ],
)
def test_values_with_a_form_of_their_own(obj, row, text):
    assert text in refused(obj, row)


def test_ports_by_number_or_name_are_kept_as_they_are():
    obj = {"spec": {"ports": [{"targetPort": 80}, {"targetPort": "http"}]}}
    assert SCHEME.conform(obj, SERVICES) == []
    assert [port["targetPort"] for port in obj["spec"]["ports"]] == [80, "http"]


def test_maps_of_text_may_hold_any_key():
    obj = {"data": {"any.key": "value", "kind": "x"}}
    assert SCHEME.conform(obj, CONFIG_MAPS) == []
    assert obj == {"data": {"any.key": "value", "kind": "x"}}


def test_a_subresources_body_has_its_own_type():
    scale = {"spec": {"replicas": 3}}
    assert SCHEME.conform(scale, DEPLOYMENTS, part="scale") == []
    assert SCHEME.conform({"deleteOptions": {"gracePeriodSeconds": 1}}, PODS, part="eviction") == []


def test_unknown_and_doubled_fields_are_named_in_the_order_of_the_document():
    body = b"""{"spec": {
      "unknown1": 1, "twice": 1, "twice": 2, "paused": true, "paused": false,
      "template": {"metadata": {"labels": {"a": "b", "a": "c"}},
                   "spec": {"containers": [{"name": "a", "nested": 1, "image": "x", "image": "y", "image": "z"}]}}}}"""
    assert decoding.duplicates(body)
    assert decoding.strict_problems(body, SCHEME.type(DEPLOYMENTS)) == [
        'unknown field "spec.unknown1"',
        'unknown field "spec.twice"',
        'duplicate field "spec.paused"',
        'duplicate field "spec.template.metadata.labels.a"',
        'unknown field "spec.template.spec.containers[0].nested"',
        'duplicate field "spec.template.spec.containers[0].image"',
    ]


@pytest.mark.parametrize("body", [b"{}", b'{"a": {"b": 1}, "c": {"b": 1}}', b'[{"a": 1}, {"a": 1}]', b"not json"])
def test_no_duplicates(body):
    assert not decoding.duplicates(body)


def definition(schema):
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {"metadata": {"name": "x"}, "spec": {"versions": [version]}}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"additionalProperties": ""}, "boolean or JSON schema expected"),
        ({"not": {"additionalItems": []}}, "boolean or JSON schema expected"),
        ({"items": ["x"]}, "string into Go struct field JSONSchemaProps.PATH.items of type v1.JSONSchemaProps"),
        ({"items": {"type": 1}}, "number into Go struct field JSONSchemaProps.PATH.items.type of type string"),
        ({"dependencies": {"a": [1]}}, "number into Go struct field JSONSchemaProps.PATH.dependencies of type string"),
    ],
)
def test_schemas_within_schemas_have_types_too(schema, text):
    """As Kubernetes' own types say (tools/oracle): what stands beside a boolean or a list is a schema."""
    said = refused(definition(schema), CUSTOM_RESOURCE_DEFINITIONS)
    assert said.endswith(text.replace("PATH", "spec.versions.schema.openAPIV3Schema"))


@pytest.mark.parametrize(
    ("schema", "kept"),
    [
        ({"items": {"spam": 1, "type": "string"}}, {"items": {"type": "string"}}),
        ({"items": [{"spam": 1}, None]}, {"items": [{}, {}]}),
        ({"items": "x"}, {"items": None}),
        ({"additionalProperties": False}, {"additionalProperties": False}),
        ({"dependencies": {"a": {"spam": 1}, "b": ["c"]}}, {"dependencies": {"a": {}, "b": ["c"]}}),
        (
            {"additionalProperties": {"items": {"spam": 1, "default": {"any": 1}}}},
            {"additionalProperties": {"items": {"default": {"any": 1}}}},
        ),
    ],
)
def test_what_schemas_within_schemas_do_not_know_goes_untold(schema, kept):
    obj = definition(schema)
    assert SCHEME.conform(obj, CUSTOM_RESOURCE_DEFINITIONS) == []
    assert obj == definition(kept)
