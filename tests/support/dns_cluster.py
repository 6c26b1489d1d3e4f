"""A cluster with one of each thing that has names, and the golden table: every rule of DNS as question and answer."""

from typing import Any, NamedTuple

from pybernetes.api.objects import Obj
from pybernetes.api.resources import ENDPOINT_SLICES, NAMESPACES, SERVICES
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


HTTP: Obj = {"name": "http", "protocol": "TCP", "port": 80}
METRICS: Obj = {"name": "metrics", "protocol": "UDP", "port": 9100}

NAMES = ("default", "kube-system", "empty")

SERVICE_OBJECTS = (
    service("kube-dns", "kube-system", clusterIP="127.0.0.1", clusterIPs=["127.0.0.1"], ports=[
        {"name": "dns", "protocol": "UDP", "port": 53}, {"name": "dns-tcp", "protocol": "TCP", "port": 53}]),
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
    service("numeric", type="ExternalName", externalName="192.0.2.7"),
    service("hidden", "gone", clusterIP="10.96.0.99", clusterIPs=["10.96.0.99"], ports=[HTTP]),
)  # fmt: skip

SQL: Obj = {"name": "sql", "protocol": "TCP", "port": 5432}

SLICE_OBJECTS = (
    endpoint_slice("web-1", "web", [endpoint("10.244.1.5", pod="web-a"), endpoint("10.244.2.5", ready=None)],
                   ports=[HTTP]),
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
    endpoint_slice("names-1", "web", [endpoint("some.where.example")], ports=[HTTP], family="FQDN"),
)  # fmt: skip


def fill(api: FakeApi) -> FakeApi:
    """The cluster's objects in a fake API."""
    for name in NAMES:
        api.put(NAMESPACES, {"metadata": {"name": name}})
    for obj in SERVICE_OBJECTS:
        api.put(SERVICES, obj)
    for obj in SLICE_OBJECTS:
        api.put(ENDPOINT_SLICES, obj)
    return api


class Case(NamedTuple):
    """`answers` and `extra` are "TYPE data" lines in any order; no answers is a denial with the zone's SOA."""

    name: str
    type: str
    rcode: str = "NOERROR"
    answers: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()


def _ptr(address: str) -> str:
    return ".".join(reversed(address.split("."))) + ".in-addr.arpa"


DB_PTR = (f"PTR db-0.db.default.svc.{Z}.", f"PTR db-0.other.kube-system.svc.{Z}.")
WEB_A = f"web.default.svc.{Z}. A 10.96.0.20"

