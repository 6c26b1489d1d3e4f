"""Services and slices into fronts: what counts, what is left out, and what a change touches."""

from typing import Any

import pytest

from pybernetes.api import times
from pybernetes.api.objects import Key, Obj
from pybernetes.client import Delta, IndexedCache
from pybernetes.proxy.model import Backend, Front, ServicePort
from pybernetes.proxy.tracker import BY_SERVICE, Tracker, by_service, fronts, slim_service, slim_slice
from support.proxy_cases import FOUR, endpoints, port, service

HTTP = port(80, name="http", node_port=30080)
NODE = "node-1"
A, B, C = (FOUR.hosts[pod] for pod in ("pod-1a", "pod-1b", "pod-2a"))


def front(made: Obj, *slices: Obj) -> Front:
    (found,) = fronts(slim_service(made), [slim_slice(each) for each in slices], node=NODE).values()
    return found


def web(**spec: Any) -> Obj:
    return service(FOUR, "web", 20, HTTP, **spec)


def slice_of(*pods: str, name: str = "web-1", number: Any = 8080, **conditions: Any) -> Obj:
    made = endpoints(FOUR, "web", pods, ("http", number), **conditions)
    made["metadata"]["name"] = name
    return made


def test_a_front() -> None:
    assert front(web(), slice_of("pod-1a", "pod-2a")) == Front(
        vips=(FOUR.service(20),),
        port=80,
        node_port=30080,
        backends=(Backend(A, 8080, True), Backend(C, 8080, False)),
        local_backends=(Backend(A, 8080, True),),
    )


@pytest.mark.parametrize(
    "made",
    [
        {"spec": {"clusterIP": "None", "clusterIPs": ["None"], "ports": [HTTP]}},
        {"spec": {"type": "ExternalName", "externalName": "example.org"}},
        {"spec": {"ports": [HTTP]}},
        {"spec": {"clusterIP": "nonsense", "ports": [HTTP]}},
        {"spec": {"clusterIP": "10.96.0.20", "ports": [{"port": 80, "protocol": "GRE"}]}},
        {"spec": {"clusterIP": "10.96.0.20", "ports": [{"port": 70000}]}},
    ],
    ids=["headless", "external name", "not allocated yet", "no address", "unknown protocol", "port out of range"],
)
def test_services_nobody_balances(made: Obj) -> None:
    made["metadata"] = {"namespace": "default", "name": "web"}
    assert fronts(slim_service(made), [], node=NODE) == {}


