"""What Kubernetes' conformance suite asks of Services and DNS, asked of real pods on two nodes."""

import json
import socket

import pytest

from support.town import Town, on, pod, server, service

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]

NAMED = [
    {"name": "first", "containerPort": 8001},
    {"name": "second", "containerPort": 8002},
    {"name": "talk", "containerPort": 8003, "protocol": "UDP"},
]
WEB = {"app": "web"}
BACKENDS = [
    server(f"web-{n}", "tcp:8001", "tcp:8002", "udp:8003", "tcp:8003", labels=WEB, ports=NAMED, spec=on(f"node-{n}"))
    for n in (1, 2)
]
CALLERS = [pod(f"caller-{n}", spec=on(f"node-{n}")) for n in (1, 2)]
HOST_CALLER = pod("caller-host", spec=on("node-1") | {"hostNetwork": True})
STABLE = server("stable-1", "tcp:8001", labels={"app": "stable"}, spec={"hostname": "first", "subdomain": "stable"})
GATED = server("gated", "tcp:8001", labels={"app": "gated"}, readinessProbe={
    "exec": {"command": ["test", "-e", "/tmp/of-the-test-ready"]}, "periodSeconds": 1, "failureThreshold": 1,
})  # fmt: skip
SERVICES = [
    service("web", {"name": "a", "port": 80, "targetPort": 8001}, {"name": "b", "port": 81, "targetPort": "second"},
            {"name": "u", "port": 53, "protocol": "UDP", "targetPort": "talk"},
            {"name": "t", "port": 53, "targetPort": 8003}, selector=WEB),
    service("open", {"name": "a", "port": 80, "targetPort": "first"},
            {"name": "u", "port": 80, "protocol": "UDP", "targetPort": "talk"}, selector=WEB, type="NodePort"),
    service("sticky", {"port": 80, "targetPort": "first"}, selector=WEB, sessionAffinity="ClientIP"),
    service("headless", {"name": "a", "port": 8001}, {"name": "u", "port": 8003, "protocol": "UDP"},
            selector=WEB, clusterIP="None"),
    service("stable", {"name": "a", "port": 8001}, selector={"app": "stable"}, clusterIP="None"),
    service("nobody", {"name": "a", "port": 80}, {"name": "u", "port": 81, "protocol": "UDP"},
            selector={"app": "nobody"}, type="NodePort"),
    service("gated", {"port": 80, "targetPort": 8001}, selector={"app": "gated"}),
    service("elsewhere", type="ExternalName", externalName="web.service-semantics.svc.cluster.local"),
    service("manual", {"name": "a", "port": 80}),
]  # fmt: skip


@pytest.fixture(scope="module")
def town(cluster, namespace):
    found = Town(cluster, namespace)
    found.apply(*SERVICES)
    found.apply(*BACKENDS, *CALLERS, HOST_CALLER, STABLE, GATED)
    found.ready("web-1", "web-2", "caller-1", "caller-2", "caller-host", "stable-1")
    cluster.until(lambda: found.endpoints("web") == {"web-1", "web-2"}, what="both servers are endpoints")
    cluster.until(lambda: found.spread("web", 80) == {"web-1", "web-2"}, what="both answer")
    cluster.until(lambda: found.spread("web", 80, caller="caller-2") == {"web-1", "web-2"}, what="from node-2 too")
    return found


@pytest.fixture(scope="module")
def suffix(namespace):
    return f"{namespace}.svc.cluster.local"


# Services


def test_should_serve_a_basic_endpoint_from_pods(town):
    for caller in ("caller-1", "caller-2"):
        answers = [one.split() for one in town.call("web", 80, caller=caller, times=30)]
        assert {answer[0] for answer in answers} == {"web-1", "web-2"}
        assert {(answer[1], answer[2]) for answer in answers} == {("tcp", "8001")}
        assert {answer[3] for answer in answers} == {town.address(caller)}  # a pod is seen by its own address


def test_should_serve_multiport_endpoints_from_pods(town):
    assert {one.split()[2] for one in town.call("web", 81, times=5)} == {"8002"}
    assert town.call("web", 8001) == ["ConnectionRefusedError"]


