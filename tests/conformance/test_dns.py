"""What Kubernetes' conformance suite asks of DNS and of the files that a pod resolves names by, asked of real pods."""

import json

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]

# A name server of one name: ADDRESS for NAME's A, "no such name" for the rest, over UDP.
NAMESERVER = r"""
import socket, struct, sys
name, address = sys.argv[1:]
wire = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.bind(("", 53))
    while True:
        data, peer = udp.recvfrom(4096)
        end = data.index(0, 12) + 5
        known, plain = data[12 : end - 4].lower() == wire, data[end - 4 : end] == b"\0\1\0\1"
        answers = known and plain
        reply = data[:2] + struct.pack("!5H", 0x8580 | (0 if known else 3), 1, answers, 0, 0) + data[12:end]
        if answers:
            reply += b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(address)
        udp.sendto(reply, peer)
"""

# Addresses by getaddrinfo, or the name of the error.
ASK = r"""
import socket, sys
for name in sys.argv[1:]:
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)}
        print(name, *sorted(found))
    except socket.gaierror:
        print(name, "-")
"""

# The same over TCP: libc does so when resolv.conf says use-vc.
OVER_TCP = {"dnsConfig": {"options": [{"name": "use-vc"}]}}


def pod(name, *, labels=None, spec=None, command=("sleep", "3600")):
    container = {"name": "main", "image": "host", "command": list(command)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]} | (spec or {}),
    }


