"""hosts, resolv.conf, hostname."""

from pybernetes.kubelet.files import Dns, dns, hostname, hosts, parse_resolv, resolv
from support.kubelet import pod

HOST = parse_resolv("# x\nnameserver 192.0.2.53\nsearch example.com .\noptions timeout:1 attempts:2\n")


def settings(**spec):
    return dns(pod(**spec), node=HOST, cluster_dns=("10.96.0.10",), domain="cluster.local")


def test_cluster_first():
    found = settings()
    assert found.nameservers == ("10.96.0.10",)
    assert found.searches == ("default.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.com")
    assert found.options == ("ndots:5",)
    assert resolv(found) == (
        "search default.svc.cluster.local svc.cluster.local cluster.local example.com\n"
        "nameserver 10.96.0.10\noptions ndots:5\n"
    )


def test_default_and_host_network_use_the_nodes():
    assert settings(dnsPolicy="Default") == HOST
    assert settings(hostNetwork=True) == HOST
    assert settings(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet").nameservers == ("10.96.0.10",)


def test_none_with_a_config():
    config = {
        "nameservers": ["192.0.2.1"],
        "searches": ["a.b"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    found = settings(dnsPolicy="None", dnsConfig=config)
    assert found == Dns(("192.0.2.1",), ("a.b",), ("ndots:2", "edns0"))


def test_options_of_the_config_replace():
    assert settings(dnsConfig={"options": [{"name": "ndots", "value": "1"}]}).options == ("ndots:1",)


def test_hosts_file():
    text = hosts(
        pod(hostname="web-0", subdomain="web", hostAliases=[{"ip": "192.0.2.9", "hostnames": ["a", "b"]}]),
        addresses=("10.244.0.2", "fd00:10:244::2"),
        node_name="n",
        domain="cluster.local",
    )
    assert "127.0.0.1\tlocalhost\n" in text
    for address in ("10.244.0.2", "fd00:10:244::2"):
        assert f"\n{address}\tweb-0.web.default.svc.cluster.local\tweb-0\n" in text
    assert text.endswith("# Entries added by HostAliases.\n192.0.2.9\ta\tb\n")


def test_hostname_is_cut_to_what_the_kernel_takes():
    assert hostname(pod("x" * 62 + "-y"), node_name="n") == "x" * 62
    assert hostname(pod(hostNetwork=True), node_name="n") == "n"
