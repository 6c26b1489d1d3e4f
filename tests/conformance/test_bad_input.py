"""What is wrong is refused as Kubernetes refuses it: the right Status, its causes, and nothing half stored."""

import json
import re

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]

PROTOBUF = "application/vnd.kubernetes.protobuf"


def service(name, **spec):
    return json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})


def deployment(name, *, label="a", template_label=None, **spec):
    template = {
        "metadata": {"labels": {"app": template_label or label}},
        "spec": {"containers": [{"name": "main", "image": "host", "command": ["sleep", "3600"]}]},
    }
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": label}}, "template": template} | spec
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})


def pod(name, *, labels=None, **container):
    container = {"name": "main", "image": "host", "command": ["sleep", "3600"]} | container
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels or {}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
        }
    )


@pytest.fixture
def refused(cluster, namespace):
    def check(text, *flags):
        """The words of kubectl's refusal; nothing of the object is there afterwards."""
        said = cluster.refused("apply", *flags, "-n", namespace, "-f", "-", text=text)
        asked = json.loads(text)
        left = cluster.kubectl("get", asked["kind"].lower(), "-n", namespace, "-o", "name")
        assert f"/{asked['metadata']['name']}\n" not in left
        assert "Traceback" not in said
        return said

    return check


@pytest.fixture
def apply(cluster, namespace):
    return lambda text: cluster.kubectl("apply", "-n", namespace, "-f", "-", text=text)


# manifests


def test_an_unknown_field_is_named_by_its_path(refused):
    said = refused(pod("unknown-field", comand=["x"]))
    assert said.startswith("Error from server (BadRequest): ")
    assert 'strict decoding error: unknown field "spec.containers[0].comand"' in said


def test_an_unknown_field_is_dropped_with_a_warning_when_asked(cluster, namespace):
    done = cluster.run(
        "kubectl",
        "apply",
        "--validate=warn",
        "-n",
        namespace,
        "-f",
        "-",
        text=service("lenient", prots=[], ports=[{"port": 80}]),
    )
    assert 'Warning: unknown field "spec.prots"' in done.stderr
    assert "prots" not in cluster.get("service", "lenient", "-n", namespace)["spec"]


