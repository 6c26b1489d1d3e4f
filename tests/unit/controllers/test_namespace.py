"""Namespaces: what each has from the start, and how all of it goes."""

from pybernetes.api.objects import Key, condition
from pybernetes.api.resources import CONFIG_MAPS, NAMESPACES, PODS, SECRETS, SERVICE_ACCOUNTS
from pybernetes.controllers import ControllersConfig
from pybernetes.controllers.custom import custom_resources
from pybernetes.controllers.namespace import NamespaceController
from pybernetes.controllers.serviceaccount import root_ca, service_accounts
from support.control_plane import Stage
from support.objects import meta, pod


def namespace(name: str) -> dict:
    return {"metadata": meta(name), "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}


async def test_account_and_root_certificate_in_each_namespace() -> None:
    stage = Stage(ControllersConfig(root_ca="PEM"))
    publisher = root_ca(stage.shared)
    async with stage.running(service_accounts(stage.shared), publisher) as api:
        api.put(NAMESPACES, namespace("one"))
        await api.until(lambda: ("serviceaccounts", "one", "default") in api.objects)
        await api.until(lambda: ("configmaps", "one", "kube-root-ca.crt") in api.objects)
        assert api.one(CONFIG_MAPS, "kube-root-ca.crt", "one")["data"] == {"ca.crt": "PEM"}
        api.drop(SERVICE_ACCOUNTS, "default", "one")
        await api.until(lambda: ("serviceaccounts", "one", "default") in api.objects)
        api.edit(CONFIG_MAPS, "kube-root-ca.crt", "one", data={"ca.crt": "EVIL"})
        await api.until(lambda: api.one(CONFIG_MAPS, "kube-root-ca.crt", "one")["data"] == {"ca.crt": "PEM"})
    assert root_ca(Stage().shared) is None


async def test_a_deleted_namespace_goes_with_all_in_it() -> None:
    stage = Stage()
    async with stage.running(NamespaceController(stage.shared)) as api:
        api.put(NAMESPACES, namespace("one"))
        api.put(NAMESPACES, namespace("two"))
        api.put(CONFIG_MAPS, {"metadata": meta("a", "one")})
        api.put(SECRETS, {"metadata": meta("b", "two")})
        api.put(PODS, pod("p", namespace="one", node="n1"))
        held = api.put(CONFIG_MAPS, {"metadata": meta("held", "one", finalizers=["example.com/hold"])})
        await stage.client.delete(NAMESPACES, Key("", "one"))

        def remaining() -> bool:
            found = condition(api.one(NAMESPACES, "one"), "NamespaceFinalizersRemaining")
            return found is not None and found["status"] == "True" and "held" in str(held)

        await api.until(remaining)
        message = condition(api.one(NAMESPACES, "one"), "NamespaceFinalizersRemaining")["message"]
        assert message.endswith("example.com/hold in 1 resource instances")
        api.edit(CONFIG_MAPS, "held", "one", metadata={"finalizers": None})
        await api.until(lambda: ("namespaces", "", "one") not in api.objects)
        assert [key for key in api.objects if key[1] == "one"] == []
        assert ("secrets", "two", "b") in api.objects


async def test_namespace_deletion_should_delete_pod_first() -> None:
    stage = Stage()
    async with stage.running(NamespaceController(stage.shared)) as api:
        api.put(NAMESPACES, namespace("one"))
        api.put(CONFIG_MAPS, {"metadata": meta("needed", "one")})
        held = pod("held", namespace="one", node="n1")
        held["metadata"]["finalizers"] = ["example.com/hold"]
        api.put(PODS, held)
        await stage.client.delete(NAMESPACES, Key("", "one"))

        def remaining() -> bool:
            found = condition(api.one(NAMESPACES, "one"), "NamespaceContentRemaining")
            return found is not None and found["status"] == "True"

        await api.until(remaining)
        found = condition(api.one(NAMESPACES, "one"), "NamespaceContentRemaining")
        assert found["message"] == "Some resources are remaining: pods. has 1 resource instances"
        assert "deletionTimestamp" in api.one(PODS, "held", "one")["metadata"]
        assert not api.asked("DELETE", "/namespaces/one/configmaps")
        api.edit(PODS, "held", "one", metadata={"finalizers": None})
        await api.until(lambda: ("namespaces", "", "one") not in api.objects)
        assert [key for key in api.objects if key[1] == "one"] == []


async def test_custom_resources_go_by_whichever_version_is_served() -> None:
    names = {"plural": "trees", "kind": "Tree"}
    versions = [{"name": "v1", "served": False, "storage": True}, {"name": "v2", "served": True, "storage": False}]
    crd = {
        "spec": {"group": "example.com", "names": names, "scope": "Namespaced", "versions": versions},
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    }
    assert [row.version for row in custom_resources(crd)] == ["v2"]
    versions[0]["served"] = True
    assert [row.version for row in custom_resources(crd)] == ["v1"]
