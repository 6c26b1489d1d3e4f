"""The plan of EndpointSlices, any wish over any slices: it says what is wanted, in few writes, within the limit."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pybernetes.api.objects import Obj
from pybernetes.controllers.slices import Changes, Wanted, group_of, identity, plan

OWNER: Obj = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": "web", "uid": "u"}}
PORTS = [[{"name": "http", "port": 80}], [{"name": "http", "port": 81}], []]
LABELS = {"kubernetes.io/service-name": "web"}


def endpoint(number: int, ready: bool) -> Obj:
    return {"addresses": [f"10.0.0.{number}"], "conditions": {"ready": ready}, "targetRef": {"uid": str(number)}}


GROUPS = st.dictionaries(
    st.sampled_from([0, 1]),
    st.dictionaries(st.integers(1, 12), st.booleans(), min_size=1, max_size=12),
    max_size=2,
)


def wish(groups: dict[int, dict[int, bool]]) -> Wanted:
    wanted = {
        group_of("IPv4", PORTS[ports]): {str(n): endpoint(n, ready) for n, ready in endpoints.items()}
        for ports, endpoints in groups.items()
    }
    return Wanted(OWNER, LABELS, {}, wanted or {group_of("IPv4", ()): {}}, "web")


def applied(slices: list[Obj], changes: Changes, names: list[int]) -> list[Obj]:
    held = {one["metadata"]["name"]: one for one in slices}
    for one in changes.delete:
        del held[one["metadata"]["name"]]
    for one in changes.update:
        assert one["metadata"]["name"] in held
        held[one["metadata"]["name"]] = one
    for one in changes.create:
        names.append(len(names))
        name = f"web-{len(names)}"
        held[name] = one | {"metadata": one["metadata"] | {"name": name, "uid": name, "resourceVersion": "1"}}
    return list(held.values())


@settings(max_examples=300, deadline=None)
@given(st.lists(GROUPS, min_size=1, max_size=6), st.integers(2, 5))
def test_any_history_of_wishes(wishes: list[dict[int, dict[int, bool]]], limit: int) -> None:
    slices: list[Obj] = []
    names: list[int] = []
    for groups in wishes:
        wanted = wish(groups)
        changes = plan(wanted, slices, limit=limit)
        slices = applied(slices, changes, names)
        told: dict[object, dict[str, Obj]] = {}
        for one in slices:
            assert len(one["endpoints"]) <= limit
            assert one["metadata"]["labels"] == LABELS
            group = group_of(one["addressType"], one["ports"])
            for entry in one["endpoints"]:
                assert identity(entry) not in told.setdefault(group, {}), "an endpoint stands in two slices"
                told[group][identity(entry)] = entry
        assert told == {group: held for group, held in wanted.groups.items() if held}
        assert slices, "a service always has a slice"
        assert not plan(wanted, slices, limit=limit), "a second plan changes nothing"
        touched = {id(one) for one in (*changes.create, *changes.update)}
        assert len(touched) == len(changes.create) + len(changes.update)