def test_a_field_given_twice_is_named(raw, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps?fieldValidation=Strict"
    body = b'{"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "twice"}, "data": {}, "data": {"a": "b"}}'
    status = raw.post(path, body).status
    assert (status["code"], status["reason"]) == (400, "BadRequest")
    assert 'duplicate field "data"' in status["message"]


@pytest.mark.parametrize("flag", ["--validate=strict", "--validate=false"])
def test_a_wrong_type_is_told_with_its_field(refused, flag):
    said = refused(deployment("wrong-type", replicas="three"), flag)
    assert said.startswith("Error from server (BadRequest): ")
    assert "cannot be handled as a Deployment" in said
    assert "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32" in said


@pytest.mark.parametrize("name", ["1_Bad", "UPPER", "a" * 64, "-a", "a.b"])
def test_an_invalid_name_is_told_with_the_rule(refused, name):
    said = refused(service(name, ports=[{"port": 80}]))
    assert f'The Service "{name}" is invalid: metadata.name: Invalid value: "{name}": ' in said


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_an_invalid_port(refused, port):
    said = refused(service("bad-port", ports=[{"port": port, "targetPort": 80}]))
    assert f"spec.ports[0].port: Invalid value: {port}: must be between 1 and 65535, inclusive" in said


def test_all_errors_are_told_at_once(refused):
    ports = [{"name": "a", "port": 99999, "targetPort": 80}, {"name": "b", "port": 80, "protocol": "ICMP"}]
    said = refused(service("9several", type="Wrong", sessionAffinity="Always", ports=ports))
    assert said.startswith('The Service "9several" is invalid: \n')
    for line in (
        "* spec.ports[0].port: Invalid value: 99999: must be between 1 and 65535, inclusive",
        '* spec.ports[1].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
        '* spec.sessionAffinity: Unsupported value: "Always": supported values: "ClientIP", "None"',
        '* spec.type: Unsupported value: "Wrong": supported values: "ClusterIP", "ExternalName", ',
    ):
        assert line in said


def test_the_status_lists_a_cause_for_each_error(raw, namespace):
    ports = [{"name": "a", "port": 99999}, {"name": "a", "port": 80}]
    answer = raw.post(f"/api/v1/namespaces/{namespace}/services", service("causes", ports=ports).encode())
    status = answer.status
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert (status["details"]["name"], status["details"]["kind"]) == ("causes", "Service")
    causes = {(cause["reason"], cause["field"]) for cause in status["details"]["causes"]}
    assert causes >= {("FieldValueInvalid", "spec.ports[0].port"), ("FieldValueDuplicate", "spec.ports[1].name")}
    assert all(cause["message"] for cause in status["details"]["causes"])


def test_ports_of_a_service_need_different_names_and_numbers(refused):
    ports = [{"name": "a", "port": 80}, {"name": "a", "port": 81}, {"port": 82}, {"name": "d", "port": 80}]
    said = refused(service("same-names", ports=ports))
    assert 'spec.ports[1].name: Duplicate value: "a"' in said
    assert "spec.ports[2].name: Required value" in said
    assert "spec.ports[3]: Duplicate value: " in said


def test_a_service_without_ports(refused):
    assert "spec.ports: Required value" in refused(service("no-ports", selector={"a": "b"}))


def test_a_selector_that_does_not_match_its_template(refused):
    said = refused(deployment("mismatch", template_label="other"))
    assert "spec.template.metadata.labels: Invalid value: " in said
    assert "`selector` does not match template `labels`" in said


def test_a_selector_is_immutable(cluster, namespace, apply):
    apply(deployment("fixed"))
    said = cluster.refused("apply", "-n", namespace, "-f", "-", text=deployment("fixed", label="b"))
    assert 'The Deployment "fixed" is invalid: ' in said
    assert 'spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable' in said
    assert cluster.get("deployment", "fixed", "-n", namespace)["spec"]["selector"] == {"matchLabels": {"app": "a"}}


def test_the_containers_of_a_pod_are_immutable(cluster, namespace, apply):
    apply(pod("running"))
    said = cluster.refused(
        "patch", "pod", "running", "-n", namespace, "-p", json.dumps({"spec": {"hostNetwork": True}})
    )
    assert "Forbidden: pod updates may not change fields other than" in said


def test_what_a_namespace_has_not(cluster, namespace):
    assert "(NotFound)" in cluster.refused("get", "service", "nothing", "-n", namespace)
    assert "(NotFound)" in cluster.refused("delete", "pod", "nothing", "-n", namespace)
    said = cluster.refused("create", "-n", "nowhere", "-f", "-", text=service("lost", ports=[{"port": 80}]))
    assert 'namespaces "nowhere" not found' in said
    twice = cluster.refused("create", "namespace", namespace)
    assert twice == f'Error from server (AlreadyExists): namespaces "{namespace}" already exists\n'


def test_a_kind_that_nobody_serves(cluster):
    said = cluster.refused("apply", "-f", "-", text="apiVersion: nobody.example/v1\nkind: Thing\nmetadata: {name: a}\n")
    assert 'no matches for kind "Thing" in version "nobody.example/v1"' in said


# addresses and ports of a Service


@pytest.fixture
def free(cluster):
    """An address of the Service range that nobody has, from its upper half, where none is handed out by itself."""
    first = cluster.get("service", "kubernetes", "-n", "default")["spec"]["clusterIP"]
    return re.sub(r"\d+\.\d+$", "200.77", first)


def test_a_cluster_ip_in_use_and_one_out_of_range(cluster, refused):
    used = cluster.get("service", "kubernetes", "-n", "default")["spec"]["clusterIP"]
    said = refused(service("used-ip", clusterIP=used, ports=[{"port": 80}]))
    assert f'spec.clusterIPs: Invalid value: ["{used}"]: failed to allocate IP {used}: ' in said
    assert "provided IP is already allocated" in said
    said = refused(service("outside", clusterIP="192.0.2.1", ports=[{"port": 80}]))
    assert "the provided IP (192.0.2.1) is not in the valid range. The range of valid IPs is " in said
    said = refused(service("no-ip", clusterIP="300.1.1.1", ports=[{"port": 80}]))
    assert 'Invalid value: "300.1.1.1": must be a valid IP address' in said


def test_a_node_port_in_use_out_of_range_or_given_twice(apply, refused):
    apply(service("has-node-port", type="NodePort", ports=[{"port": 80, "nodePort": 32001}]))
    said = refused(service("used-port", type="NodePort", ports=[{"port": 80, "nodePort": 32001}]))
    assert "spec.ports[0].nodePort: Invalid value: 32001: provided port is already allocated" in said
    said = refused(service("low-port", type="NodePort", ports=[{"port": 80, "nodePort": 80}]))
    assert "provided port is not in the valid range. The range of valid ports is 30000-32767" in said
    ports = [{"name": "a", "port": 80, "nodePort": 32002}, {"name": "b", "port": 81, "nodePort": 32002}]
    assert "spec.ports[1].nodePort: Duplicate value: 32002" in refused(service("twice", type="NodePort", ports=ports))


def test_what_a_refused_service_had_taken_is_free_again(cluster, namespace, apply, refused, free):
    apply(service("blocks", type="NodePort", ports=[{"port": 80, "nodePort": 32003}]))
    ports = [{"name": "a", "port": 80, "nodePort": 32004}, {"name": "b", "port": 81, "nodePort": 32003}]
    refused(service("half", type="NodePort", clusterIP=free, ports=ports))
    apply(service("whole", type="NodePort", clusterIP=free, ports=ports[:1]))
    spec = cluster.get("service", "whole", "-n", namespace)["spec"]
    assert (spec["clusterIP"], spec["ports"][0]["nodePort"]) == (free, 32004)
    cluster.kubectl("delete", "service", "whole", "-n", namespace)


def test_a_dry_run_takes_nothing(cluster, namespace, apply, free):
    text = service("rehearsed", type="NodePort", clusterIP=free, ports=[{"port": 80, "nodePort": 32005}])
    for _ in range(2):
        cluster.kubectl("apply", "--dry-run=server", "-n", namespace, "-f", "-", text=text)
    apply(text)
    cluster.kubectl("delete", "service", "rehearsed", "-n", namespace)


def test_a_cluster_ip_is_immutable(cluster, namespace, apply, free):
    apply(service("settled", ports=[{"port": 80}]))
    patch = json.dumps({"spec": {"clusterIP": free}})
    said = cluster.refused("patch", "service", "settled", "-n", namespace, "-p", patch)
    assert "field is immutable" in said or "may not change once set" in said


def test_a_target_port_that_no_pod_has_gives_no_endpoints(cluster, namespace, apply):
    apply(pod("unnamed", labels={"app": "unnamed"}, ports=[{"name": "http", "containerPort": 80}]))
    apply(service("misnamed", selector={"app": "unnamed"}, ports=[{"port": 80, "targetPort": "web"}]))
    apply(service("named", selector={"app": "unnamed"}, ports=[{"port": 80, "targetPort": "http"}]))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/unnamed", "-n", namespace, "--timeout=100s")
    cluster.until(lambda: endpoints(cluster, namespace, "named"), what="endpoints of the name that is there")
    assert endpoints(cluster, namespace, "misnamed") == []
    assert re.search(r"^misnamed +<none> ", cluster.kubectl("get", "endpoints", "misnamed", "-n", namespace), re.M)


def endpoints(cluster, namespace, name):
    """ip:port of each endpoint in the slices of a Service."""
    slices = cluster.get("endpointslices", "-n", namespace, "-l", f"kubernetes.io/service-name={name}")["items"]
    return [
        f"{address}:{port['port']}"
        for one in slices
        for endpoint in one.get("endpoints") or []
        for address in endpoint["addresses"]
        for port in one.get("ports") or []
        if port.get("port")
    ]


# pods that cannot run


CANNOT_RUN = {
    "no-command": pod("no-command", command=["/no/such/thing"]),
    "no-engine": pod("no-engine", image="nginx:1.27"),
    "no-map": pod("no-map", envFrom=[{"configMapRef": {"name": "missing-map"}}]),
    "no-key": pod("no-key", env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "missing-key", "key": "a"}}}]),
}


