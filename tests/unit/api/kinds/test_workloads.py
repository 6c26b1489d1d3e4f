import pytest

from pybernetes.api.objects import copied
from support.admitted import accepted, admit, changed

TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "host"}]}}


def workload(kind="Deployment", **spec):
    wanted = {"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE} | spec
    version = "v1" if kind == "ReplicationController" else "apps/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "web"}, "spec": wanted}


def test_a_deployments_defaults():
    found = accepted(workload())
    assert found["spec"]["replicas"] == 1
    assert found["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert found["spec"]["revisionHistoryLimit"] == 10
    assert found["spec"]["progressDeadlineSeconds"] == 600
    assert found["spec"]["template"]["spec"]["restartPolicy"] == "Always"
    assert "enableServiceLinks" not in found["spec"]["template"]["spec"]
    assert found["status"] == {}
    assert found["metadata"]["generation"] == 1


def test_no_replicas_are_no_default():
    assert accepted(workload(replicas=0))["spec"]["replicas"] == 0


def test_a_daemon_sets_defaults():
    found = accepted(workload("DaemonSet"))
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    assert found["spec"]["updateStrategy"] == strategy
    assert found["status"]["desiredNumberScheduled"] == 0


def test_a_stateful_sets_defaults():
    asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claims = [{"metadata": {"name": "d"}, "spec": asked}]
    found = accepted(workload("StatefulSet", serviceName="web", volumeClaimTemplates=claims))
    assert found["spec"]["podManagementPolicy"] == "OrderedReady"
    rolling = {"partition": 0, "maxUnavailable": 1}
    assert found["spec"]["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}
    claim = found["spec"]["volumeClaimTemplates"][0]
    assert (claim["kind"], claim["spec"]["volumeMode"], claim["status"]["phase"]) == (
        "PersistentVolumeClaim",
        "Filesystem",
        "Pending",
    )


def test_a_replication_controllers_selector_is_its_templates_labels():
    found = accepted(workload("ReplicationController", selector=None))
    assert found["spec"]["selector"] == found["metadata"]["labels"] == {"app": "web"}


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "DaemonSet", "StatefulSet"])
@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({"selector": None}, ["spec.selector", "spec.template.metadata.labels"]),
        ({"selector": {}}, ["spec.selector"]),
        ({"selector": {"matchLabels": {"app": "x"}}}, ["spec.template.metadata.labels"]),
        ({"minReadySeconds": -1}, ["spec.minReadySeconds"]),
        (
            {"selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}},
            ["spec.selector.matchExpressions[0].values", "spec.template.metadata.labels"],
        ),
        (
            {"template": TEMPLATE | {"spec": {"containers": []}}},
            ["spec.template.spec.containers"],
        ),
        (
            {"template": TEMPLATE | {"spec": TEMPLATE["spec"] | {"restartPolicy": "Never"}}},
            ["spec.template.spec.restartPolicy"],
        ),
    ],
)
def test_what_is_wrong_with_any_of_them(kind, spec, fields):
    assert admit(workload(kind, **spec)).fields == fields


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({"replicas": -1}, ["spec.replicas"]),
        ({"strategy": {"type": "Magic"}}, ["spec.strategy.type"]),
        ({"strategy": {"type": "Recreate", "rollingUpdate": {}}}, ["spec.strategy.rollingUpdate"]),
        (
            {"strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}}},
            ["spec.strategy.rollingUpdate.maxUnavailable"],
        ),
        ({"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}}, ["spec.strategy.rollingUpdate.maxUnavailable"]),
        ({"strategy": {"rollingUpdate": {"maxSurge": "many"}}}, ["spec.strategy.rollingUpdate.maxSurge"]),
        ({"progressDeadlineSeconds": 5, "minReadySeconds": 5}, ["spec.progressDeadlineSeconds"]),
    ],
)
def test_deployments(spec, fields):
    assert admit(workload(**spec)).fields == fields


@pytest.mark.parametrize(
    ("rolling", "fields"),
    [
        ({"maxUnavailable": 0}, ["spec.updateStrategy.rollingUpdate.maxUnavailable"]),
        ({"maxSurge": 1}, ["spec.updateStrategy.rollingUpdate.maxSurge"]),
        ({"maxUnavailable": 0, "maxSurge": 1}, []),
    ],
)
def test_daemon_sets(rolling, fields):
    assert admit(workload("DaemonSet", updateStrategy={"rollingUpdate": rolling})).fields == fields


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "DaemonSet"])
def test_the_selector_stays(kind):
    old = accepted(workload(kind))
    new = changed(old, selector={"matchExpressions": [{"key": "app", "operator": "Exists"}]})
    found = admit(new, old)
    assert found.fields == ["spec.selector"]
    assert found.texts[0].endswith("field is immutable")


def test_most_of_a_stateful_set_stays():
    old = accepted(workload("StatefulSet", serviceName="web"))
    assert admit(changed(old, replicas=5), old).fields == []
    found = admit(changed(old, serviceName="other"), old)
    assert found.texts == [
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
        "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
        "forbidden"
    ]


def test_the_generation_counts_changes_of_the_spec():
    old = accepted(workload())
    assert accepted(changed(old, replicas=3), old)["metadata"]["generation"] == 2
    labelled = copied(old)
    labelled["metadata"]["labels"] = {"a": "b"}
    assert accepted(labelled, old)["metadata"]["generation"] == 1
    assert accepted(old, old) == old


def test_a_deployments_annotations_count_too():
    old = accepted(workload())
    noted = copied(old)
    noted["metadata"]["annotations"] = {"a": "b"}
    assert accepted(noted, old)["metadata"]["generation"] == 2
    old = accepted(workload("ReplicaSet"))
    noted = copied(old)
    noted["metadata"]["annotations"] = {"a": "b"}
    assert accepted(noted, old)["metadata"]["generation"] == 1


def test_a_status_write_keeps_spec_and_labels():
    old = accepted(workload())
    new = changed(old, replicas=9) | {"status": {"replicas": 1, "readyReplicas": 1}}
    new["metadata"] = old["metadata"] | {"labels": {"a": "b"}, "annotations": {"c": "d"}}
    found = accepted(new, old, part="status")
    assert found["spec"] == old["spec"]
    assert found["metadata"] == old["metadata"] | {"annotations": {"c": "d"}}
    assert found["status"]["replicas"] == 1


def test_a_status_that_cannot_be():
    old = accepted(workload("ReplicaSet"))
    new = old | {"status": {"replicas": 1, "readyReplicas": 2}}
    assert admit(new, old, part="status").fields == ["status.readyReplicas"]
