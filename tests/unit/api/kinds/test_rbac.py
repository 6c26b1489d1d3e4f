import pytest

from support.admitted import accepted, admit

V1 = "rbac.authorization.k8s.io/v1"
GROUP = "rbac.authorization.k8s.io"


def role(kind="Role", *rules, name="system:x"):
    return {"apiVersion": V1, "kind": kind, "metadata": {"name": name}, "rules": list(rules)}


def binding(kind="RoleBinding", **fields):
    wanted = {"roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "User", "name": "jane"}]}
    return {"apiVersion": V1, "kind": kind, "metadata": {"name": "b"}} | wanted | fields


def test_names_may_hold_colons_and_no_slashes():
    assert admit(role()).fields == []
    assert admit(role(name="a/b")).fields == ["metadata.name"]


@pytest.mark.parametrize(
    ("kind", "rule", "wrong"),
    [
        ("Role", {}, ["rules[0].verbs", "rules[0].apiGroups", "rules[0].resources"]),
        ("Role", {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, []),
        ("Role", {"verbs": ["get"], "nonResourceURLs": ["/x"]}, ["rules[0].nonResourceURLs"]),
        ("ClusterRole", {"verbs": ["get"], "nonResourceURLs": ["/x"]}, []),
        (
            "ClusterRole",
            {"verbs": ["get"], "nonResourceURLs": ["/x"], "resources": ["pods"]},
            ["rules[0].nonResourceURLs"],
        ),
    ],
)
def test_rules(kind, rule, wrong):
    assert admit(role(kind, rule)).fields == wrong


def test_groups_are_filled_in():
    found = accepted(binding(subjects=[{"kind": "User", "name": "j"}, {"kind": "ServiceAccount", "name": "s"}]))
    assert found["roleRef"]["apiGroup"] == GROUP
    assert found["subjects"] == [
        {"kind": "User", "name": "j", "apiGroup": GROUP},
        {"kind": "ServiceAccount", "name": "s"},
    ]


@pytest.mark.parametrize(
    ("obj", "wrong"),
    [
        (binding(roleRef={}), ["roleRef.kind", "roleRef.name"]),
        (binding("ClusterRoleBinding", roleRef={"kind": "Role", "name": "x"}), ["roleRef.kind"]),
        (binding(subjects=[{"kind": "Robot", "name": "x"}]), ["subjects[0].kind"]),
        (binding(subjects=[{"kind": "User"}]), ["subjects[0].name"]),
        (
            binding("ClusterRoleBinding", subjects=[{"kind": "ServiceAccount", "name": "x"}]),
            ["subjects[0].namespace"],
        ),
    ],
)
def test_bindings(obj, wrong):
    assert admit(obj).fields == wrong


def test_what_is_bound_stays():
    old = accepted(binding())
    assert "cannot change roleRef" in admit(binding(roleRef={"kind": "ClusterRole", "name": "edit"}), old).texts[0]