GOLDEN: tuple[Case, ...] = (
    # the zone
    Case(f"dns-version.{Z}", "TXT", answers=('TXT "1.1.0"',)),
    Case(f"dns-version.{Z}", "A"),
    Case(Z, "A"),
    Case(Z, "NS", answers=(f"NS kube-dns.kube-system.svc.{Z}.",),
         extra=(f"kube-dns.kube-system.svc.{Z}. A 127.0.0.1",)),
    Case(f"ns.dns.{Z}", "A", answers=("A 127.0.0.1",)),
    Case(f"svc.{Z}", "A"),
    Case(f"pod.{Z}", "AAAA"),
    Case(f"default.svc.{Z}", "A"),
    Case(f"empty.svc.{Z}", "TXT"),
    Case(f"missing.svc.{Z}", "A", "NXDOMAIN"),
    Case(f"default.pod.{Z}", "A"),
    Case(f"missing.pod.{Z}", "A", "NXDOMAIN"),
    Case(f"other.{Z}", "A", "NXDOMAIN"),
    Case(f"web.default.{Z}", "A", "NXDOMAIN"),
    Case(f"web.default.svc.{Z}", "SOA"),
    Case(f"web.default.svc.{Z}", "NS"),
    # cluster addresses
    Case(f"web.default.svc.{Z}", "A", answers=("A 10.96.0.20",)),
    Case(f"web.default.svc.{Z}", "AAAA"),
    Case(f"WEB.Default.svc.{Z}", "A", answers=("A 10.96.0.20",)),
    Case(f"dual.default.svc.{Z}", "A", answers=("A 10.96.0.21",)),
    Case(f"dual.default.svc.{Z}", "AAAA", answers=("AAAA fd00:96::21",)),
    Case(f"pending.default.svc.{Z}", "A"),
    Case(f"missing.default.svc.{Z}", "A", "NXDOMAIN"),
    Case(f"hidden.gone.svc.{Z}", "A", "NXDOMAIN"),
    Case(f"web.kube-system.svc.{Z}", "A", "NXDOMAIN"),
    Case(f"web.default.svc.{Z}", "HTTPS"),
    Case(f"web.default.svc.{Z}", "MX"),
    Case(f"web.default.svc.{Z}", "ANY"),
    Case(f"missing.default.svc.{Z}", "CAA", "NXDOMAIN"),
    Case(f"web.default.svc.{Z}", "TXT"),
    Case(f"web.default.svc.{Z}", "DS"),
    # SRV
    Case(f"_http._tcp.web.default.svc.{Z}", "SRV", answers=(f"SRV 0 100 80 web.default.svc.{Z}.",), extra=(WEB_A,)),
    Case(f"_metrics._udp.web.default.svc.{Z}", "SRV", answers=(f"SRV 0 100 9100 web.default.svc.{Z}.",),
         extra=(WEB_A,)),
    Case(f"_http._tcp.web.default.svc.{Z}", "A", answers=("A 10.96.0.20",)),
    Case(f"_http._udp.web.default.svc.{Z}", "SRV", "NXDOMAIN"),
    Case(f"_ftp._tcp.web.default.svc.{Z}", "SRV", "NXDOMAIN"),
    Case(f"_ftp._tcp.web.default.svc.{Z}", "A", "NXDOMAIN"),
    Case(f"_http._tcp.dual.default.svc.{Z}", "SRV", answers=(f"SRV 0 50 80 dual.default.svc.{Z}.",),
         extra=(f"dual.default.svc.{Z}. A 10.96.0.21", f"dual.default.svc.{Z}. AAAA fd00:96::21")),
    Case(f"web.default.svc.{Z}", "SRV",
         answers=(f"SRV 0 50 80 web.default.svc.{Z}.", f"SRV 0 50 9100 web.default.svc.{Z}."), extra=(WEB_A,)),
    Case(f"plain.default.svc.{Z}", "SRV", answers=(f"SRV 0 100 8080 plain.default.svc.{Z}.",),
         extra=(f"plain.default.svc.{Z}. A 10.96.0.22",)),
    Case(f"portless.default.svc.{Z}", "SRV"),
    Case(f"portless.default.svc.{Z}", "A", answers=("A 10.96.0.23",)),
    Case(f"many.default.svc.{Z}", "SRV", answers=tuple(f"SRV 0 16 {1000 + n} many.default.svc.{Z}." for n in range(6)),
         extra=(f"many.default.svc.{Z}. A 10.96.0.24",)),
    # headless
    Case(f"db.default.svc.{Z}", "A", answers=("A 10.244.1.6", "A 10.244.1.7", "A 10.244.9.6")),
    Case(f"db.default.svc.{Z}", "AAAA"),
    Case(f"six.default.svc.{Z}", "AAAA", answers=("AAAA fd00:244::6", "AAAA fd00:244:1::")),
    Case(f"six.default.svc.{Z}", "A"),
    Case(f"unready.default.svc.{Z}", "A", "NXDOMAIN"),
    Case(f"lonely.default.svc.{Z}", "A", "NXDOMAIN"),
    Case(f"noports.default.svc.{Z}", "A", answers=("A 10.244.1.11",)),
    Case(f"noports.default.svc.{Z}", "SRV"),
    Case(f"db-0.db.default.svc.{Z}", "A", answers=("A 10.244.1.6", "A 10.244.9.6")),
    Case(f"db-1.db.default.svc.{Z}", "A", answers=("A 10.244.1.7",)),
    Case(f"db-2.db.default.svc.{Z}", "A", "NXDOMAIN"),
    Case(f"db-0.db.default.svc.{Z}", "AAAA"),
    Case(f"fd00-244--6.six.default.svc.{Z}", "AAAA", answers=("AAAA fd00:244::6",)),
    Case(f"fd00-244-1--0.six.default.svc.{Z}", "AAAA", answers=("AAAA fd00:244:1::",)),
    Case(f"10-244-1-5.web.default.svc.{Z}", "A", answers=("A 10.244.1.5",)),
    Case(f"10-244-2-5.web.default.svc.{Z}", "A", answers=("A 10.244.2.5",)),
    Case(f"web-a.web.default.svc.{Z}", "A", "NXDOMAIN"),
    Case(f"_sql._tcp.db.default.svc.{Z}", "SRV",
         answers=(f"SRV 0 25 5432 db-0.db.default.svc.{Z}.", f"SRV 0 25 5432 db-1.db.default.svc.{Z}."),
         extra=(f"db-0.db.default.svc.{Z}. A 10.244.1.6", f"db-0.db.default.svc.{Z}. A 10.244.9.6",
                f"db-1.db.default.svc.{Z}. A 10.244.1.7")),
    Case(f"_sql._tcp.db.default.svc.{Z}", "A", answers=("A 10.244.1.6", "A 10.244.1.7", "A 10.244.9.6")),
    Case(f"a._sql._tcp.db.default.svc.{Z}", "SRV", "NXDOMAIN"),
    # PTR
    Case(_ptr("10.96.0.20"), "PTR", answers=(f"PTR web.default.svc.{Z}.",)),
    Case(_ptr("10.96.0.99"), "PTR", "NXDOMAIN"),
    Case(_ptr("10.96.0.20"), "A"),
    Case(_ptr("10.244.1.6"), "PTR", answers=DB_PTR),
    Case(_ptr("10.244.1.5"), "PTR", answers=(f"PTR 10-244-1-5.web.default.svc.{Z}.",)),
    Case(_ptr("10.244.1.8"), "PTR", "NXDOMAIN"),
    Case(_ptr("10.96.77.7"), "PTR", "NXDOMAIN"),
    Case("96.10.in-addr.arpa", "PTR"),
    Case("0.96.10.in-addr.arpa", "PTR"),
    Case("x.0.96.10.in-addr.arpa", "PTR", "NXDOMAIN"),
    Case("6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.4.2.0.0.0.d.f.ip6.arpa", "PTR",
         answers=(f"PTR fd00-244--6.six.default.svc.{Z}.",)),
    # ExternalName
    Case(f"outside.default.svc.{Z}", "CNAME", answers=("CNAME www.example.com.",)),
    Case(f"outside.default.svc.{Z}", "SRV"),
    Case(f"outside.default.svc.{Z}", "TXT"),
    Case(f"x.outside.default.svc.{Z}", "A", "NXDOMAIN"),
    Case(f"_p._tcp.outside.default.svc.{Z}", "A", "NXDOMAIN"),
    Case(f"inside.default.svc.{Z}", "A", answers=(f"CNAME web.default.svc.{Z}.", "A 10.96.0.20")),
    Case(f"inside.default.svc.{Z}", "AAAA"),
    Case(f"chained.default.svc.{Z}", "A",
         answers=(f"CNAME inside.default.svc.{Z}.", f"CNAME web.default.svc.{Z}.", "A 10.96.0.20")),
    Case(f"nowhere.default.svc.{Z}", "A"),
    Case(f"circle.default.svc.{Z}", "A"),
    Case(f"round.default.svc.{Z}", "A"),
    Case(f"numeric.default.svc.{Z}", "A", "NXDOMAIN"),
    # pods
    Case(f"10-244-7-7.default.pod.{Z}", "A", answers=("A 10.244.7.7",)),
    Case(f"10-244-7-7.default.pod.{Z}", "AAAA"),
    Case(f"x.10-244-7-7.default.pod.{Z}", "A", answers=("A 10.244.7.7",)),
    Case(f"fd00-244--7.default.pod.{Z}", "AAAA", answers=("AAAA fd00:244::7",)),
    Case(f"10-244-7-7.missing.pod.{Z}", "A", "NXDOMAIN"),
    Case(f"web-0.default.pod.{Z}", "A", "NXDOMAIN"),
    # search lists of pods
    Case(f"www.example.com.default.svc.{Z}", "A", "NXDOMAIN"),
    Case(f"www.example.com.svc.{Z}", "A", "NXDOMAIN"),
    Case(f"www.example.com.{Z}", "AAAA", "NXDOMAIN"),
    Case(f"web.default.svc.{Z}.default.svc.{Z}", "A", "NXDOMAIN"),
)  # fmt: skip

REVERSE = ("10.96.0.0/16", "10.244.0.0/16", "fd00:244::/32")