@pytest.mark.parametrize("label", ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"])
def test_what_is_labelled_as_nothing_for_this_proxy_is_left_alone(label: str) -> None:
    made = web()
    made["metadata"]["labels"] = {label: ""}
    assert fronts(slim_service(made), [slim_slice(slice_of("pod-1a"))], node=NODE) == {}
    other = slice_of("pod-1b", name="web-2")
    other["metadata"]["labels"][label] = ""
    assert [each.address for each in front(web(), slice_of("pod-1a"), other).backends] == [A]


def test_ports_find_their_endpoints_by_name_and_protocol() -> None:
    made = service(
        FOUR, "web", 20, port(80, name="http"), port(53, name="dns"), port(53, name="dns-udp", protocol="UDP")
    )
    slices = [
        endpoints(FOUR, "web", ("pod-1a",), ("http", 8080), ("dns", 5353)),
        endpoints(FOUR, "web", ("pod-2a",), ("dns-udp", 5353), protocol="UDP"),
    ]
    found = fronts(slim_service(made), [slim_slice(each) for each in slices], node=NODE)
    assert {key.port: [each.address for each in one.backends] for key, one in found.items()} == {
        "http": [A],
        "dns": [A],
        "dns-udp": [C],
    }


def test_conditions() -> None:
    ending = slice_of("pod-2a", name="web-2", ready=False, serving=True, terminating=True)
    dead = slice_of("pod-1b", name="web-3", ready=False, serving=False, terminating=True)
    starting = slice_of("pod-1b", name="web-4", ready=False)
    assert front(web(), slice_of("pod-1a"), ending, dead).backends == (Backend(A, 8080, True),)
    assert front(web(), ending, dead, starting).backends == (Backend(C, 8080, False),)
    assert front(web(), dead, starting).backends == ()
    unknown = slice_of("pod-1a")
    unknown["endpoints"][0].pop("conditions")
    assert len(front(web(), unknown).backends) == 1  # no condition is taken for ready, as the API says


def test_slices_that_contradict_each_other() -> None:
    """The same endpoint twice is one endpoint; ready in one slice is ready."""
    twice = front(web(), slice_of("pod-1a"), slice_of("pod-1a", name="web-2"))
    assert twice.backends == (Backend(A, 8080, True),)
    mixed = front(web(), slice_of("pod-1a", ready=False), slice_of("pod-1a", name="web-2"))
    assert mixed.backends == (Backend(A, 8080, True),)


@pytest.mark.parametrize("number", [None, 0, -1, 65536, "http"])
def test_ports_out_of_range_serve_nobody(number: Any) -> None:
    assert front(web(), slice_of("pod-1a", number=number)).backends == ()


def test_addresses_that_are_none_are_left_out() -> None:
    odd = slice_of("pod-1a", "pod-1b", "pod-2a")
    odd["endpoints"][0]["addresses"] = ["10.0.0.300"]
    odd["endpoints"][1]["addresses"] = []
    assert front(web(), odd).backends == (Backend(C, 8080, False),)
    names = slice_of("pod-1a")
    names["addressType"] = "FQDN"
    assert front(web(), names).backends == ()


def test_policies_affinity_and_external_addresses() -> None:
    made = web(
        internalTrafficPolicy="Local",
        externalTrafficPolicy="Local",
        sessionAffinity="ClientIP",
        externalIPs=["198.51.100.1"],
    )
    made["status"] = {
        "loadBalancer": {
            "ingress": [{"ip": "198.51.100.2"}, {"ip": "198.51.100.3", "ipMode": "Proxy"}, {"hostname": "x"}]
        }
    }
    found = front(made)
    assert (found.internal_local, found.external_local, found.affinity_seconds) == (True, True, 10800)
    assert (found.externals, found.balancers) == (("198.51.100.1",), ("198.51.100.2",))


class Tracked:
    """A tracker over caches that a test changes like an informer would."""

    def __init__(self) -> None:
        self.services = IndexedCache()
        self.slices = IndexedCache(indexes={BY_SERVICE: by_service})
        self.tracker = Tracker(self.services, self.slices, node=NODE)

    def put_service(self, made: Obj) -> None:
        slim = slim_service(made)
        was = self.services.get(Key("default", made["metadata"]["name"]))
        self.services.put(slim)
        self.tracker.service_changed(Delta(was, slim))

    def put_slice(self, made: Obj) -> None:
        slim = slim_slice(made)
        was = self.slices.get(Key("default", made["metadata"]["name"]))
        self.slices.put(slim)
        self.tracker.slice_changed(Delta(was, slim))

    def drop_slice(self, name: str) -> None:
        was = self.slices.remove(Key("default", name))
        self.tracker.slice_changed(Delta(was, None))

    def drop_service(self, name: str) -> None:
        was = self.services.remove(Key("default", name))
        self.tracker.service_changed(Delta(was, None))


PORT = ServicePort("default", "web", "http", "TCP")


def test_slices_may_come_before_their_service() -> None:
    at = Tracked()
    at.put_slice(slice_of("pod-1a"))
    assert at.tracker.take() == frozenset()
    at.put_service(web())
    assert at.tracker.take() == {PORT}
    assert len(at.tracker.desired[PORT].backends) == 1


def test_only_what_differs_is_reported() -> None:
    at = Tracked()
    at.put_service(web())
    at.put_slice(slice_of("pod-1a"))
    assert at.tracker.touched.is_set()
    assert at.tracker.take() == {PORT}
    assert not at.tracker.touched.is_set()
    at.put_slice(slice_of("pod-1a"))
    assert at.tracker.take() == frozenset()
    at.drop_slice("web-1")
    at.put_slice(slice_of("pod-1a"))
    assert at.tracker.take() == frozenset()


def test_a_service_that_goes_takes_its_ports() -> None:
    at = Tracked()
    at.put_service(web())
    at.tracker.take()
    at.put_service(service(FOUR, "web", 20, port(81, name="other")))
    assert at.tracker.take() == {PORT, PORT._replace(port="other")}
    assert set(at.tracker.desired) == {PORT._replace(port="other")}
    at.drop_service("web")
    assert at.tracker.take() == {PORT._replace(port="other")}
    assert at.tracker.desired == {}


def test_a_slice_that_changes_hands_touches_both_services() -> None:
    at = Tracked()
    at.put_service(web())
    at.put_service(service(FOUR, "api", 21, HTTP))
    at.put_slice(slice_of("pod-1a"))
    at.tracker.take()
    moved = slice_of("pod-1a")
    moved["metadata"]["labels"] = {"kubernetes.io/service-name": "api"}
    at.put_slice(moved)
    assert at.tracker.take() == {PORT, PORT._replace(name="api")}
    assert at.tracker.desired[PORT].backends == ()


def test_triggers_are_handed_over_once() -> None:
    at = Tracked()
    made = slice_of("pod-1a")
    for text in ("2026-11-22T10:00:00Z", "yesterday", "2026-11-22", "2026-11-22T10:00:00", "0001-01-01"):
        made["metadata"]["annotations"] = {"endpoints.kubernetes.io/last-change-trigger-time": text}
        at.put_slice(made)
    assert [times.stamp(each) for each in at.tracker.take_triggers()] == ["2026-11-22T10:00:00Z"]
    assert at.tracker.take_triggers() == []


@pytest.mark.parametrize(
    ("name", "text"), [("weights", "[" * 100_000), ("weights", '{"a": %s}' % ("9" * 5000)), ("weight", "9" * 5000)]
)
def test_annotations_in_bad_faith_are_as_if_they_were_not_there(name: str, text: str) -> None:
    made = slice_of("pod-1a")
    made["metadata"]["annotations"] = {f"pybernetes.io/{name}": text}
    assert front(web(), made) == front(web(), slice_of("pod-1a"))
