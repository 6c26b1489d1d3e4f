"""The official Python client against a whole cluster: objects, patches, watches, the dynamic client, streams."""

import contextlib
import threading
import time

import pytest
import yaml
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.kubectl,
    pytest.mark.timeout(600),
    # Of the client library itself.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:kubernetes"),
]

SLEEPER = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "sleeper", "labels": {"app": "sleeper"}},
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {"name": "main", "image": "host", "command": ["sh", "-c", "echo one; echo two; exec sleep 3600"]}
        ],
    },
}


@pytest.fixture(scope="module")
def api(cluster):
    with config.new_client_from_config(cluster.environment["KUBECONFIG"]) as found:
        yield found
        found.rest_client.pool_manager.clear()


@pytest.fixture(scope="module")
def core(api):
    return client.CoreV1Api(api)


@pytest.fixture(scope="module")
def apps(api):
    return client.AppsV1Api(api)


@contextlib.contextmanager
def watching():
    events = watch.Watch()
    try:
        yield events
    finally:
        events.stop()


@pytest.fixture(scope="module")
def sleeper(core, cluster, namespace):
    core.create_namespaced_pod(namespace, SLEEPER)
    with watching() as events:
        for event in events.stream(
            core.list_namespaced_pod, namespace, field_selector="metadata.name=sleeper", timeout_seconds=30
        ):
            conditions = event["object"].status.conditions or []
            if any(c.type == "Ready" and c.status == "True" for c in conditions):
                return "sleeper"
    raise AssertionError(f"the pod is not ready\n{cluster.logs()}")


def config_map(name, labels=None, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels=labels), data=data)


def test_version_and_discovery(api):
    assert client.VersionApi(api).get_code().git_version.startswith("v1.37")
    assert "apps" in {group.name for group in client.ApisApi(api).get_api_versions().groups}
    assert "services" in {resource.name for resource in client.CoreV1Api(api).get_api_resources().resources}


def test_create_read_replace_delete(core, namespace):
    made = core.create_namespaced_config_map(namespace, config_map("kept", a="1"))
    assert made.metadata.uid
    assert made.metadata.creation_timestamp.tzinfo is not None
    made.data["b"] = "2"
    replaced = core.replace_namespaced_config_map("kept", namespace, made)
    assert int(replaced.metadata.resource_version) > int(made.metadata.resource_version)
    with pytest.raises(ApiException) as stale:
        core.replace_namespaced_config_map("kept", namespace, made)
    assert (stale.value.status, stale.value.reason) == (409, "Conflict")
    assert core.read_namespaced_config_map("kept", namespace).data == {"a": "1", "b": "2"}
    gone = core.delete_namespaced_config_map("kept", namespace)
    assert gone["status"] == "Success"
    with pytest.raises(ApiException) as missing:
        core.read_namespaced_config_map("kept", namespace)
    assert missing.value.status == 404


def test_every_kind_of_patch(core, apps, namespace):
    core.create_namespaced_config_map(namespace, config_map("patched", a="1", b="2"))
    merged = core.patch_namespaced_config_map(
        "patched", namespace, {"data": {"a": None, "c": "3"}}, _content_type="application/merge-patch+json"
    )
    assert merged.data == {"b": "2", "c": "3"}
    step = [{"op": "replace", "path": "/data/b", "value": "4"}, {"op": "add", "path": "/data/d", "value": "5"}]
    stepped = core.patch_namespaced_config_map("patched", namespace, step)
    assert stepped.data == {"b": "4", "c": "3", "d": "5"}
    apps.create_namespaced_deployment(namespace, deployment("patched", replicas=0))
    sidecar = {"name": "sidecar", "image": "host", "command": ["sleep", "60"]}
    strategic = apps.patch_namespaced_deployment(
        "patched",
        namespace,
        {"spec": {"template": {"spec": {"containers": [sidecar]}}}},
        _content_type="application/strategic-merge-patch+json",
    )
    assert {one.name for one in strategic.spec.template.spec.containers} == {"main", "sidecar"}


def deployment(name, replicas):
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": SLEEPER["spec"]}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def test_lists_by_label_field_and_page(core, namespace):
    for index in range(5):
        core.create_namespaced_config_map(namespace, config_map(f"page-{index}", {"paged": str(index % 2)}))
    odd = core.list_namespaced_config_map(namespace, label_selector="paged in (1)")
    assert [one.metadata.name for one in odd.items] == ["page-1", "page-3"]
    one = core.list_namespaced_config_map(namespace, field_selector="metadata.name=page-2")
    assert [found.metadata.name for found in one.items] == ["page-2"]
    names, token = [], None
    while token != "":
        page = core.list_namespaced_config_map(namespace, label_selector="paged", limit=2, _continue=token)
        assert len(page.items) <= 2
        names += [found.metadata.name for found in page.items]
        token = page.metadata._continue or ""
    assert names == [f"page-{index}" for index in range(5)]
    core.delete_collection_namespaced_config_map(namespace, label_selector="paged")
    assert core.list_namespaced_config_map(namespace, label_selector="paged").items == []


