"""One local cluster of two nodes for all strangers, made as a user makes it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.local import Local
from support.raw import RawApi


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    local = Local("test-strangers", tmp_path_factory.mktemp("strangers"))
    try:
        local.pybernetes("up", "--nodes", "2")
        yield local
    finally:
        local.pybernetes("down", check=False)


@pytest.fixture(scope="module")
def cluster(standing: Local) -> Iterator[Local]:
    """The cluster; whatever a module does to it, no process of it logs a traceback."""
    yield standing
    told = {path.name: lines for path in logs(standing) if (lines := tracebacks(path))}
    assert told == {}


@pytest.fixture(scope="module")
def namespace(cluster: Local, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for the module, in which pods can be made."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=100s")
    cluster.kubectl("wait", "--for=create", "configmap/kube-root-ca.crt", "-n", name, "--timeout=100s")
    try:
        yield name
    finally:
        cluster.kubectl("delete", "pods", "--all", "-n", name, "--grace-period=1", "--wait=false")
        cluster.kubectl("delete", "namespace", name, "--timeout=100s")


@pytest.fixture(scope="session")
def raw(standing: Local, tmp_path_factory: pytest.TempPathFactory) -> RawApi:
    return RawApi(Path(standing.environment["KUBECONFIG"]), tmp_path_factory.mktemp("raw"))


def logs(local: Local) -> list[Path]:
    return sorted(Path(local.root, "log", local.name).rglob("*.log"))


def tracebacks(path: Path) -> str:
    """What follows the first traceback in a log, if there is one. Logs of containers are the containers' own."""
    text = path.read_text(errors="replace") if "pods" not in path.parts else ""
    return text[text.find("Traceback") :][:2000] if "Traceback" in text else ""
