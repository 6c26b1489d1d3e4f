import pytest

from pybernetes.api.objects import copied
from support.admitted import accepted, admit, changed


def service(**spec):
    wanted = {"ports": [{"port": 80}], "selector": {"app": "web"}} | spec
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": wanted}


def allocated(obj, ip="10.96.0.9", node_port=0):
    """What the registry gives out between prepare and validate."""
    new = copied(obj)
    new["spec"] |= {"clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
    if node_port:
        for number, port in enumerate(new["spec"]["ports"]):
            port["nodePort"] = node_port + number
    return new


def test_defaults():
    found = accepted(service())
    assert found["spec"] == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "selector": {"app": "web"},
        "sessionAffinity": "None",
        "type": "ClusterIP",
        "internalTrafficPolicy": "Cluster",
    }
    assert found["status"] == {"loadBalancer": {}}


def test_defaults_by_type():
    assert accepted(service(type="NodePort"))["spec"]["externalTrafficPolicy"] == "Cluster"
    balanced = accepted(service(type="LoadBalancer"))["spec"]
    assert balanced["allocateLoadBalancerNodePorts"] is True
    named = accepted(service(type="ExternalName", externalName="a.b"))["spec"]
    assert "internalTrafficPolicy" not in named


def test_affinity_has_a_time():
    found = accepted(service(sessionAffinity="ClientIP"))
    assert found["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}


@pytest.mark.parametrize(
    ("obj", "fields"),
    [
        (service(ports=[]), ["spec.ports"]),
        (service(ports=[{"port": 0}]), ["spec.ports[0].port", "spec.ports[0].targetPort"]),
        (service(ports=[{"port": 65536, "targetPort": 1}]), ["spec.ports[0].port"]),
        (service(ports=[{"port": 1}, {"port": 2}]), ["spec.ports[0].name", "spec.ports[1].name"]),
        (service(ports=[{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]), ["spec.ports[1].name"]),
        (service(ports=[{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]), ["spec.ports[1]"]),
        (service(ports=[{"port": 1, "name": "Web"}]), ["spec.ports[0].name"]),
        (service(ports=[{"port": 1, "targetPort": "Web"}]), ["spec.ports[0].targetPort"]),
        (service(ports=[{"port": 1, "protocol": "ICMP"}]), ["spec.ports[0].protocol"]),
        (service(ports=[{"port": 1, "nodePort": 30000}]), ["spec.ports[0].nodePort"]),
        (service(type="Magic"), ["spec.type"]),
        (service(sessionAffinity="Cookie"), ["spec.sessionAffinity"]),
        (
            service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 90000}}),
            ["spec.sessionAffinityConfig.clientIP.timeoutSeconds"],
        ),
        (service(clusterIP="10.0.0"), ["spec.clusterIPs[0]"]),
        (service(clusterIP="10.0.0.1", clusterIPs=["10.0.0.2"]), ["spec.clusterIPs"]),
        (service(type="NodePort", clusterIP="None"), ["spec.clusterIPs[0]"]),
        (service(type="ExternalName"), ["spec.externalName"]),
        (service(type="ExternalName", externalName="a.b", clusterIP="10.0.0.1"), ["spec.clusterIPs"]),
        (service(externalIPs=["127.0.0.1"]), ["spec.externalIPs[0]"]),
        (service(externalIPs=["224.0.0.1"]), ["spec.externalIPs[0]"]),
        (service(externalTrafficPolicy="Local"), ["spec.externalTrafficPolicy"]),
        (service(internalTrafficPolicy="Near"), ["spec.internalTrafficPolicy"]),
        (service(trafficDistribution="Near"), ["spec.trafficDistribution"]),
        (service(allocateLoadBalancerNodePorts=True), ["spec.allocateLoadBalancerNodePorts"]),
        (service(loadBalancerSourceRanges=["10.0.0.0/8"]), ["spec.LoadBalancerSourceRanges"]),
        (service(type="LoadBalancer", loadBalancerSourceRanges=["10"]), ["spec.LoadBalancerSourceRanges[0]"]),
        (service(ipFamilies=["IPv5"]), ["spec.ipFamilies[0]"]),
        (service(clusterIP="fd00::1", ipFamilies=["IPv4"]), ["spec.clusterIPs[0]"]),
        (service(selector={"a": "b c"}), ["spec.selector"]),
    ],
)
def test_what_is_wrong_is_named_by_its_field(obj, fields):
    assert admit(obj).fields == fields