def test_a_watch_tells_each_change_once_and_goes_on_from_a_version(core, namespace):
    start = core.list_namespaced_config_map(namespace).metadata.resource_version
    made = core.create_namespaced_config_map(namespace, config_map("watched", a="1"))
    core.patch_namespaced_config_map("watched", namespace, {"data": {"a": "2"}})
    core.delete_namespaced_config_map("watched", namespace)
    assert seen(core, namespace, start) == ["ADDED", "MODIFIED", "DELETED"]
    assert seen(core, namespace, made.metadata.resource_version) == ["MODIFIED", "DELETED"]


def seen(core, namespace, version):
    kinds = []
    with watching() as events:
        for event in events.stream(
            core.list_namespaced_config_map,
            namespace,
            resource_version=version,
            field_selector="metadata.name=watched",
            timeout_seconds=20,
        ):
            kinds.append(event["type"])
            if event["type"] == "DELETED":
                break
    return kinds


def test_a_watch_ends_when_asked(core, namespace):
    with watching() as events:
        kinds = [
            event["type"]
            for event in events.stream(
                core.list_namespaced_config_map,
                namespace,
                field_selector="metadata.name=kube-root-ca.crt",
                timeout_seconds=1,
            )
        ]
    assert kinds == ["ADDED"]


def test_a_version_from_the_future_or_the_far_past(core, namespace):
    with pytest.raises(ApiException) as future:
        core.list_namespaced_config_map(namespace, resource_version="999999999", timeout_seconds=1)
    assert future.value.status == 504


def test_the_dynamic_client(api, namespace):
    resources = dynamic.DynamicClient(api).resources
    maps = resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dynamic"}, "data": {"a": "1"}}
    assert maps.create(body=body, namespace=namespace).data.a == "1"
    patched = maps.patch(
        body={"metadata": {"name": "dynamic"}, "data": {"a": "2"}},
        namespace=namespace,
        content_type="application/merge-patch+json",
    )
    assert patched.data.a == "2"
    applied = maps.server_side_apply(
        body=body | {"data": {"b": "3"}}, namespace=namespace, field_manager="dynamic-test"
    )
    assert applied.data.to_dict() == {"a": "2", "b": "3"}
    assert "dynamic" in [one.metadata.name for one in maps.get(namespace=namespace).items]
    for event in maps.watch(namespace=namespace, name="dynamic", timeout=5):
        assert (event["type"], event["object"].metadata.name) == ("ADDED", "dynamic")
        break
    maps.delete(name="dynamic", namespace=namespace)
    assert {one.kind for one in resources.search(group="apps")} >= {"Deployment", "DaemonSet", "ReplicaSet"}


def test_server_side_apply_owns_fields_and_tells_of_conflicts(api, namespace):
    core = client.CoreV1Api(api)

    def apply(manager, data, **options):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": data}
        return core.patch_namespaced_config_map(
            "applied", namespace, body, field_manager=manager, _content_type="application/apply-patch+yaml", **options
        )

    apply("one", {"a": "1", "b": "1"})
    with pytest.raises(ApiException) as conflict:
        apply("two", {"a": "2"})
    assert conflict.value.status == 409
    assert ".data.a" in conflict.value.body
    assert '\\"one\\"' in conflict.value.body
    assert apply("two", {"a": "2"}, force=True).data == {"a": "2", "b": "1"}
    left = apply("one", {})
    assert left.data == {"a": "2"}
    managers = {entry.manager: entry.operation for entry in left.metadata.managed_fields}
    assert managers["two"] == "Apply"


