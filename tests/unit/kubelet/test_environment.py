"""Variables, commands, the downward API."""

import base64

import pytest

from pybernetes.kubelet.environment import (
    ConfigError,
    command,
    environment,
    expand,
    field_value,
    resource_value,
    service_variables,
)
from support.kubelet import container, pod

CONFIG = {"kind": "ConfigMap", "data": {"a": "1", "1-name": "x"}}
SECRET = {"kind": "Secret", "data": {"password": base64.b64encode(b"hunter2").decode()}}


def lookup(kind, name):
    return {("ConfigMap", "config"): CONFIG, ("Secret", "secret"): SECRET}.get((kind, name))


def variables(the_container, services=None):
    return environment(
        pod(),
        the_container,
        services=services or {},
        lookup=lookup,
        status={"podIP": "10.0.0.1"},
        allocatable={"cpu": "2"},
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$(A)-$(B)", "1-$(B)"), ("$$(A)", "$(A)"), ("$A", "$A"), ("$(A)$(A)", "11"), ("$$$(A)", "$1"), ("$(", "$(")],
)
def test_expansion(text, expected):
    assert expand(text, {"A": "1"}) == expected


def test_order_of_precedence():
    one = container(
        envFrom=[{"configMapRef": {"name": "config"}}, {"prefix": "S_", "secretRef": {"name": "secret"}}],
        env=[
            {"name": "A", "value": "first"},
            {"name": "B", "value": "$(A) $(a) $(SERVICE)"},
            {"name": "a", "value": "2"},
        ],
    )
    found = variables(one, {"SERVICE": "s", "A": "service"})
    assert found == {"SERVICE": "s", "A": "first", "a": "2", "1-name": "x", "S_password": "hunter2", "B": "first 1 s"}


def test_value_from():
    refs = {
        "KEY": {"configMapKeyRef": {"name": "config", "key": "a"}},
        "SECRET": {"secretKeyRef": {"name": "secret", "key": "password"}},
        "IP": {"fieldRef": {"fieldPath": "status.podIP"}},
        "CPU": {"resourceFieldRef": {"resource": "limits.cpu"}},
        "GONE": {"configMapKeyRef": {"name": "none", "key": "a", "optional": True}},
    }
    one = container(env=[{"name": name, "valueFrom": source} for name, source in refs.items()])
    assert variables(one) == {"KEY": "1", "SECRET": "hunter2", "IP": "10.0.0.1", "CPU": "2"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "none", "key": "a"}}, 'configmap "none" not found'),
        ({"configMapKeyRef": {"name": "config", "key": "z"}}, "couldn't find key z in ConfigMap default/config"),
        ({"secretKeyRef": {"name": "none", "key": "a"}}, 'secret "none" not found'),
    ],
)
def test_what_is_missing_is_said(source, message):
    with pytest.raises(ConfigError, match=message):
        variables(container(env=[{"name": "X", "valueFrom": source}]))


def test_command_and_args_are_expanded():
    one = {"name": "c", "command": ["run", "$(A)"], "args": ["--x=$(B)", "$$(A)"]}
    assert command(one, {"A": "1"}) == ("run", "1", "--x=$(B)", "$(A)")


def test_downward_fields():
    the_pod = pod()
    the_pod["metadata"] |= {"labels": {"b": '2"', "a": "1"}, "annotations": {"x": "y"}}
    assert field_value(the_pod, "metadata.labels", {}) == 'a="1"\nb="2\\""'
    assert field_value(the_pod, "metadata.labels['a']", {}) == "1"
    assert field_value(the_pod, "metadata.annotations['x']", {}) == "y"
    assert field_value(the_pod, "spec.nodeName", {}) == "node-1"
    with pytest.raises(ConfigError):
        field_value(the_pod, "spec.containers", {})


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"resource": "limits.cpu"}, "1"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "500"),
        ({"resource": "requests.memory"}, "1048576"),
        ({"resource": "requests.memory", "divisor": "1Mi"}, "1"),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "16"),
    ],
)
def test_resource_fields(reference, expected):
    one = container(resources={"limits": {"cpu": "500m"}, "requests": {"memory": "1Mi"}})
    assert resource_value(pod("p", one), one, reference, {"memory": "16Mi"}) == expected


def service(service_name, address="10.96.0.5", namespace="default", **port):
    port = {"port": 80, "protocol": "TCP"} | port
    return {"metadata": {"name": service_name, "namespace": namespace}, "spec": {"clusterIP": address, "ports": [port]}}


def test_service_variables():
    services = [service("web-api", name="http"), service("elsewhere", namespace="other"), service("headless", "None")]
    assert service_variables(pod(), services) == {
        "WEB_API_SERVICE_HOST": "10.96.0.5",
        "WEB_API_SERVICE_PORT": "80",
        "WEB_API_SERVICE_PORT_HTTP": "80",
        "WEB_API_PORT": "tcp://10.96.0.5:80",
        "WEB_API_PORT_80_TCP": "tcp://10.96.0.5:80",
        "WEB_API_PORT_80_TCP_PROTO": "tcp",
        "WEB_API_PORT_80_TCP_PORT": "80",
        "WEB_API_PORT_80_TCP_ADDR": "10.96.0.5",
    }


def test_without_service_links_only_the_api_server_is_named():
    services = [service("web"), service("kubernetes", "10.96.0.1", port=443)]
    found = service_variables(pod(enableServiceLinks=False), services)
    assert found["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert not any(name.startswith("WEB") for name in found)
