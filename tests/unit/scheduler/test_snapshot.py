"""The snapshot counts right, whatever the order of news."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pybernetes.api.objects import Key
from pybernetes.scheduler.snapshot import Snapshot
from support.objects import node, pod

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["bind", "assume", "forget", "delete", "end", "unbound", "add-node", "drop-node"]),
        st.sampled_from(["p", "q"]),
        st.sampled_from(["a", "b"]),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_counts_are_those_of_a_fresh_snapshot(steps: list[tuple[str, str, str]]) -> None:
    snapshot = Snapshot()
    nodes: set[str] = set()
    bound: dict[str, str] = {}
    assumed: dict[str, str] = {}
    for step, name, where in steps:
        one = pod(name, requests={"cpu": "100m"}, ports=[{"containerPort": 1, "hostPort": 1}])
        key = Key("default", name)
        if step == "bind":
            snapshot.set_pod(one | {"spec": one["spec"] | {"nodeName": where}})
            bound[name] = where
            assumed.pop(name, None)
        elif step == "assume" and name not in bound:
            snapshot.assume(one, where)
            assumed[name] = where
        elif step == "forget":
            snapshot.forget(key)
            assumed.pop(name, None)
        elif step == "unbound" and name not in bound:
            snapshot.set_pod(one)
        elif step in ("delete", "end"):
            if step == "delete":
                snapshot.remove_pod(key)
            else:
                snapshot.set_pod(one | {"status": {"phase": "Succeeded"}})
            bound.pop(name, None)
            assumed.pop(name, None)
        elif step == "add-node":
            snapshot.set_node(node(where))
            nodes.add(where)
        elif step == "drop-node":
            snapshot.remove_node(where)
            nodes.discard(where)
    assert {info.name for info in snapshot} == nodes
    held = bound | assumed
    for name in ("a", "b"):
        count = list(held.values()).count(name)
        info = snapshot.infos.get(name)
        if info is None:
            assert count == 0
            continue
        assert len(info.pods) == count
        assert info.requested["cpu"] == 100 * count
        assert sum(info.ports.values()) == count
