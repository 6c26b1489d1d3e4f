"""Laws of server-side apply, on objects with lists by key, sets, atomic and granular maps."""

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from pybernetes.api.errors import Conflict
from pybernetes.api.objects import Obj, encode
from pybernetes.api.patch import apply, track
from pybernetes.api.patch.fields import fields_of, from_wire, to_wire
from pybernetes.api.patch.managers import NEVER_OWNED
from pybernetes.api.schema import type_of

POD = type_of("io.k8s.api.core.v1.Pod")
NAMES = st.sampled_from(["a", "b", "c"])
TEXTS = st.sampled_from(["1", "2"])
LABELS = st.dictionaries(NAMES, TEXTS, max_size=3)
PORTS = st.lists(
    st.fixed_dictionaries(
        {"containerPort": st.integers(1, 2), "protocol": st.sampled_from(["TCP", "UDP"])}, optional={"name": TEXTS}
    ),
    max_size=3,
    unique_by=lambda one: (one["containerPort"], one["protocol"]),
)
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES}, optional={"image": TEXTS, "args": st.lists(TEXTS, max_size=2), "ports": PORTS}
    ),
    max_size=3,
    unique_by=lambda one: one["name"],
)
SPECS = st.fixed_dictionaries({}, optional={"containers": CONTAINERS, "nodeSelector": LABELS, "hostname": TEXTS})
METAS = st.fixed_dictionaries(
    {"name": st.just("p")}, optional={"labels": LABELS, "finalizers": st.lists(NAMES, unique=True, max_size=3)}
)
CONFIGS = st.fixed_dictionaries(
    {"apiVersion": st.just("v1"), "kind": st.just("Pod"), "metadata": METAS}, optional={"spec": SPECS}
)


def filled(value: Any) -> Any:
    """Without empty maps and lists: an empty map is owned only as long as nothing is in it."""
    if isinstance(value, dict):
        return {key: filled(inner) for key, inner in value.items() if inner not in ({}, [])}
    return [filled(inner) for inner in value] if isinstance(value, list) else value


FILLED = CONFIGS.map(filled).map(filled).map(filled)


def applied(live: Obj | None, config: Obj, manager: str, *, force: bool = True) -> Obj:
    return apply(live, config, manager=manager, api_version="v1", time=0.0, type_=POD, force=force)


def updated(old: Obj | None, new: Obj, manager: str) -> Obj:
    return track(old, new, manager=manager, api_version="v1", time=0.0, type_=POD)


def without_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_order(value[key]) for key in sorted(value)}
    return sorted(map(repr, map(without_order, value))) if isinstance(value, list) else value


def bare(obj: Obj) -> Obj:
    return obj | {"metadata": {key: value for key, value in obj["metadata"].items() if key != "managedFields"}}


def owned(obj: Obj) -> dict[str, frozenset[Any]]:
    return {one["manager"]: from_wire(one["fieldsV1"]) for one in obj["metadata"].get("managedFields", [])}


@given(config=CONFIGS)
def test_fields_survive_the_wire(config: Obj) -> None:
    fields = fields_of(config, POD)
    assert from_wire(to_wire(fields)) == fields


@given(live=FILLED, config=FILLED)
def test_the_configuration_wins(live: Obj, config: Obj) -> None:
    made = applied(updated(None, live, "editor"), config, "one")
    assert fields_of(config, POD) <= fields_of(made, POD)
    assert bare(applied(made, config, "one")) == bare(made)


@given(live=CONFIGS, config=CONFIGS)
def test_apply_is_idempotent_and_edits_nothing(live: Obj, config: Obj) -> None:
    assume(fields_of(config, POD) - NEVER_OWNED)
    start = updated(None, live, "editor")
    before = encode([start, config])
    once = applied(start, config, "one")
    assert applied(once, config, "one", force=False) == once
    assert encode([start, config]) == before


@given(first=FILLED, second=FILLED)
def test_one_manager_leaves_no_trace_of_what_it_no_longer_applies(first: Obj, second: Obj) -> None:
    """Nobody else owns anything: the object is what was applied last."""
    made = applied(applied(None, first, "one"), second, "one")
    assert fields_of(bare(made), POD) == fields_of(second, POD)
    assert without_order(bare(made)) == without_order(second)


@given(one=CONFIGS, two=CONFIGS)
def test_without_force_nothing_of_others_changes(one: Obj, two: Obj) -> None:
    start = applied(None, one, "one")
    try:
        made = applied(start, two, "two", force=False)
    except Conflict as conflict:
        assert conflict.causes  # noqa: PT017 - either outcome is right
        return
    assert owned(made).get("one") == owned(start).get("one")


@given(old=FILLED, new=FILLED)
def test_every_field_set_by_a_write_has_an_owner(old: Obj, new: Obj) -> None:
    made = updated(updated(None, old, "first"), new, "second")
    fields = frozenset().union(*owned(made).values())
    assert fields_of(new, POD) - NEVER_OWNED <= fields
    assert bare(made) == new


@given(config=CONFIGS)
def test_a_write_that_changes_nothing_is_equal(config: Obj) -> None:
    made = updated(None, config, "first")
    assert updated(made, made, "second") == made