def test_should_serve_endpoints_on_same_port_and_different_protocols(town):
    assert {tuple(one.split()[1:3]) for one in town.call("web", 53, times=5)} == {("tcp", "8003")}
    answers = town.call("web", 53, kind="udp", times=40)
    assert {tuple(one.split()[:3]) for one in answers} == {("web-1", "udp", "8003"), ("web-2", "udp", "8003")}


def test_should_be_able_to_create_a_functioning_node_port_service(town):
    ports = town.service("open")["ports"]
    tcp, udp = ((port["nodePort"]) for port in ports)
    for node in town.get("nodes")["items"]:
        address = node["status"]["addresses"][0]["address"]
        assert {one.split()[0] for one in from_outside(address, tcp)} == {"web-1", "web-2"}
        assert town.spread(address, tcp) == {"web-1", "web-2"}
        assert town.spread(address, tcp, caller="caller-host") == {"web-1", "web-2"}
        assert town.spread(address, udp, kind="udp") == {"web-1", "web-2"}


def from_outside(address, port, times=40):
    answers = []
    for _ in range(times):
        with socket.create_connection((address, port), timeout=30) as one:
            answers.append(one.recv(2000).decode())
    return answers


@pytest.mark.parametrize("caller", ["caller-1", "caller-host"])
def test_without_endpoints_a_connection_is_refused_at_once(town, caller):
    spec = town.service("nobody")
    node = town.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
    assert town.call("nobody.service-semantics.svc.cluster.local" if caller == "caller-1" else spec["clusterIP"], 80,
                     caller=caller) == ["ConnectionRefusedError"]  # fmt: skip
    # What a host sends itself is refused before it leaves, and the kernel has another word for that.
    refused = {"caller-1": ["ConnectionRefusedError"], "caller-host": ["PermissionError"]}
    assert town.call(spec["clusterIP"], 81, kind="udp", caller=caller) == refused[caller]
    assert town.call(node, spec["ports"][0]["nodePort"], caller=caller) == ["ConnectionRefusedError"]


def test_should_have_session_affinity_work_for_service_with_type_cluster_ip(town):
    for caller in ("caller-1", "caller-2"):
        town.cluster.until(
            lambda caller=caller: town.spread("sticky", 80, caller=caller) in ({"web-1"}, {"web-2"}),
            what=f"one answers {caller}",
        )


def test_should_be_able_to_switch_session_affinity_for_service_with_type_cluster_ip(town):
    town.kubectl("patch", "service", "sticky", "-p", '{"spec": {"sessionAffinity": "None"}}')
    town.cluster.until(lambda: len(town.spread("sticky", 80, times=30)) == 2, what="both answer without affinity")
    town.kubectl("patch", "service", "sticky", "-p", '{"spec": {"sessionAffinity": "ClientIP"}}')
    town.cluster.until(lambda: len(town.spread("sticky", 80, times=30)) == 1, what="one answers with affinity")


def node_address(town, name):
    addresses = town.cluster.get("node", name)["status"]["addresses"]
    return next(one["address"] for one in addresses if one["type"] == "InternalIP")


def test_should_have_session_affinity_work_for_node_port_service_and_switch(town):
    town.apply(service("sticky-open", {"port": 80, "targetPort": "first"}, selector=WEB, type="NodePort",
                       sessionAffinity="ClientIP"))  # fmt: skip
    target = (node_address(town, "node-2"), town.service("sticky-open")["ports"][0]["nodePort"])
    town.cluster.until(lambda: town.call(*target)[0].startswith("web-"), what="the node port answers")
    town.cluster.until(lambda: town.spread(*target) in ({"web-1"}, {"web-2"}), what="one answers")
    town.kubectl("patch", "service", "sticky-open", "-p", '{"spec": {"sessionAffinity": "None"}}')
    town.cluster.until(lambda: town.spread(*target) == {"web-1", "web-2"}, what="no affinity any more")
    town.kubectl("patch", "service", "sticky-open", "-p", '{"spec": {"sessionAffinity": "ClientIP"}}')
    town.cluster.until(lambda: len(town.spread(*target)) == 1, what="affinity again")