def service(name, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def on(node):
    return {"nodeSelector": {"kubernetes.io/hostname": node}}


class Place:
    """A namespace with pods that ask."""

    def __init__(self, cluster, namespace):
        self.cluster, self.namespace = cluster, namespace

    def kubectl(self, *argv, text=""):
        return self.cluster.kubectl("-n", self.namespace, *argv, text=text)

    def run(self, *objects):
        """Make objects, and wait for the pods among them; returns the first's address."""
        self.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        for obj in objects:
            if obj["kind"] == "Pod":
                self.kubectl("wait", "--for=condition=Ready", f"pod/{obj['metadata']['name']}", "--timeout=100s")
        return self.address(objects[0]["metadata"]["name"]) if objects[0]["kind"] == "Pod" else ""

    def address(self, name):
        return self.cluster.get("pod", name, "-n", self.namespace)["status"]["podIP"]

    def read(self, name, path):
        return self.kubectl("exec", name, "--", "cat", path)

    def resolv(self, name):
        """The lines of a pod's resolv.conf by their first word."""
        lines = self.read(name, "/etc/resolv.conf").splitlines()
        found = {"nameserver": [], "search": [], "options": []}
        for line in lines:
            word, *rest = line.split()
            found[word] += rest
        return found

    def ask(self, *names, pod="asker-1"):
        """Addresses by name, as a pod's libc finds them."""
        out = self.kubectl("exec", pod, "--", "python3", "-c", ASK, *names)
        return {line.split()[0]: [one for one in line.split()[1:] if one != "-"] for line in out.splitlines()}

    def find(self, name, *wanted, **options):
        """Wait until a name has exactly these addresses."""
        self.cluster.until(lambda: self.ask(name, **options)[name] == sorted(wanted), what=f"{name} is {wanted}")


@pytest.fixture(scope="module")
def place(cluster, namespace):
    found = Place(cluster, namespace)
    found.run(
        pod("asker-1", spec=on("node-1")),
        pod("asker-2", spec=on("node-2")),
        pod("asker-tcp", spec=on("node-2") | OVER_TCP),
    )
    return found


ASKERS = ("asker-1", "asker-2", "asker-tcp")


@pytest.mark.parametrize("asker", ASKERS)
def test_should_provide_dns_for_the_cluster(place, asker):
    address = place.cluster.get("service", "kubernetes", "-n", "default")["spec"]["clusterIP"]
    names = ("kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local.")
    assert place.ask(*names, pod=asker) == {name: [address] for name in names}
    dns = place.cluster.get("service", "kube-dns", "-n", "kube-system")["spec"]["clusterIP"]
    assert place.ask("kube-dns.kube-system", pod=asker)["kube-dns.kube-system"] == [dns]
    assert place.resolv(asker)["nameserver"] == [dns]


@pytest.mark.parametrize("asker", ASKERS)
def test_should_provide_dns_for_services(place, asker):
    """A Service with an address, and a headless one, which has those of its ready pods."""
    address = place.run(pod("backend", labels={"app": "backend"}))
    place.run(
        service("test-service", ports=[{"name": "http", "port": 80}], selector={"app": "backend"}),
        service("test-headless", ports=[{"name": "http", "port": 80}], selector={"app": "backend"}, clusterIP="None"),
    )
    cluster_ip = place.cluster.get("service", "test-service", "-n", place.namespace)["spec"]["clusterIP"]
    place.find(f"test-service.{place.namespace}.svc", cluster_ip, pod=asker)
    place.find(f"test-headless.{place.namespace}.svc", address, pod=asker)
    place.find(f"{address.replace('.', '-')}.{place.namespace}.pod", address, pod=asker)


def test_should_provide_dns_for_pods_for_hostname_and_subdomain(place):
    subdomain = "test-hostname"
    place.run(service(subdomain, ports=[{"port": 80}], selector={"app": "named"}, clusterIP="None"))
    named = pod("named", labels={"app": "named"}, spec={"hostname": "querier", "subdomain": subdomain})
    address = place.run(named)
    full = f"querier.{subdomain}.{place.namespace}.svc.cluster.local"
    for asker in ASKERS:
        place.find(full, address, pod=asker)
        place.find(f"querier.{subdomain}", address, pod=asker)
    assert place.kubectl("exec", "named", "--", "hostname", "-f").strip() == full
    assert place.kubectl("exec", "named", "--", "getent", "hosts", "querier").split() == [address, full, "querier"]
    assert place.kubectl("exec", "asker-1", "--", "getent", "hosts", address).split()[1] == full


def test_should_resolve_dns_of_partial_qualified_names_for_services(place):
    place.run(service("partial", ports=[{"port": 80}]))
    address = place.cluster.get("service", "partial", "-n", place.namespace)["spec"]["clusterIP"]
    for asker in ASKERS:
        for name in ("partial", f"partial.{place.namespace}", f"partial.{place.namespace}.svc"):
            place.find(name, address, pod=asker)
    assert place.ask("partial.default", "partial.default.svc") == {"partial.default": [], "partial.default.svc": []}


def test_should_provide_dns_for_external_name_services(place):
    """The name changes with the Service: to another target, and to an address of its own."""
    kubernetes = place.cluster.get("service", "kubernetes", "-n", "default")["spec"]["clusterIP"]
    dns = place.cluster.get("service", "kube-dns", "-n", "kube-system")["spec"]["clusterIP"]
    place.run(service("moving", type="ExternalName", externalName="kubernetes.default.svc.cluster.local"))
    place.find("moving", kubernetes)
    target = {"spec": {"externalName": "kube-dns.kube-system.svc.cluster.local"}}
    place.kubectl("patch", "service", "moving", "-p", json.dumps(target))
    place.find("moving", dns)
    own = {"spec": {"type": "ClusterIP", "externalName": None, "ports": [{"port": 80}]}}
    place.kubectl("patch", "service", "moving", "-p", json.dumps(own))
    address = place.cluster.get("service", "moving", "-n", place.namespace)["spec"]["clusterIP"]
    place.find("moving", address)


def test_should_provide_etc_hosts_entries_for_the_cluster(place):
    hosts = place.read("asker-1", "/etc/hosts")
    assert hosts.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert hosts.endswith(f"{place.address('asker-1')}\tasker-1\n")
    assert place.kubectl("exec", "asker-1", "--", "getent", "hosts", "asker-1").split()[0] == place.address("asker-1")


def test_host_aliases_should_write_entries_to_etc_hosts(place):
    aliases = [
        {"ip": "192.0.2.7", "hostnames": ["foo.remote", "bar.remote"]},
        {"ip": "2001:db8::7", "hostnames": ["six"]},
    ]
    place.run(pod("aliased", spec={"hostAliases": aliases}))
    lines = place.read("aliased", "/etc/hosts").splitlines()
    assert lines[-3:] == ["# Entries added by HostAliases.", "192.0.2.7\tfoo.remote\tbar.remote", "2001:db8::7\tsix"]
    found = place.kubectl("exec", "aliased", "--", "getent", "hosts", "bar.remote")
    assert found.split() == ["192.0.2.7", "foo.remote", "bar.remote"]


@pytest.fixture(scope="module")
def nameserver(place):
    """The address of a pod that is a name server of the name `notexistname.resolv.example`."""
    command = ("python3", "-u", "-c", NAMESERVER, "notexistname.resolv.example", "192.0.2.123")
    return place.run(pod("nameserver", command=command))


def test_should_support_configurable_pod_dns_nameservers(place, nameserver):
    config = {
        "nameservers": [nameserver],
        "searches": ["resolv.example"],
        "options": [{"name": "ndots", "value": "2"}],
    }
    place.run(pod("own-dns", spec={"dnsPolicy": "None", "dnsConfig": config}))
    assert place.resolv("own-dns") == {"nameserver": [nameserver], "search": ["resolv.example"], "options": ["ndots:2"]}
    place.find("notexistname", "192.0.2.123", pod="own-dns")
    assert place.ask("kubernetes.default", pod="own-dns") == {"kubernetes.default": []}


def test_dns_policies(place, nameserver):
    """ClusterFirst is the default, and Default for pods with the node's network; dnsConfig is merged over each."""
    dns = place.cluster.get("service", "kube-dns", "-n", "kube-system")["spec"]["clusterIP"]
    ours = [f"{place.namespace}.svc.cluster.local", "svc.cluster.local", "cluster.local"]
    more = {"nameservers": [nameserver], "searches": ["resolv.example"], "options": [{"name": "edns0"}]}
    place.run(
        pod("as-node", spec={"dnsPolicy": "Default"}),
        pod("merged", spec={"dnsConfig": more}),
        pod("host", spec={"hostNetwork": True}),
        pod("host-first", spec={"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}),
    )
    node, first, merged = place.resolv("as-node"), place.resolv("asker-1"), place.resolv("merged")
    assert dns not in node["nameserver"]
    assert place.resolv("host") == node
    assert first == {"nameserver": [dns], "search": [*ours, *node["search"]], "options": ["ndots:5"]}
    assert place.resolv("host-first") == first
    assert merged == {
        "nameserver": [dns, nameserver],
        "search": [*first["search"], "resolv.example"],
        "options": ["ndots:5", "edns0"],
    }
    assert place.ask("kubernetes.default", pod="host-first")["kubernetes.default"] != []


@pytest.fixture
def settings(place):
    """Applies the ConfigMap of the cluster DNS; it is gone afterwards."""

    def apply(document):
        meta = {"name": "pybernetes-dns", "namespace": "kube-system"}
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"config.yaml": document}}
        place.cluster.kubectl("apply", "-f", "-", text=json.dumps(obj))

    yield apply
    place.cluster.kubectl("delete", "configmap", "pybernetes-dns", "-n", "kube-system", "--ignore-not-found")


def test_a_stub_domain_is_asked_where_it_says_and_a_bad_configmap_changes_nothing(place, nameserver, settings):
    name = "notexistname.resolv.example"
    settings(json.dumps({"stubDomains": {"resolv.example": [nameserver]}}))
    for asker in ASKERS:
        place.find(name, "192.0.2.123", pod=asker)
    place.run(service("abroad", type="ExternalName", externalName=name))
    place.find("abroad", "192.0.2.123", pod="asker-2")
    settings("ttl: everlasting")

    def told():
        events = place.cluster.get("events", "-n", "kube-system")["items"]
        return [one["message"] for one in events if one["reason"] == "InvalidConfiguration"]

    (message, *_) = place.cluster.until(told, what="an event says that it was refused")
    assert "ttl" in message
    for asker in ASKERS:
        assert place.ask(name, pod=asker) == {name: ["192.0.2.123"]}


def test_how_far_the_names_have_come_is_told_beside_the_proxys(place):
    """/applied at each node's health port: after a Service is made, its revision or a later one."""
    place.run(service("told", ports=[{"port": 80}]))
    revision = int(place.cluster.get("service", "told", "-n", place.namespace)["metadata"]["resourceVersion"])
    for node in place.cluster.get("nodes")["items"]:
        address = next(one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP")

        def applied(url=f"http://{address}:10256/applied"):
            out = place.kubectl("exec", "asker-1", "--", "python3", "-c", FETCH, url)
            return json.loads(out.partition(" ")[2])

        place.cluster.until(lambda applied=applied: int(applied()["dns"]) >= revision, what="the DNS has it")
        assert {"services", "endpoint_slices", "dns"} <= applied().keys()


FETCH = r"""
import sys, urllib.request
for url in sys.argv[1:]:
    with urllib.request.urlopen(url, timeout=30) as reply:
        print(reply.status, reply.read().decode())
"""


@pytest.mark.parametrize("asker", ["asker-1", "asker-2"])
def test_the_pages_of_dns_are_at_its_addresses_and_at_each_nodes(place, asker):
    """As kubeadm's kube-dns has them: port 9153 of the Service, and of what is behind it."""
    dns = place.cluster.get("service", "kube-dns", "-n", "kube-system")
    assert "metrics" in {port["name"] for port in dns["spec"]["ports"]}
    nodes = [each["status"]["addresses"] for each in place.cluster.get("nodes")["items"]]
    hosts = [next(one["address"] for one in each if one["type"] == "InternalIP") for each in nodes]
    for host in (dns["spec"]["clusterIP"], *hosts):
        urls = [f"http://{host}:9153/{page}" for page in ("health", "ready", "metrics")]
        out = place.kubectl("exec", asker, "--", "python3", "-c", FETCH, *urls)
        assert out.startswith("200 OK\n200 OK\n200 ")
        assert 'coredns_dns_requests_total{family="1",proto="udp",server="dns://:53"' in out
        assert "pybernetes_dns_applied_revision" in out
