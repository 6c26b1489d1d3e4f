"""traefik's Ingress provider, run as a pod of the cluster: a host name routes to the pods behind a Service."""

import sys
from pathlib import Path

import pytest
import yaml

TRAEFIK = str(Path(sys.executable).parent / "traefik")
RULES = [
    {"apiGroups": [""], "resources": ["services", "secrets", "nodes"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    {
        "apiGroups": ["networking.k8s.io"],
        "resources": ["ingresses", "ingressclasses"],
        "verbs": ["get", "list", "watch"],
    },
    {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses/status"], "verbs": ["update"]},
]

pytestmark = [pytest.mark.kernel, pytest.mark.kubectl, pytest.mark.timeout(600)]


def named(version: str, kind: str, name: str, **rest):
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **rest.pop("metadata", {})}, **rest}


def pod(name: str, *command: str, port: int, **spec):
    container = {
        "name": "main",
        "image": "host",
        "command": list(command),
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
    }
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container], **spec}
    return named("v1", "Pod", name, metadata={"labels": {"app": name}}, spec=spec)


def service(name: str, *, port: int, target: int):
    ports = [{"name": "http", "port": port, "targetPort": target}]
    return named("v1", "Service", name, spec={"selector": {"app": name}, "ports": ports})


def ingress(host: str, backend: str):
    target = {"service": {"name": backend, "port": {"name": "http"}}}
    path = {"path": "/", "pathType": "Prefix", "backend": target}
    spec = {"ingressClassName": "traefik", "rules": [{"host": host, "http": {"paths": [path]}}]}
    return named("networking.k8s.io/v1", "Ingress", backend, spec=spec)


@pytest.fixture(scope="module")
def router(cluster, namespace):
    """traefik behind the Service `router`; the function calls a host through it from a pod."""
    role = "test-traefik"
    subject = {"kind": "ServiceAccount", "name": "traefik", "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    rbac = "rbac.authorization.k8s.io/v1"
    flags = ["--entrypoints.web.address=:8000", "--providers.kubernetesingress=true", "--log.level=DEBUG"]
    flags += ["--global.checknewversion=false", "--global.sendanonymoususage=false"]
    objects = [
        named("v1", "ServiceAccount", "traefik"),
        named(rbac, "ClusterRole", role, rules=RULES),
        named(rbac, "ClusterRoleBinding", role, roleRef=reference, subjects=[subject]),
        named("networking.k8s.io/v1", "IngressClass", "traefik", spec={"controller": "traefik.io/ingress-controller"}),
        pod("router", TRAEFIK, *flags, port=8000, serviceAccountName="traefik"),
        service("router", port=80, target=8000),
        pod("caller", "sh", "-c", "exec python3 -m http.server 9999", port=9999),
    ]
    cluster.kubectl("apply", "-n", namespace, "-f", "-", text=yaml.safe_dump_all(objects))
    try:
        cluster.kubectl("wait", "--for=condition=Ready", "-n", namespace, "pod/router", "pod/caller", "--timeout=100s")

        def call(host: str) -> str:
            curl = f"curl -s -m 30 -H 'Host: {host}' http://router/hostname || echo failed"
            return cluster.kubectl("exec", "-n", namespace, "caller", "--", "sh", "-c", curl).strip()

        yield call
    finally:
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", role)
        cluster.kubectl("delete", "ingressclass", "traefik")


WWW = "/tmp/of-the-test-www"
WHO = f"mkdir -p {WWW} && hostname > {WWW}/hostname && cd {WWW} && exec python3 -m http.server 8080"


def test_an_ingress_routes_by_host_and_goes_with_its_object(cluster, namespace, router):
    cluster.until(lambda: "404 page not found" in router("who.example.com"), what="traefik answers")
    objects = [
        ingress("who.example.com", "who"),  # before its Service: traefik heals when that comes
        service("who", port=80, target=8080),
        pod("who", "sh", "-c", WHO, port=8080),
    ]
    cluster.kubectl("apply", "-n", namespace, "-f", "-", text=yaml.safe_dump_all(objects))
    cluster.until(lambda: router("who.example.com") == "who", what="a route to the pod")
    other = pod("who-2", "sh", "-c", WHO, port=8080)
    other["metadata"]["labels"]["app"] = "who"
    cluster.kubectl("apply", "-n", namespace, "-f", "-", text=yaml.safe_dump(other))
    cluster.until(lambda: router("who.example.com") == "who-2", what="a route to the second pod")
    cluster.kubectl("delete", "pod", "who", "-n", namespace)
    # traefik takes changes in every two seconds
    cluster.until(lambda: {router("who.example.com") for _ in range(5)} == {"who-2"}, what="the deleted pod out of use")
    cluster.kubectl("delete", "ingress", "who", "-n", namespace)
    cluster.until(lambda: "404 page not found" in router("who.example.com"), what="the route gone")