@pytest.fixture(scope="module")
def stuck(cluster, namespace):
    for text in CANNOT_RUN.values():
        cluster.kubectl("apply", "-n", namespace, "-f", "-", text=text)


def waits_with(cluster, namespace, name, *reasons):
    def reason():
        statuses = cluster.get("pod", name, "-n", namespace)["status"].get("containerStatuses") or [{"state": {}}]
        return statuses[0]["state"].get("waiting", {}).get("reason") in reasons

    cluster.until(reason, what=f"{name} waits with one of {reasons}")
    return cluster.kubectl("describe", "pod", name, "-n", namespace)


def test_a_command_that_does_not_exist(cluster, namespace, stuck):
    told = waits_with(cluster, namespace, "no-command", "CrashLoopBackOff", "RunContainerError")
    assert "/no/such/thing" in told.partition("Last State:")[2].partition("Conditions:")[0]
    assert "Thu, 01 Jan 1970 00:00:00 +0000" in told  # it never started
    cluster.until(
        lambda: re.search(
            r"Warning +Failed .*/no/such/thing.*no such file",
            cluster.kubectl("describe", "pod", "no-command", "-n", namespace),
        ),
        what="an event says why",
    )
    assert re.search(r"(CrashLoopBackOff|RunContainerError)", cluster.kubectl("get", "pods", "-n", namespace))


