"""Laws of the patch algebra: apply(diff) = target, merge is idempotent, nothing handed in changes."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api.errors import ApiError
from pybernetes.api.objects import Obj
from pybernetes.api.patch import json_diff, json_patch, merge_diff, merge_patch, strategic_diff, strategic_merge
from pybernetes.api.patch.equal import same
from pybernetes.api.schema import type_of

KEYS = st.sampled_from(["a", "b", "c", "a/b", "~", ""])
LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "y"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=10
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return value


@given(source=DOCUMENTS, target=DOCUMENTS)
def test_json_diff_makes_the_target(source: Obj, target: Obj) -> None:
    before = repr(source)
    assert same(json_patch(source, json_diff(source, target)), target)
    assert repr(source) == before
    assert json_diff(source, source) == []


@given(
    document=DOCUMENTS,
    operations=st.lists(
        st.fixed_dictionaries(
            {
                "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
                "path": st.sampled_from(["", "/a", "/a/0", "/a/-", "/a/b", "/b/c", "/~0", "/a~1b", "/"]),
                "from": st.sampled_from(["", "/a", "/b", "/a/0"]),
                "value": VALUES,
            }
        ),
        max_size=5,
    ),
)
def test_json_patches_fail_only_as_patches_do(document: Obj, operations: list[Obj]) -> None:
    before = repr(document)
    try:
        json_patch(document, operations)
    except ApiError as error:
        assert error.code == 422  # noqa: PT017 - either outcome is right, nothing else is
    assert repr(document) == before


@given(source=DOCUMENTS, target=DOCUMENTS)
def test_merge_diff_makes_the_target(source: Obj, target: Obj) -> None:
    source, target = without_nulls(source), without_nulls(target)
    assert same(merge_patch(source, merge_diff(source, target)), target)
    assert merge_diff(source, source) == {}


@given(document=DOCUMENTS, patch=DOCUMENTS)
def test_merge_is_idempotent(document: Obj, patch: Obj) -> None:
    before = repr(document), repr(patch)
    once = merge_patch(document, patch)
    assert same(merge_patch(once, patch), once)
    assert (repr(document), repr(patch)) == before


NAMES = st.sampled_from(["a", "b", "c", "d"])
TEXTS = st.sampled_from(["", "1", "2"])
LABELS = st.dictionaries(NAMES, TEXTS, max_size=3)


def lists_by(key: str, keys: st.SearchStrategy[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Obj]]:
    one = st.fixed_dictionaries({key: keys}, optional=fields)
    return st.lists(one, max_size=4, unique_by=lambda item: item[key])


VOLUMES = lists_by(
    "name",
    NAMES,
    emptyDir=st.just({}),
    configMap=st.fixed_dictionaries({"name": NAMES}),
    hostPath=st.just({"path": "/"}),
)
CONTAINERS = lists_by(
    "name",
    NAMES,
    image=TEXTS,
    args=st.lists(TEXTS, max_size=3),
    env=lists_by("name", NAMES, value=TEXTS),
    ports=lists_by("containerPort", st.integers(1, 4), protocol=st.sampled_from(["TCP", "UDP"])),
)
PODS = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries(
            {}, optional={"labels": LABELS, "finalizers": st.lists(NAMES, unique=True, max_size=4)}
        ),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "containers": CONTAINERS,
                "volumes": VOLUMES,
                "nodeSelector": LABELS,
                "hostNetwork": st.booleans(),
                "imagePullSecrets": lists_by("name", NAMES),
            },
        ),
    },
)
POD = type_of("io.k8s.api.core.v1.Pod")


@given(source=PODS, target=PODS)
def test_strategic_diff_makes_the_target(source: Obj, target: Obj) -> None:
    before = repr(source)
    patch = strategic_diff(source, target, type_=POD)
    assert strategic_merge(source, patch, type_=POD) == target
    assert repr(source) == before


@given(source=PODS, target=PODS, other=PODS)
def test_a_strategic_patch_is_idempotent(source: Obj, target: Obj, other: Obj) -> None:
    patch = strategic_diff(source, target, type_=POD)
    once = strategic_merge(other, patch, type_=POD)
    assert strategic_merge(once, patch, type_=POD) == once


@given(pod=PODS)
def test_a_patch_of_nothing_changes_nothing(pod: Obj) -> None:
    assert strategic_diff(pod, pod, type_=POD) == {}
    assert strategic_merge(pod, {}, type_=POD) == pod


DIRECTIVES = st.sampled_from(
    [
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/finalizers",
        "containers",
        "spec",
    ]
)
NONSENSE = st.dictionaries(
    DIRECTIVES,
    st.recursive(
        LEAVES | st.sampled_from(["delete", "replace", "merge"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(DIRECTIVES | NAMES, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@given(pod=PODS, patch=NONSENSE)
def test_nonsense_is_refused_in_the_apis_words(pod: Obj, patch: Obj) -> None:
    for part in (pod, pod.get("spec") or {}, pod.get("metadata") or {}):
        try:
            strategic_merge(part, patch, type_=POD if part is pod else POD.fields["spec"])
        except ApiError as error:
            assert error.code == 400  # noqa: PT017 - either outcome is right, nothing else is