def test_create_from_yaml(api, core, apps, namespace, tmp_path):
    objects = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "from-yaml"}, "data": {"a": "1"}},
        deployment("from-yaml", replicas=1),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "from-yaml"},
            "spec": {"selector": {"app": "from-yaml"}, "ports": [{"port": 80}]},
        },
    ]
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    utils.create_from_yaml(api, str(path), namespace=namespace)
    assert core.read_namespaced_service("from-yaml", namespace).spec.cluster_ip
    with pytest.raises(utils.FailToCreateError) as again:
        utils.create_from_yaml(api, str(path), namespace=namespace)
    assert [error.status for error in again.value.api_exceptions] == [409, 409, 409]
    deadline = time.monotonic() + 90
    while (apps.read_namespaced_deployment_status("from-yaml", namespace).status.available_replicas or 0) < 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    scale = apps.patch_namespaced_deployment_scale("from-yaml", namespace, {"spec": {"replicas": 0}})
    assert not scale.spec.replicas
    apps.delete_namespaced_deployment("from-yaml", namespace, propagation_policy="Foreground")


def test_logs(core, sleeper, namespace):
    assert core.read_namespaced_pod_log(sleeper, namespace) == "one\ntwo\n"
    assert core.read_namespaced_pod_log(sleeper, namespace, tail_lines=1) == "two\n"
    assert "one" in core.read_namespaced_pod_log(sleeper, namespace, timestamps=True).splitlines()[0].split()[1]
    with watching() as lines:
        assert next(lines.stream(core.read_namespaced_pod_log, sleeper, namespace)) == "one"


@contextlib.contextmanager
def attached(core, pod, namespace, *command, **options):
    options = {"stderr": True, "stdin": False, "stdout": True, "tty": False} | options
    open_stream = stream(
        core.connect_get_namespaced_pod_exec,
        pod,
        namespace,
        command=list(command),
        _preload_content=False,
        **options,
    )
    try:
        yield open_stream
    finally:
        open_stream.close()
        open_stream.sock.shutdown()  # the library leaves a socket open that the other side closed first


def test_exec_gives_the_output(core, sleeper, namespace):
    with attached(core, sleeper, namespace, "sh", "-c", "echo hello; echo err >&2; exit 3") as told:
        told.run_forever(timeout=60)
        assert (told.read_stdout(), told.read_stderr(), told.returncode) == ("hello\n", "err\n", 3)
    with attached(core, sleeper, namespace, "sh", "-c", "echo out; echo err >&2", stdout=False) as told:
        told.run_forever(timeout=60)
        assert (told.read_stdout(), told.read_stderr(), told.returncode) == ("", "err\n", 0)


def test_exec_as_a_conversation(core, sleeper, namespace):
    with attached(core, sleeper, namespace, "sh", stdin=True) as shell:
        shell.write_stdin("echo first\n")
        assert shell.readline_stdout(timeout=60) == "first"
        shell.write_stdin("echo to-err >&2\n")
        assert shell.readline_stderr(timeout=60) == "to-err"
        shell.write_stdin("exit 7\n")
        shell.run_forever(timeout=60)
        assert shell.returncode == 7


def test_exec_of_what_is_not_there(core, sleeper, namespace):
    with pytest.raises(ApiException, match="Handshake status 404"), attached(core, "nobody", namespace, "true"):
        pass
    with pytest.raises(ApiException) as plain:
        core.connect_get_namespaced_pod_exec(sleeper, namespace, command=["true"])
    assert plain.value.status == 400


def test_eight_clients_at_once(api, core, namespace):
    core.create_namespaced_config_map(namespace, config_map("counter", n="0"))
    problems = []

    def count():
        try:
            for _ in range(3):
                bump(core, namespace)
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            problems.append(error)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert problems == []
    assert core.read_namespaced_config_map("counter", namespace).data["n"] == "24"


def bump(core, namespace):
    """Counts one up, again until nobody came between."""
    while True:
        found = core.read_namespaced_config_map("counter", namespace)
        found.data["n"] = str(int(found.data["n"]) + 1)
        try:
            core.replace_namespaced_config_map("counter", namespace, found)
        except ApiException as error:
            if error.status != 409:
                raise
        else:
            return


def test_a_graceful_delete_is_seen_to_its_end(core, namespace):
    core.create_namespaced_pod(namespace, SLEEPER | {"metadata": {"name": "leaving"}})
    told = core.delete_namespaced_pod("leaving", namespace, grace_period_seconds=1)
    assert told.metadata.name == "leaving"
    deadline = time.monotonic() + 90
    while "leaving" in [pod.metadata.name for pod in core.list_namespaced_pod(namespace).items]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_events_and_nodes_have_the_shape_the_models_want(core, sleeper, namespace):
    events = core.list_namespaced_event(namespace, field_selector="involvedObject.name=sleeper").items
    assert {"Scheduled", "Started"} <= {event.reason for event in events}
    for node in core.list_node().items:
        assert node.status.node_info.kubelet_version
        assert {address.type for address in node.status.addresses} >= {"InternalIP", "Hostname"}
