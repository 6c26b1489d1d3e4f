import pytest

from pybernetes.api.objects import copied
from support.admitted import accepted, admit


def config_map(**fields):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}} | fields


def secret(**fields):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}} | fields


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"data": {"a/b": ""}}, ["data[a/b]"]),
        ({"data": {"..": ""}}, ["data[..]"]),
        ({"data": {"a": ""}, "binaryData": {"a": ""}}, ["data[a]"]),
        ({"data": {"a": "x" * 1048577}}, [""]),
        ({"binaryData": {"a b": ""}}, ["binaryData[a b]"]),
    ],
)
def test_config_maps(fields, wrong):
    assert admit(config_map(**fields)).fields == wrong


def test_an_immutable_config_map():
    old = accepted(config_map(data={"a": "b"}, immutable=True))
    new = copied(old) | {"data": {"a": "c"}, "immutable": False}
    assert admit(new, old).texts == [
        "immutable: Forbidden: field is immutable when `immutable` is set",
        "data: Forbidden: field is immutable when `immutable` is set",
    ]
    assert admit(old, old).texts == []


def test_string_data_is_merged_and_goes():
    found = accepted(secret(data={"a": "YQ==", "b": "Yg=="}, stringData={"a": "ä", "c": ""}))
    assert found["data"] == {"a": "w6Q=", "b": "Yg==", "c": ""}
    assert "stringData" not in found
    assert found["type"] == "Opaque"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"type": "kubernetes.io/tls"}, ["data[tls.crt]", "data[tls.key]"]),
        ({"type": "kubernetes.io/ssh-auth"}, ["data[ssh-privatekey]"]),
        ({"type": "kubernetes.io/basic-auth"}, ["data[username]", "data[password]"]),
        ({"type": "kubernetes.io/basic-auth", "stringData": {"password": "x"}}, []),
        ({"type": "kubernetes.io/service-account-token"}, ["metadata.annotations[kubernetes.io/service-account.name]"]),
        ({"type": "helm.sh/release.v1", "stringData": {"release": "x"}}, []),
        ({"data": {"a b": ""}}, ["data[a b]"]),
    ],
)
def test_secrets(fields, wrong):
    assert admit(secret(**fields)).fields == wrong


def test_a_secrets_type_stays():
    old = accepted(secret(type="a/b"))
    assert admit(secret(type="a/c"), old).texts == ['type: Invalid value: "a/c": field is immutable']
