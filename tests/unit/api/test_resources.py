from collections import Counter

import pytest

from pybernetes.api import resources
from pybernetes.api.objects import Key
from pybernetes.api.resources import (
    CRON_JOBS,
    DEPLOYMENTS,
    EVENTS,
    EVENTS_V1,
    HORIZONTAL_POD_AUTOSCALERS,
    HORIZONTAL_POD_AUTOSCALERS_V1,
    NAMESPACES,
    NODES,
    PODS,
    RESOURCES,
    SERVICES,
)


def test_every_row_stands_once():
    by_plural = Counter((row.group, row.version, row.plural) for row in RESOURCES)
    by_kind = Counter((row.group, row.version, row.kind) for row in RESOURCES)
    assert max(by_plural.values()) == max(by_kind.values()) == 1


def test_every_group_of_kubernetes_is_there():
    assert {row.group for row in RESOURCES} >= {
        *("", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps"),
        *("authentication.k8s.io", "authorization.k8s.io", "autoscaling", "batch", "certificates.k8s.io"),
        *("coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "flowcontrol.apiserver.k8s.io"),
        *("networking.k8s.io", "node.k8s.io", "policy", "rbac.authorization.k8s.io", "scheduling.k8s.io"),
        "storage.k8s.io",
    }


def test_paths():
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path("ns") == "/api/v1/namespaces/ns/pods"
    assert PODS.path("ns", "p", "log") == "/api/v1/namespaces/ns/pods/p/log"
    assert NODES.path("", "n", "status") == "/api/v1/nodes/n/status"
    assert DEPLOYMENTS.path_of(Key("ns", "d"), "scale") == "/apis/apps/v1/namespaces/ns/deployments/d/scale"


def test_storage_keys():
    assert DEPLOYMENTS.key("ns", "d") == "/registry/apps/deployments/ns/d"
    assert NODES.key("", "n") == "/registry/core/nodes/n"


@pytest.mark.parametrize(
    ("row", "stored"), [(EVENTS_V1, EVENTS), (HORIZONTAL_POD_AUTOSCALERS_V1, HORIZONTAL_POD_AUTOSCALERS)]
)
def test_two_versions_share_one_storage(row, stored):
    assert row.storage is stored
    assert row.key("ns", "x") == stored.key("ns", "x")


def test_no_two_rows_share_storage_unasked():
    prefixes = Counter(row.prefix for row in RESOURCES if row.stored_as is None)
    assert max(prefixes.values()) == 1


def test_what_kubectl_get_all_lists():
    assert {row.plural for row in RESOURCES if "all" in row.categories} == {
        *("pods", "replicationcontrollers", "services", "daemonsets", "deployments", "replicasets", "statefulsets"),
        *("horizontalpodautoscalers", "jobs", "cronjobs"),
    }


def test_short_names_are_unambiguous_in_a_group():
    short = Counter((row.group, row.version, name) for row in RESOURCES for name in row.short)
    assert max(short.values()) == 1
    assert {"po", "svc", "deploy", "rs", "ds", "cm", "ns", "no", "ep"} <= {
        name for row in RESOURCES for name in row.short
    }


def test_subresources():
    assert {"status", "log", "exec", "attach", "portforward", "proxy", "eviction", "binding"} <= PODS.subresources
    assert {"ephemeralcontainers", "resize"} <= PODS.subresources
    assert DEPLOYMENTS.subresources == {"scale", "status"}
    assert NAMESPACES.subresources == {"finalize", "status"}
    scale = DEPLOYMENTS.subresource("scale")
    assert scale is not None
    assert (scale.group, scale.version, scale.kind) == ("autoscaling", "v1", "Scale")
    assert SERVICES.subresource("nonsense") is None


def test_namespaces_cannot_be_deleted_as_a_collection():
    assert "deletecollection" not in NAMESPACES.verbs


def test_finding():
    assert resources.find("apps", "v1", "deployments") is DEPLOYMENTS
    assert resources.find_kind("batch/v1", "CronJob") is CRON_JOBS
    assert resources.find_kind("v1", "Pod") is PODS
    assert resources.find("", "v2", "pods") is None
    assert DEPLOYMENTS.qualified == "deployments.apps"
    assert PODS.api_version == "v1"