def test_an_image_without_an_engine_says_what_to_do(cluster, namespace, stuck):
    waits_with(cluster, namespace, "no-engine", "ErrImagePull", "ImagePullBackOff")
    told = cluster.until(
        lambda: re.search(
            r"Warning +Failed .*nginx:1\.27.*", cluster.kubectl("describe", "pod", "no-engine", "-n", namespace)
        ),
        what="an event says why",
    )
    assert "no container engine" in told[0]
    assert "image: host" in told[0]
    assert "ErrImagePull" in cluster.kubectl("describe", "pod", "no-engine", "-n", namespace)
    assert "is waiting to start: " in cluster.refused("logs", "no-engine", "-n", namespace)


@pytest.mark.parametrize(("name", "what"), [("no-map", 'configmap "missing-map"'), ("no-key", 'secret "missing-key"')])
def test_missing_configuration_is_named_and_once_there_the_pod_runs(cluster, namespace, stuck, name, what):
    waits_with(cluster, namespace, name, "CreateContainerConfigError")
    status = cluster.get("pod", name, "-n", namespace)["status"]["containerStatuses"][0]
    assert status["state"]["waiting"]["message"] == f"{what} not found"
    kind = "configmap" if name == "no-map" else "secret generic"
    cluster.kubectl("create", *kind.split(), what.split('"')[1], "--from-literal=a=b", "-n", namespace)
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", namespace, "--timeout=100s")


# bodies, content types and paths


BODIES = [
    (b"{", "application/json"),
    (b"", "application/json"),
    (b"[]", "application/json"),
    (b'"text"', "application/json"),
    (b"null", "application/json"),
    (b"\xff\xfe\x00", "application/json"),
    (b'{"kind": "ConfigMap", "apiVersion": "v1", "metadata": []}', "application/json"),
    (b'{"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": 7}}', "application/json"),
    (
        b'{"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": {"b": 1}}, "metadata": {"name": "x"}}',
        "application/json",
    ),
    (b"[" * 100_000, "application/json"),
    (b'{"a":' * 50_000, "application/json"),
    (b"a: [", "application/yaml"),
    (b"a: &a [*a]", "application/yaml"),
    (b"!!python/object/apply:os.getcwd []", "application/yaml"),
    (b"k8s\x00", PROTOBUF),
    (b"k8s\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", PROTOBUF),
    (b"k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x05\xff\xff\xff\xff\xff", PROTOBUF),
    (b"not protobuf", PROTOBUF),
    (b"", PROTOBUF),
]


@pytest.mark.parametrize(("body", "kind"), BODIES, ids=[f"{kind[12:]}-{body[:18]!r}" for body, kind in BODIES])
def test_a_body_that_makes_no_sense_is_a_bad_request(raw, namespace, body, kind):
    status = raw.post(f"/api/v1/namespaces/{namespace}/configmaps", body, kind).status
    assert (status["code"], status["reason"]) == (400, "BadRequest")


