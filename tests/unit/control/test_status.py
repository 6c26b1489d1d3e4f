"""Statuses: one patch when something changed, conditions whose times mean something."""

from pybernetes.control.status import patch_between, with_condition, without_condition


def test_no_patch_when_it_says_the_same() -> None:
    assert patch_between({"replicas": 3, "x": 0}, {"replicas": 3, "y": "", "conditions": []}) == {}


def test_the_patch_names_every_field() -> None:
    assert patch_between({"ready": 1, "old": 2}, {"ready": 1, "replicas": 0, "updated": 3, "failed": 0}) == {
        "failed": None, "old": None, "ready": 1, "replicas": 0, "updated": 3,
    }  # fmt: skip


def test_transition_time_moves_with_the_status_alone() -> None:
    one = with_condition([], "Ready", "True", reason="A", message="a", now=0.0)
    two = with_condition(one, "Ready", "True", reason="B", message="b", now=60.0)
    three = with_condition(two, "Ready", "False", reason="B", message="b", now=120.0)
    assert [c[0]["lastTransitionTime"][14:19] for c in (one, two, three)] == ["00:00", "00:00", "02:00"]
    assert two[0]["reason"] == "B"
    assert without_condition(three, "Ready") == []


def test_update_time_of_deployments() -> None:
    one = with_condition([], "Progressing", "True", reason="A", message="a", now=0.0, updates=True)
    same = with_condition(one, "Progressing", "True", reason="A", message="other", now=60.0, updates=True)
    new = with_condition(one, "Progressing", "True", reason="B", message="b", now=60.0, updates=True)
    assert same == one
    assert (new[0]["lastUpdateTime"][14:19], new[0]["lastTransitionTime"][14:19]) == ("01:00", "00:00")
