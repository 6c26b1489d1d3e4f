import pytest

from pybernetes.api.kinds.pod_defaults import pull_policy
from pybernetes.api.kinds.pods import PodStrategy, qos_class
from pybernetes.api.objects import copied
from support.admitted import accepted, admit, changed


def pod(*containers, **spec):
    found = list(containers) or [{"name": "a", "image": "host"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": found, **spec}}


def one(**fields):
    return pod({"name": "a", "image": "host", **fields})


def test_defaults_that_clients_rely_on():
    found = accepted(one(ports=[{"containerPort": 80}], readinessProbe={"httpGet": {"port": "http"}}))
    assert found["spec"] == {
        "containers": [
            {
                "name": "a",
                "image": "host",
                "imagePullPolicy": "Always",
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "resources": {},
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "readinessProbe": {
                    "httpGet": {"port": "http", "path": "/", "scheme": "HTTP"},
                    "timeoutSeconds": 1,
                    "periodSeconds": 10,
                    "successThreshold": 1,
                    "failureThreshold": 3,
                },
            }
        ],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "enableServiceLinks": True,
    }
    assert found["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert found["metadata"]["generation"] == 1


def test_a_sent_status_is_not_taken():
    obj = pod() | {"status": {"phase": "Running"}}
    assert accepted(obj)["status"]["phase"] == "Pending"


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("host", "Always"),
        ("a/b:latest", "Always"),
        ("a/b:1", "IfNotPresent"),
        ("registry:5000/a", "Always"),
        ("registry:5000/a:1", "IfNotPresent"),
        ("a@sha256:00", "IfNotPresent"),
    ],
)
def test_pull_policy_follows_the_tag(image, policy):
    assert pull_policy(image) == policy


def test_volume_defaults():
    found = accepted(
        pod(
            serviceAccountName="default",
            volumes=[
                {"name": "a"},
                {"name": "b", "configMap": {"name": "c"}},
                {"name": "c", "secret": {"secretName": "s", "defaultMode": 256}},
                {"name": "d", "hostPath": {"path": "/x"}},
                {"name": "e", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                {"name": "f", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            ],
        )
    )["spec"]["volumes"]
    assert found[0] == {"name": "a", "emptyDir": {}}
    assert found[1]["configMap"]["defaultMode"] == 0o644
    assert found[2]["secret"]["defaultMode"] == 256
    assert found[3]["hostPath"] == {"path": "/x", "type": ""}
    assert found[4]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"] == "v1"
    assert found[5]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] == 3600


def test_requests_follow_limits_and_host_ports_follow_ports():
    found = accepted(
        pod(
            {"name": "a", "image": "b", "resources": {"limits": {"cpu": "1"}}, "ports": [{"containerPort": 80}]},
            hostNetwork=True,
        )
    )
    assert found["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1"}
    assert found["spec"]["containers"][0]["ports"][0]["hostPort"] == 80


def test_the_old_name_of_the_account_is_mirrored():
    assert accepted(pod(serviceAccountName="x"))["spec"]["serviceAccount"] == "x"
    assert accepted(pod(serviceAccount="x"))["spec"]["serviceAccountName"] == "x"


@pytest.mark.parametrize(
    ("obj", "fields"),
    [
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}, ["spec.containers"]),
        (pod({"name": "A", "image": "b"}), ["spec.containers[0].name"]),
        (pod(os={}), ["spec.os.name"]),
        (pod(os={"name": "plan9"}), ["spec.os"]),
        (pod(hostPID=True, shareProcessNamespace=True), ["spec.securityContext.shareProcessNamespace"]),
        (pod(securityContext={"seccompProfile": {}}), ["spec.securityContext.seccompProfile.type"]),
        (
            pod(securityContext={"seccompProfile": {"type": "Localhost"}, "fsGroupChangePolicy": "Never"}),
            ["spec.securityContext.fsGroupChangePolicy", "spec.securityContext.seccompProfile.localhostProfile"],
        ),
        (
            one(securityContext={"seccompProfile": {"type": "RuntimeDefault", "localhostProfile": "x"}}),
            ["spec.containers[0].securityContext.seccompProfile.localhostProfile"],
        ),
        (one(securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "a/b"}}), []),
        (
            pod(
                topologySpreadConstraints=[
                    {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 0}
                ]
            ),
            ["spec.topologySpreadConstraints[0].minDomains"] * 2,
        ),
        (pod({"image": "b"}), ["spec.containers[0].name"]),
        (pod({"name": "a"}), ["spec.containers[0].image"]),
        (pod({"name": "a", "image": " b"}), ["spec.containers[0].image"]),
        (pod({"name": "a", "image": "b"}, {"name": "a", "image": "b"}), ["spec.containers[1].name"]),
        (pod(initContainers=[{"name": "a", "image": "b"}]), ["spec.initContainers[0].name"]),
        (one(imagePullPolicy="Sometimes"), ["spec.containers[0].imagePullPolicy"]),
        (one(ports=[{"containerPort": 0}]), ["spec.containers[0].ports[0].containerPort"]),
        (one(ports=[{"containerPort": 65536}]), ["spec.containers[0].ports[0].containerPort"]),
        (one(ports=[{"containerPort": 1, "protocol": "ICMP"}]), ["spec.containers[0].ports[0].protocol"]),
        (one(ports=[{"containerPort": 1, "name": "Web"}]), ["spec.containers[0].ports[0].name"]),
        (
            one(ports=[{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]),
            ["spec.containers[0].ports[1].name"],
        ),
        (
            one(ports=[{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}]),
            ["spec.containers[0].ports[1].hostPort"],
        ),
        (one(env=[{"name": "a=b"}]), ["spec.containers[0].env[0].name"]),
        (one(env=[{"name": "a", "valueFrom": {}}]), ["spec.containers[0].env[0].valueFrom"]),
        (
            one(env=[{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "spec.foo"}}}]),
            ["spec.containers[0].env[0].valueFrom.fieldRef.fieldPath"],
        ),
        (
            one(env=[{"name": "a", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]),
            ["spec.containers[0].env[0].valueFrom"],
        ),
        (
            one(env=[{"name": "a", "valueFrom": {"configMapKeyRef": {"name": "c"}}}]),
            ["spec.containers[0].env[0].valueFrom.configMapKeyRef.key"],
        ),
        (one(envFrom=[{}]), ["spec.containers[0].envFrom"]),
        (one(volumeMounts=[{"name": "v", "mountPath": "/x"}]), ["spec.containers[0].volumeMounts[0].name"]),
        (one(livenessProbe={}), ["spec.containers[0].livenessProbe"]),
        (
            one(livenessProbe={"tcpSocket": {"port": 1}, "exec": {"command": ["a"]}}),
            ["spec.containers[0].livenessProbe.tcpSocket"],
        ),
        (one(livenessProbe={"tcpSocket": {"port": 0}}), ["spec.containers[0].livenessProbe.tcpSocket.port"]),
        (
            one(livenessProbe={"exec": {"command": ["a"]}, "successThreshold": 2}),
            ["spec.containers[0].livenessProbe.successThreshold"],
        ),
        (
            one(readinessProbe={"exec": {"command": ["a"]}, "terminationGracePeriodSeconds": 2}),
            ["spec.containers[0].readinessProbe.terminationGracePeriodSeconds"],
        ),
        (one(lifecycle={"preStop": {}}), ["spec.containers[0].lifecycle.preStop"]),
        (one(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}), ["spec.containers[0].resources.requests"]),
        (one(resources={"requests": {"cpu": "-1"}}), ["spec.containers[0].resources.requests[cpu]"]),
        (one(resources={"requests": {"x.io/gpu": "1"}}), ["spec.containers[0].resources.limits"]),
        (pod(volumes=[{"name": "a"}, {"name": "a"}]), ["spec.volumes[1].name"]),
        (pod(volumes=[{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}]), ["spec.volumes[0].hostPath"]),
        (pod(volumes=[{"name": "a", "configMap": {}}]), ["spec.volumes[0].configMap.name"]),
        (pod(volumes=[{"name": "a", "hostPath": {"path": "/a/.."}}]), ["spec.volumes[0].hostPath.path"]),
        (pod(restartPolicy="Maybe"), ["spec.restartPolicy"]),
        (pod(dnsPolicy="Maybe"), ["spec.dnsPolicy"]),
        (pod(dnsPolicy="None"), ["spec.dnsConfig"]),
        (pod(activeDeadlineSeconds=0), ["spec.activeDeadlineSeconds"]),
        (pod(nodeSelector={"a b": "c"}), ["spec.nodeSelector"]),
        (pod(hostname="a.b"), ["spec.hostname"]),
        (pod(tolerations=[{"operator": "Equal"}]), ["spec.tolerations[0].operator"]),
        (pod(tolerations=[{"key": "a", "operator": "Exists", "value": "b"}]), ["spec.tolerations[0].operator"]),
        (pod(tolerations=[{"key": "a", "tolerationSeconds": 1}]), ["spec.tolerations[0].effect"]),
        (
            pod(affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}),
            ["spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"],
        ),
        (
            pod(topologySpreadConstraints=[{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]),
            ["spec.topologySpreadConstraints[0].maxSkew"],
        ),
        (pod(schedulingGates=[{"name": "a"}], nodeName="n"), ["spec.nodeName"]),
    ],
)
def test_what_is_wrong_is_named_by_its_field(obj, fields):
    assert admit(obj).fields == fields