def test_a_pod_of_weight_0_gets_nothing_new(town):
    town.kubectl("annotate", "pod", "web-1", "pybernetes.io/weight=0")
    try:
        town.cluster.until(lambda: town.spread("web", 80) == {"web-2"}, what="only the other one answers")
    finally:
        town.kubectl("annotate", "pod", "web-1", "pybernetes.io/weight-")
    town.cluster.until(lambda: town.spread("web", 80) == {"web-1", "web-2"}, what="both answer again")


def test_traffic_prefers_the_same_node(town):
    town.apply(service("near", {"port": 80, "targetPort": "first"}, selector=WEB, trafficDistribution="PreferSameNode"))
    for number in ("1", "2"):
        near = {f"web-{number}"}
        town.cluster.until(
            lambda near=near, caller=f"caller-{number}": town.spread("near", 80, caller=caller) == near,
            what="the server of the same node answers alone",
        )


ASK = r"""
import json, sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=30)
except urllib.error.HTTPError as error:
    answer = error
except OSError:
    sys.exit(print("0 {}"))
print(answer.status, json.dumps(json.load(answer)))
"""


def test_load_balancers_find_the_nodes_that_serve(town):
    def ask(node, port, path="/"):
        status, _, body = town.python("caller-1", ASK, f"http://{node_address(town, node)}:{port}{path}").partition(" ")
        return int(status), json.loads(body)

    town.kubectl("label", "pod", "web-1", "edge=yes")
    town.apply(service("edge", {"port": 80, "targetPort": "first"}, selector={"edge": "yes"}, type="LoadBalancer",
                       externalTrafficPolicy="Local"))  # fmt: skip
    port = town.service("edge")["healthCheckNodePort"]
    town.cluster.until(lambda: ask("node-1", port)[0] == 200, what="the node with the pod is fine")
    status, told = ask("node-2", port)
    assert (status, told["localEndpoints"], told["serviceProxyHealthy"]) == (503, 0, True)
    assert told["service"] == {"namespace": town.namespace, "name": "edge"}
    status, told = ask("node-1", 10256, "/healthz")
    assert (status, told["nodeEligible"]) == (200, True)


def test_a_pod_reaches_itself_through_its_own_service(town):
    assert town.spread("web", 80, caller="web-1") == {"web-1", "web-2"}
    town.apply(service("alone", {"port": 80, "targetPort": 8001}, selector={"app": "stable"}))
    answered = town.cluster.until(
        lambda: [one for one in town.call("alone", 80, caller="stable-1") if "Error" not in one], what="it answers"
    )
    assert answered[0].split()[0] == "first"


def test_a_pod_on_the_host_network_reaches_services(town):
    assert town.spread(town.service("web")["clusterIP"], 80, caller="caller-host") == {"web-1", "web-2"}
    node = town.get("pod", "caller-host")["status"]
    assert node["podIP"] == node["hostIP"]


def test_only_ready_pods_get_traffic(town):
    assert town.call("gated", 80) == ["ConnectionRefusedError"]
    town.run("gated", "touch", "/tmp/of-the-test-ready")
    town.cluster.until(lambda: town.call("gated", 80)[0].startswith("gated "), what="the ready pod answers")
    town.run("gated", "rm", "/tmp/of-the-test-ready")
    town.cluster.until(lambda: town.call("gated", 80) == ["ConnectionRefusedError"], what="the pod is left out again")
    assert town.get("pod", "gated")["status"]["containerStatuses"][0]["restartCount"] == 0


def test_endpoints_that_a_user_wrote(town):
    slice_of = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "manual-1", "labels": {"kubernetes.io/service-name": "manual"}},
        "addressType": "IPv4",
        "ports": [{"name": "a", "port": 8002, "protocol": "TCP"}],
        "endpoints": [{"addresses": [town.address("web-2")], "conditions": {"ready": True}}],
    }
    town.apply(slice_of)
    town.cluster.until(lambda: town.call("manual", 80)[0].startswith("web-2 tcp 8002"), what="the endpoint answers")