def test_a_headless_service_needs_no_ports():
    assert accepted(service(ports=None, clusterIP="None") | {})["spec"]["clusterIPs"] == ["None"]


def test_an_update_keeps_what_was_allocated():
    old = allocated(accepted(service(type="NodePort")), node_port=30001)
    found = accepted(service(type="NodePort", selector={"app": "other"}), old)
    assert found["spec"]["clusterIP"] == "10.96.0.9"
    assert found["spec"]["clusterIPs"] == ["10.96.0.9"]
    assert found["spec"]["ipFamilies"] == ["IPv4"]
    assert found["spec"]["ports"][0]["nodePort"] == 30001


def test_a_node_port_is_not_carried_to_where_it_is_taken():
    old = allocated(
        accepted(service(type="NodePort", ports=[{"port": 1, "name": "a"}, {"port": 2, "name": "b"}])), node_port=30001
    )
    new = service(type="NodePort", ports=[{"port": 1, "name": "a"}, {"port": 3, "name": "c", "nodePort": 30001}])
    assert "nodePort" not in accepted(new, old)["spec"]["ports"][0]


def test_the_cluster_ip_stays():
    old = allocated(accepted(service()))
    found = admit(changed(old, clusterIP="10.96.0.10", clusterIPs=["10.96.0.10"]), old)
    assert found.texts == ['spec.clusterIPs[0]: Invalid value: ["10.96.0.10"]: may not change once set']


def test_changing_one_of_the_two_changes_both():
    old = allocated(accepted(service()))
    assert admit(changed(old, clusterIP="10.96.0.10"), old).obj["spec"]["clusterIPs"] == ["10.96.0.10"]


def test_becoming_an_external_name_gives_the_address_back():
    old = allocated(accepted(service()))
    new = accepted(changed(old, type="ExternalName", externalName="a.b"), old)
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & set(new["spec"])


def test_becoming_a_cluster_ip_gives_the_node_ports_back():
    old = allocated(accepted(service(type="NodePort")), node_port=30001)
    new = accepted(changed(old, type="ClusterIP"), old)
    assert new["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert "externalTrafficPolicy" not in new["spec"]


@pytest.mark.parametrize(
    ("type", "left"), [("LoadBalancer", [{"ip": "192.0.2.1", "ipMode": "VIP"}]), ("ClusterIP", None)]
)
def test_who_is_no_load_balancer_any_more_has_none_of_its_addresses(type, left):
    old = allocated(accepted(service(type="LoadBalancer")), node_port=30001)
    old["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}, "conditions": []}
    new = accepted(changed(old, type=type), old)
    assert new["status"]["loadBalancer"].get("ingress") == left
    assert new["status"]["conditions"] == []


def test_an_address_may_be_chosen_when_coming_from_an_external_name():
    old = accepted(service(type="ExternalName", externalName="a.b"))
    new = accepted(changed(old, type="ClusterIP", externalName=None, clusterIP="10.96.0.7"), old)
    assert new["spec"]["clusterIPs"] == ["10.96.0.7"]


def test_the_load_balancers_status_is_checked():
    old = allocated(accepted(service(type="LoadBalancer")), node_port=30001)
    new = old | {"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"ip": "x"}, {"ipMode": "VIP"}]}}}
    found = admit(new, old, part="status")
    assert found.obj["status"]["loadBalancer"]["ingress"][0]["ipMode"] == "VIP"
    assert found.fields == ["status.loadBalancer.ingress[1].ip", "status.loadBalancer.ingress[2].ipMode"]


@pytest.mark.parametrize(("name", "wrong"), [("1web", []), ("web.x", ["metadata.name"]), ("Web", ["metadata.name"])])
def test_names(name, wrong):
    assert admit(service() | {"metadata": {"name": name}}).fields == wrong