def test_sidecars_may_have_probes_and_other_init_containers_not():
    probe = {"exec": {"command": ["true"]}}
    sidecar = {"name": "s", "image": "b", "restartPolicy": "Always", "startupProbe": probe}
    assert admit(pod(initContainers=[sidecar])).fields == []
    plain = {"name": "s", "image": "b", "startupProbe": probe}
    assert admit(pod(initContainers=[plain])).fields == ["spec.initContainers[0].startupProbe"]


@pytest.mark.parametrize(
    ("resources", "wanted"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
        ([{"requests": {"ephemeral-storage": "1Gi"}}], "BestEffort"),
    ],
)
def test_quality_of_service(resources, wanted):
    assert qos_class({"containers": [{"resources": found} for found in resources]}) == wanted


def test_image_deadline_and_more_tolerations_may_change():
    old = accepted(pod())
    new = copied(old)
    new["spec"]["containers"][0]["image"] = "other"
    new["spec"]["activeDeadlineSeconds"] = 5
    new["spec"]["tolerations"] = [{"key": "a", "operator": "Exists"}]
    found = accepted(new, old)
    assert found["metadata"]["generation"] == 2


def test_nothing_else_may_change():
    old = accepted(pod())
    found = admit(changed(old, nodeName="other"), old)
    assert found.fields == ["spec"]
    assert found.texts[0].startswith("spec: Forbidden: pod updates may not change fields other than `spec.containers")