def test_should_be_able_to_change_the_type_from_external_name_to_cluster_ip_and_back(town, suffix):
    town.apply(service("changing", type="ExternalName", externalName=f"web.{suffix}"))
    town.cluster.until(lambda: f"CNAME web.{suffix}" in town.resolve("CNAME", f"changing.{suffix}"), what="a CNAME")
    town.apply(service("changing", {"port": 80, "targetPort": 8001}, type="ClusterIP", selector=WEB))
    address = town.service("changing")["clusterIP"]
    town.cluster.until(lambda: town.resolve("A", f"changing.{suffix}") == [f"A {address}"], what="an address")
    town.cluster.until(lambda: town.spread("changing", 80) == {"web-1", "web-2"}, what="it answers")
    change = {"spec": {"type": "ExternalName", "externalName": f"web.{suffix}", "clusterIP": None, "clusterIPs": None}}
    town.kubectl("patch", "service", "changing", "-p", json.dumps(change))
    assert "clusterIP" not in town.service("changing")
    town.cluster.until(lambda: f"CNAME web.{suffix}" in town.resolve("CNAME", f"changing.{suffix}"), what="a CNAME")


def test_a_deleted_service_is_gone_from_rules_and_names(town, suffix):
    town.apply(service("brief", {"port": 80, "targetPort": 8001}, selector=WEB))
    address = town.service("brief")["clusterIP"]
    town.cluster.until(lambda: town.spread("brief", 80) == {"web-1", "web-2"}, what="it answers")
    town.kubectl("delete", "service", "brief")
    town.cluster.until(lambda: town.resolve("A", f"brief.{suffix}") == ["NXDOMAIN"], what="the name is gone")
    town.cluster.until(lambda: "Error" in town.call(address, 80)[0], what="the address is gone")
    town.cluster.until(lambda: town.endpoints("brief") == set(), what="its slices are gone")