def test_another_kind_than_the_path_says(raw, namespace):
    status = raw.post(f"/api/v1/namespaces/{namespace}/configmaps", service("x", ports=[{"port": 80}]).encode()).status
    assert (status["code"], status["reason"]) == (400, "BadRequest")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "elsewhere"}}
    status = raw.post(f"/api/v1/namespaces/{namespace}/configmaps", body).status
    assert (status["code"], status["reason"]) == (400, "BadRequest")
    assert "namespace" in status["message"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_a_content_type_that_is_not_read(raw, namespace, kind):
    status = raw.post(f"/api/v1/namespaces/{namespace}/configmaps", b"a=b", kind).status
    assert (status["code"], status["reason"]) == (415, "UnsupportedMediaType")


def test_a_patch_needs_the_name_of_its_kind(raw, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt"
    status = raw.send("PATCH", path, body=b"{}", headers={"Content-Type": "application/json"}).status
    assert (status["code"], status["reason"]) == (415, "UnsupportedMediaType")
    bad = {"application/merge-patch+json": b"[1", "application/json-patch+json": b"{}"}
    bad["application/strategic-merge-patch+json"] = b'"text"'
    for kind, body in bad.items():
        status = raw.send("PATCH", path, body=body, headers={"Content-Type": kind}).status
        assert (kind, status["code"], status["reason"]) == (kind, 400, "BadRequest")
    for step in ({"op": "test", "path": "/metadata/name", "value": "other"}, {"op": "remove", "path": "/data/none"}):
        body = json.dumps([step]).encode()
        status = raw.send("PATCH", path, body=body, headers={"Content-Type": "application/json-patch+json"}).status
        assert (status["code"], status["reason"]) == (422, "Invalid")


def test_an_answer_in_a_form_nobody_writes(raw):
    status = raw.send("GET", "/api/v1/namespaces", headers={"Accept": "text/csv"})
    assert status.code == 406


@pytest.mark.parametrize(
    "path",
    [
        "/no/such/path",
        "/api/v2",
        "/api/v1/nothings",
        "/api/v1/namespaces/default/nothings",
        "/apis/nobody.example/v1",
        "/apis/apps/v1/namespaces/default/nothings/x",
        "/api/v1/namespaces/default/pods/nothing/unknown",
        "/api/v1/namespaces/default/pods/nothing",
        "/api/v1/namespaces/default/pods/nothing/log",
    ],
)
def test_an_unknown_path_is_not_found(raw, path):
    answer = raw.send("GET", path)
    assert answer.code == 404
    if answer.headers["content-type"].startswith("application/json"):
        assert answer.status["reason"] == "NotFound"


def test_a_path_that_climbs_out_reaches_nothing(raw):
    for path in (
        "/api/v1/namespaces/default/pods/%2e%2e%2f%2e%2e",
        "/api/v1/../../etc/passwd",
        "/api/v1/namespaces/%zz",
    ):
        assert raw.send("GET", path).code in {301, 400, 404}


def test_a_method_that_a_path_does_not_have(raw):
    for method, path in (("PUT", "/api/v1/namespaces"), ("POST", "/api/v1/namespaces/default"), ("PATCH", "/version")):
        answer = raw.send(method, path, body=b"{}", headers={"Content-Type": "application/json"})
        assert answer.code in {404, 405}


@pytest.mark.parametrize(
    "query",
    [
        "labelSelector=a%20b%20c",
        "fieldSelector=spec.nothing%3Da",
        "limit=many",
        "continue=nonsense",
        "resourceVersion=x",
    ],
)
def test_a_query_that_makes_no_sense(raw, namespace, query):
    status = raw.send("GET", f"/api/v1/namespaces/{namespace}/pods?{query}").status
    assert (status["code"], status["reason"]) == (400, "BadRequest")


def test_a_stranger_is_told_nothing_but_health(raw):
    for path in ("/livez", "/readyz", "/healthz"):
        assert raw.send("GET", path, known=False).body == b"ok"
    status = raw.send("GET", "/api/v1/namespaces/kube-system/secrets", known=False).status
    assert status["reason"] in {"Unauthorized", "Forbidden"}
    token = {"Authorization": "Bearer nonsense"}
    status = raw.send("GET", "/api/v1/namespaces", headers=token, known=False).status
    assert (status["code"], status["reason"]) == (401, "Unauthorized")


def test_a_stale_update_is_a_conflict(raw, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    made = json.loads(raw.post(path, {"metadata": {"name": "contended"}, "data": {"a": "1"}}).body)
    headers = {"Content-Type": "application/json"}
    body = json.dumps(made | {"data": {"a": "2"}}).encode()
    assert raw.send("PUT", f"{path}/contended", body=body, headers=headers).code == 200
    status = raw.send("PUT", f"{path}/contended", body=body.replace(b'"2"', b'"3"'), headers=headers).status
    assert (status["code"], status["reason"]) == (409, "Conflict")
    assert status["message"].endswith("please apply your changes to the latest version and try again")