def test_containers_may_not_come_or_go():
    old = accepted(pod())
    new = changed(old, containers=[*old["spec"]["containers"], {"name": "b", "image": "c"}])
    assert admit(new, old).texts == ["spec.containers: Forbidden: pod updates may not add or remove containers"]


def test_what_an_update_brings_is_checked_like_anything_new():
    old = accepted(pod())
    new = copied(old)
    new["spec"]["containers"][0]["image"] = ""
    new["spec"]["tolerations"] = [{"operator": "Equal"}]
    assert admit(new, old).fields == ["spec.containers[0].image", "spec.tolerations[0].operator"]


def test_labels_may_change_without_a_new_generation():
    old = accepted(pod())
    new = copied(old)
    new["metadata"]["labels"] = {"a": "b"}
    assert accepted(new, old)["metadata"] == old["metadata"] | {"labels": {"a": "b"}}


def test_a_status_write_changes_the_status_only():
    old = accepted(pod())
    new = changed(old, nodeName="n") | {"status": {"phase": "Running"}}
    found = accepted(new, old, part="status")
    assert found["spec"] == old["spec"]
    assert found["status"] == {"phase": "Running", "qosClass": "BestEffort"}


def test_the_main_resource_leaves_the_status_alone():
    old = accepted(pod())
    assert accepted(old | {"status": {"phase": "Failed"}}, old)["status"] == old["status"]


def test_ephemeral_containers_are_added_and_never_changed():
    old = accepted(pod())
    shell = {"name": "sh", "image": "host", "stdin": True}
    new = accepted(changed(old, ephemeralContainers=[shell]), old, part="ephemeralcontainers")
    assert new["spec"]["ephemeralContainers"][0]["imagePullPolicy"] == "Always"
    assert admit(changed(new, ephemeralContainers=[]), new, part="ephemeralcontainers").fields == [
        "spec.ephemeralContainers"
    ]
    twice = changed(old, ephemeralContainers=[shell | {"name": "a"}])
    assert admit(twice, old, part="ephemeralcontainers").fields == ["spec.ephemeralContainers[0].name"]


def test_resize_changes_resources_only():
    old = accepted(one(resources={"requests": {"cpu": "1"}}))
    bigger = copied(old)
    bigger["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "2"}}
    assert accepted(bigger, old, part="resize")
    assert admit(bigger, old).fields == ["spec"]
    bigger["spec"]["containers"][0]["image"] = "x"
    assert admit(bigger, old, part="resize").fields == ["spec"]


@pytest.mark.parametrize(
    ("spec", "phase", "asked", "wanted"),
    [
        ({}, "Pending", None, 0),
        ({"nodeName": "n"}, "Running", None, 30),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 8}, "Running", None, 8),
        ({"nodeName": "n"}, "Running", 0, 0),
        ({"nodeName": "n"}, "Running", 5, 5),
        ({"nodeName": "n"}, "Succeeded", None, 0),
        ({"nodeName": "n", "terminationGracePeriodSeconds": -5}, "Running", None, 1),
    ],
)
def test_how_long_a_pod_may_take_to_go(spec, phase, asked, wanted):
    assert PodStrategy().grace_seconds({"spec": spec, "status": {"phase": phase}}, asked) == wanted


@pytest.mark.parametrize(
    ("sent", "one", "many"),
    [
        ({"podIP": "10.0.0.1"}, "10.0.0.1", ["10.0.0.1"]),
        ({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}, "10.0.0.1", ["10.0.0.1", "fd00::1"]),
        ({"podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.1"}]}, "10.0.0.2", ["10.0.0.2"]),
    ],
)
def test_the_first_address_is_told_twice(sent, one, many):
    old = accepted(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        }
    )
    status = accepted(old | {"status": sent}, old, part="status")["status"]
    assert (status["podIP"], [entry["ip"] for entry in status["podIPs"]]) == (one, many)
