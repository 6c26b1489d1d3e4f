"""A cluster with one of each thing that has names: what the golden table of DNS (dns_golden.yaml) asks about."""

from collections.abc import Sequence
from typing import Any

from pybernetes.api.objects import Obj
from pybernetes.api.resources import ENDPOINT_SLICES, NAMESPACES, PODS, SERVICES, Resource
from support.fake_api import FakeApi

Z = "cluster.local"


def service(name: str, namespace: str = "default", **spec: Any) -> Obj:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def endpoint_slice(
    name: str,
    of: str,
    endpoints: list[Obj],
    *,
    namespace: str = "default",
    ports: list[Obj] | None = None,
    family: str = "IPv4",
) -> Obj:
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": of}},
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports,
    }


def endpoint(*addresses: str, ready: bool | None = True, hostname: str = "", pod: str = "") -> Obj:
    found: Obj = {"addresses": list(addresses), "conditions": {} if ready is None else {"ready": ready}}
    if hostname:
        found["hostname"] = hostname
    if pod:
        found["targetRef"] = {"kind": "Pod", "name": pod}
    return found


def pod(name: str, address: str, *, phase: str = "Running") -> Obj:
    status = {"phase": phase, "podIP": address, "podIPs": [{"ip": address}]}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {}, "status": status}


HTTP: Obj = {"name": "http", "protocol": "TCP", "port": 80}
METRICS: Obj = {"name": "metrics", "protocol": "UDP", "port": 9100}

NAMES = ("default", "kube-system", "empty")

SERVICE_OBJECTS = (
    service("web", clusterIP="10.96.0.20", clusterIPs=["10.96.0.20"], ports=[HTTP, METRICS]),
    service("dual", clusterIP="10.96.0.21", clusterIPs=["10.96.0.21", "fd00:96::21"], ports=[HTTP]),
    service("plain", clusterIP="10.96.0.22", clusterIPs=["10.96.0.22"], ports=[{"port": 8080}]),
    service("portless", clusterIP="10.96.0.23", clusterIPs=["10.96.0.23"]),
    service("many", clusterIP="10.96.0.24", clusterIPs=["10.96.0.24"],
            ports=[{"name": f"p{n}", "port": 1000 + n, "protocol": "TCP"} for n in range(6)]),
    service("pending", clusterIP="", ports=[HTTP]),
    service("db", clusterIP="None", clusterIPs=["None"], ports=[{"name": "sql", "port": 5432, "protocol": "TCP"}]),
    service("six", clusterIP="None", clusterIPs=["None"], ports=[HTTP]),
    service("unready", clusterIP="None", clusterIPs=["None"], ports=[HTTP]),
    service("lonely", clusterIP="None", clusterIPs=["None"], ports=[HTTP]),
    service("noports", clusterIP="None", clusterIPs=["None"]),
    service("other", "kube-system", clusterIP="None", clusterIPs=["None"], ports=[HTTP]),
    service("outside", type="ExternalName", externalName="www.example.com"),
    service("inside", type="ExternalName", externalName=f"web.default.svc.{Z}"),
    service("chained", type="ExternalName", externalName=f"inside.default.svc.{Z}"),
    service("nowhere", type="ExternalName", externalName=f"missing.default.svc.{Z}"),
    service("circle", type="ExternalName", externalName=f"circle.default.svc.{Z}"),
    service("round", type="ExternalName", externalName=f"about.default.svc.{Z}"),
    service("about", type="ExternalName", externalName=f"round.default.svc.{Z}"),
    service("nothing", type="ExternalName", externalName="nothing.example.com"),
    service("both", clusterIP="None", clusterIPs=["None"], ports=[HTTP]),
    service("large", clusterIP="None", clusterIPs=["None"], ports=[HTTP]),
    service("numeric", type="ExternalName", externalName="192.0.2.7"),
    service("hidden", "gone", clusterIP="10.96.0.99", clusterIPs=["10.96.0.99"], ports=[HTTP]),
)  # fmt: skip

LONG = "web-" + "b" * 60
"""A pod name of 64 characters: no label of a name."""
SQL: Obj = {"name": "sql", "protocol": "TCP", "port": 5432}

SLICE_OBJECTS = (
    endpoint_slice("web-1", "web", [endpoint("10.244.1.5", pod="web-a"), endpoint("10.244.2.5", ready=None),
                                    endpoint("10.244.2.6", pod=LONG)], ports=[HTTP]),
    endpoint_slice("db-1", "db", [endpoint("10.244.1.6", hostname="db-0", pod="db-0"),
                                  endpoint("10.244.1.7", hostname="db-1", pod="db-1")], ports=[SQL]),
    endpoint_slice("db-2", "db", [endpoint("10.244.1.6", hostname="db-0", pod="db-0"),
                                  endpoint("10.244.1.8", ready=False, hostname="db-2")], ports=[SQL]),
    endpoint_slice("db-3", "db", [endpoint("10.244.9.6", hostname="db-0")], ports=[SQL]),
    endpoint_slice("six-1", "six", [endpoint("fd00:244::6"), endpoint("fd00:244:1::")], ports=[HTTP], family="IPv6"),
    endpoint_slice("unready-1", "unready", [endpoint("10.244.1.9", ready=False)], ports=[HTTP]),
    endpoint_slice("noports-1", "noports", [endpoint("10.244.1.11")]),
    endpoint_slice("other-1", "other", [endpoint("10.244.1.6", hostname="db-0")], namespace="kube-system",
                   ports=[HTTP]),
    endpoint_slice("both-4", "both", [endpoint("10.244.3.1", hostname="b-0")], ports=[HTTP]),
    endpoint_slice("both-6", "both", [endpoint("fd00:244:3::1", hostname="b-0")], ports=[HTTP], family="IPv6"),
    endpoint_slice("large-1", "large", [endpoint(f"10.244.4.{n}") for n in range(1, 61)], ports=[HTTP]),
    endpoint_slice("names-1", "web", [endpoint("some.where.example")], ports=[HTTP], family="FQDN"),
)  # fmt: skip


POD_OBJECTS = (
    pod("web-a", "10.244.1.5"),
    pod("ended", "10.244.1.4", phase="Succeeded"),
)


def cluster(address: str) -> Sequence[tuple[Resource, Obj]]:
    """The cluster's objects, with kube-dns at an address."""
    ports = [{"name": "dns", "protocol": "UDP", "port": 53}, {"name": "dns-tcp", "protocol": "TCP", "port": 53}]
    kube_dns = service("kube-dns", "kube-system", clusterIP=address, clusterIPs=[address], ports=ports)
    return (
        *((NAMESPACES, {"metadata": {"name": name}}) for name in NAMES),
        *((SERVICES, obj) for obj in (kube_dns, *SERVICE_OBJECTS)),
        *((ENDPOINT_SLICES, obj) for obj in SLICE_OBJECTS),
        *((PODS, obj) for obj in POD_OBJECTS),
    )


def fill(api: FakeApi, address: str = "127.0.0.1") -> FakeApi:
    """The cluster's objects in a fake API."""
    for resource, obj in cluster(address):
        api.put(resource, obj)
    return api


REVERSE = ("10.96.0.0/16", "10.244.0.0/16", "fd00:244::/32")
