"""A custom resource in two versions, converted by a webhook that is a pod behind a Service."""

import json

import pytest

from pybernetes.pki import Authority

from .test_admission import applied, encoded, pod

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]

# v1 has hostPort, v2 host and port.
WEBHOOK = r"""
import http.server, json, ssl
def turned(obj, desired):
    spec = obj.get("spec") or {}
    if desired.endswith("/v2") and "hostPort" in spec:
        spec["host"], _, spec["port"] = spec.pop("hostPort").partition(":")
    elif desired.endswith("/v1") and "host" in spec:
        spec["hostPort"] = spec.pop("host") + ":" + spec.pop("port")
    return obj | {"apiVersion": desired}
class Hook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))["request"]
        objects = [turned(obj, request["desiredAPIVersion"]) for obj in request["objects"]]
        response = {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": objects}
        review = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response}
        body = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("", 8443), Hook)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/certs/tls.crt", "/certs/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
NAME = "links.conversion.example.com"
KIND = {"v1": "links.v1.conversion.example.com", "v2": "links.v2.conversion.example.com"}


def version(name, *fields, storage):
    spec = {"type": "object", "properties": {field: {"type": "string"} for field in fields}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    columns = [{"name": field, "type": "string", "jsonPath": f".spec.{field}"} for field in fields]
    found = {"name": name, "served": True, "storage": storage, "schema": schema}
    return found | {"additionalPrinterColumns": columns}


def definition(namespace, bundle):
    service = {"namespace": namespace, "name": "converter", "path": "/convert"}
    webhook = {"clientConfig": {"service": service, "caBundle": bundle}, "conversionReviewVersions": ["v1"]}
    spec = {
        "group": "conversion.example.com",
        "scope": "Namespaced",
        "names": {"plural": "links", "kind": "Link"},
        "versions": [version("v1", "hostPort", storage=True), version("v2", "host", "port", storage=False)],
        "conversion": {"strategy": "Webhook", "webhook": webhook},
    }
    kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    return kind | {"metadata": {"name": NAME}, "spec": spec}


def link(name, api, **spec):
    return {"apiVersion": f"conversion.example.com/{api}", "kind": "Link", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def links(cluster, namespace, tmp_path_factory):
    """The definition, and its webhook that answers."""
    authority = Authority.ensure(tmp_path_factory.mktemp("conversion") / "pki")
    name = f"converter.{namespace}.svc"
    pair = authority.issue("hook", user=name, dns=[name], server=True, client=False)
    data = {"tls.crt": encoded(pair.certificate), "tls.key": encoded(pair.key)}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "certs"}, "data": data}
    spec = {"selector": {"app": "converter"}, "ports": [{"port": 443, "targetPort": 8443}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "converter"}, "spec": spec}
    hook = pod("converter", command=["python3", "-c", WEBHOOK])
    hook["spec"]["containers"][0] |= {
        "volumeMounts": [{"name": "certs", "mountPath": "/certs"}],
        "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
    }
    hook["spec"]["volumes"] = [{"name": "certs", "secret": {"secretName": "certs"}}]
    applied(cluster, namespace, secret, service, hook)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/converter", "-n", namespace, "--timeout=100s")
    cluster.kubectl("wait", "--for=jsonpath={.endpoints[0].conditions.ready}=true", "endpointslice", "-n", namespace,
                    "-l", "kubernetes.io/service-name=converter", "--timeout=100s")  # fmt: skip
    applied(cluster, namespace, definition(namespace, encoded(authority.certificate)))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{NAME}", "--timeout=100s")
    try:
        yield
    finally:
        cluster.kubectl("delete", "crd", NAME, "--ignore-not-found", "--timeout=100s")
        cluster.kubectl("delete", "pod", "converter", "-n", namespace, "--now")


def test_should_be_able_to_convert_from_cr_v1_to_cr_v2(cluster, namespace, links):
    applied(cluster, namespace, link("one", "v1", hostPort="localhost:8080"))
    assert cluster.get(f"{KIND['v2']}/one", "-n", namespace)["spec"] == {"host": "localhost", "port": "8080"}
    head, row = cluster.kubectl("get", KIND["v2"], "-n", namespace).splitlines()
    assert (head.split(), row.split()) == (["NAME", "HOST", "PORT"], ["one", "localhost", "8080"])
    cluster.kubectl("patch", KIND["v2"], "one", "-n", namespace, "--type=merge", "-p", '{"spec": {"port": "9"}}')
    assert cluster.get(f"{KIND['v1']}/one", "-n", namespace)["spec"] == {"hostPort": "localhost:9"}
    text = json.dumps(link("two", "v2", host="example.com", port="80"))
    cluster.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", text=text)
    assert cluster.get(f"{KIND['v1']}/two", "-n", namespace)["spec"] == {"hostPort": "example.com:80"}
    cluster.kubectl("delete", KIND["v2"], "two", "one", "-n", namespace)


def test_should_be_able_to_convert_a_non_homogeneous_list_of_crs(cluster, namespace, links):
    applied(cluster, namespace, link("one", "v1", hostPort="localhost:8080"))
    crd = cluster.get(f"crd/{NAME}")
    for each in crd["spec"]["versions"]:
        each["storage"] = each["name"] == "v2"
    cluster.kubectl("replace", "-f", "-", text=json.dumps(crd))
    applied(cluster, namespace, link("two", "v2", host="example.com", port="80"))
    wanted = {
        "v1": [{"hostPort": "localhost:8080"}, {"hostPort": "example.com:80"}],
        "v2": [{"host": "localhost", "port": "8080"}, {"host": "example.com", "port": "80"}],
    }
    for api, specs in wanted.items():
        assert [item["spec"] for item in cluster.get(KIND[api], "-n", namespace)["items"]] == specs
    assert cluster.get(f"crd/{NAME}")["status"]["storedVersions"] == ["v1", "v2"]
    cluster.kubectl("delete", KIND["v1"], "--all", "-n", namespace)


def test_without_the_webhook_the_stored_version_still_works(cluster, namespace, links):
    applied(cluster, namespace, link("one", "v2", host="localhost", port="1"))
    cluster.kubectl("delete", "service", "converter", "-n", namespace)
    told = cluster.refused("get", f"{KIND['v1']}/one", "-n", namespace)
    failed = "Error from server: conversion webhook for conversion.example.com/v2, Kind=Link failed: "
    post = f'Post "https://converter.{namespace}.svc:443/convert?timeout=30s": service "converter" not found'
    assert failed + post in told
    assert cluster.get(f"{KIND['v2']}/one", "-n", namespace)["spec"]["host"] == "localhost"
    cluster.kubectl("delete", KIND["v2"], "one", "-n", namespace)
    cluster.kubectl("delete", "crd", NAME, "--timeout=100s")
