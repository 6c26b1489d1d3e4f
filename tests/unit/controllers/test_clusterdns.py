from pybernetes.controllers.clusterdns import wanted_service, wanted_subsets


def node(name, address, ready="True"):
    return {
        "metadata": {"name": name},
        "status": {
            "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}],
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def test_the_service_has_the_address_and_both_protocols():
    service = wanted_service(["10.96.0.10"])
    assert (service["spec"]["clusterIP"], service["spec"]["ipFamilyPolicy"]) == ("10.96.0.10", "SingleStack")
    assert [(p["name"], p["protocol"], p["port"]) for p in service["spec"]["ports"]] == [
        ("dns", "UDP", 53),
        ("dns-tcp", "TCP", 53),
        ("metrics", "TCP", 9153),
    ]


def test_the_service_has_the_addresses_of_both_families():
    spec = wanted_service(["10.96.0.10", "fd00:10:96::a"])["spec"]
    assert spec["clusterIPs"] == ["10.96.0.10", "fd00:10:96::a"]
    assert spec["ipFamilyPolicy"] == "RequireDualStack"


def test_ready_nodes_are_addresses_and_others_are_not_ready():
    (subset,) = wanted_subsets([node("b", "172.30.0.12", "Unknown"), node("a", "172.30.0.11")])
    assert subset["addresses"] == [{"ip": "172.30.0.11", "nodeName": "a"}]
    assert subset["notReadyAddresses"] == [{"ip": "172.30.0.12", "nodeName": "b"}]


def test_without_nodes_there_is_no_subset():
    assert wanted_subsets([]) == []