def test_should_contain_environment_variables_for_services(town):
    town.apply(pod("late"))
    town.ready("late")
    found = dict(line.split("=", 1) for line in town.run("late", "env").splitlines())
    spec = town.service("web")
    assert (found["WEB_SERVICE_HOST"], found["WEB_SERVICE_PORT"]) == (spec["clusterIP"], "80")
    assert (found["WEB_SERVICE_PORT_A"], found["WEB_SERVICE_PORT_B"]) == ("80", "81")
    assert found["WEB_PORT_53_UDP"] == f"udp://{spec['clusterIP']}:53"
    assert (found["WEB_PORT_81_TCP_PROTO"], found["WEB_PORT_81_TCP_ADDR"]) == ("tcp", spec["clusterIP"])
    assert found["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert not [name for name in found if name.startswith(("HEADLESS_", "ELSEWHERE_"))]


def test_should_provide_secure_master_service(town):
    script = """
import ssl, sys, urllib.request
where = "/var/run/secrets/kubernetes.io/serviceaccount/"
context = ssl.create_default_context(cafile=where + "ca.crt")
request = urllib.request.Request("https://kubernetes.default.svc/version")
request.add_header("Authorization", "Bearer " + open(where + "token").read())
print(urllib.request.urlopen(request, context=context, timeout=30).status, open(where + "namespace").read())
"""
    for caller in ("caller-1", "caller-2"):
        assert town.python(caller, script).split() == ["200", "service-semantics"]


# DNS


def test_should_provide_dns_for_services(town, suffix):
    spec = town.service("web")
    for caller in ("caller-1", "caller-2"):
        assert town.resolve("A", f"web.{suffix}", caller=caller) == [f"A {spec['clusterIP']}"]
    assert town.resolve("AAAA", f"web.{suffix}") == ["NODATA"]
    assert town.resolve("SRV", f"_a._tcp.web.{suffix}") == [f"SRV 0 100 80 web.{suffix}"]
    assert town.resolve("SRV", f"_u._udp.web.{suffix}") == [f"SRV 0 100 53 web.{suffix}"]
    assert town.resolve("SRV", f"_u._tcp.web.{suffix}") == ["NXDOMAIN"]
    assert town.resolve("A", f"nothing.{suffix}") == ["NXDOMAIN"]
    assert town.resolve("PTR", reverse(spec["clusterIP"])) == [f"PTR web.{suffix}"]


def reverse(address):
    return ".".join(reversed(address.split("."))) + ".in-addr.arpa"


def test_a_headless_service_names_its_pods(town, suffix):
    addresses = [town.address(name) for name in ("web-1", "web-2")]
    assert town.resolve("A", f"headless.{suffix}") == sorted(f"A {one}" for one in addresses)
    names = [f"{one.replace('.', '-')}.headless.{suffix}" for one in addresses]
    assert town.resolve("SRV", f"_a._tcp.headless.{suffix}") == sorted(f"SRV 0 50 8001 {name}" for name in names)
    assert town.resolve("A", names[0]) == [f"A {addresses[0]}"]
    assert town.resolve("A", f"nobody-there.headless.{suffix}") == ["NXDOMAIN"]
    assert town.spread("headless", 8001) <= {"web-1", "web-2"}


def test_should_provide_dns_for_pods_for_hostname_and_subdomain(town, suffix):
    address = town.address("stable-1")
    assert town.resolve("A", f"first.stable.{suffix}") == [f"A {address}"]
    assert f"PTR first.stable.{suffix}" in town.resolve("PTR", reverse(address))
    assert town.run("stable-1", "hostname").strip() == "first"
    assert town.run("stable-1", "hostname", "-f").strip() == f"first.stable.{suffix}"
    assert f"{address}\tfirst.stable.{suffix}\tfirst" in town.run("stable-1", "cat", "/etc/hosts")
    assert town.call("first.stable", 8001)[0].startswith("first ")


def test_should_resolve_dns_of_partial_qualified_names_for_services(town, suffix):
    address = town.service("web")["clusterIP"]
    for name in ("web", "web.service-semantics", "web.service-semantics.svc", f"web.{suffix}", f"web.{suffix}."):
        assert town.run("caller-2", "getent", "ahostsv4", name).split()[0] == address, name
    assert town.run("caller-1", "getent", "ahostsv4", "kubernetes.default").split()[0].endswith(".0.1")


def test_the_search_list_of_a_pod_is_walked_for_it(town, suffix):
    """The first question of getaddrinfo is the last: what is found further on comes behind a CNAME."""
    full = "kubernetes.default.svc.cluster.local"
    found = town.resolve("A", f"kubernetes.default.{suffix}")
    assert f"CNAME {full}" in found
    assert len(found) == 2
    assert town.resolve("A", "kubernetes.default.svc.elsewhere.svc.cluster.local") == ["NXDOMAIN"]


def test_should_provide_dns_for_external_name_services(town, suffix):
    answers = town.resolve("A", f"elsewhere.{suffix}")
    assert answers == sorted([f"CNAME web.{suffix}", f"A {town.service('web')['clusterIP']}"])
    assert town.spread("elsewhere", 80) == {"web-1", "web-2"}


def test_should_provide_etc_hosts_entries_for_the_cluster(town):
    hosts = town.run("caller-1", "cat", "/etc/hosts")
    assert f"{town.address('caller-1')}\tcaller-1" in hosts
    assert hosts.startswith("# Kubernetes-managed hosts file.")
    aliases = [{"ip": "192.0.2.7", "hostnames": ["foo.remote", "bar.remote"]}]
    town.apply(pod("aliased", spec={"hostAliases": aliases}))
    town.ready("aliased")
    assert town.run("aliased", "getent", "hosts", "bar.remote").split()[0] == "192.0.2.7"


def test_should_support_configurable_pod_dns_nameservers(town):
    options = {
        "nameservers": ["192.0.2.53"],
        "searches": ["resolv.example"],
        "options": [{"name": "ndots", "value": "2"}],
    }
    town.apply(pod("own-dns", spec={"dnsPolicy": "None", "dnsConfig": options}))
    town.ready("own-dns")
    lines = town.run("own-dns", "cat", "/etc/resolv.conf").split("\n")
    assert set(filter(None, lines)) == {"nameserver 192.0.2.53", "search resolv.example", "options ndots:2"}


def test_a_name_of_nowhere_is_refused_at_once(town):
    assert town.resolve("A", "www.example.com")[0] in {"RCODE5", "RCODE2", "NXDOMAIN"}


def test_the_zone_says_its_version(town):
    assert town.resolve("TXT", "dns-version.cluster.local") == ["TXT 1.1.0"]
