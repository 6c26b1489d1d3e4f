"""The official clients of other languages: each runs an informer and applies on the server's side.

The Go client does so once more, and all else that it can, in nothing but protobuf.

`make clients` builds them in .clients/ (Go, Java and Node.js are needed); `make test` does not.
"""

from pathlib import Path

import pytest

BUILT = Path(__file__).resolve().parents[2] / ".clients"
COMMANDS = {
    "go": [f"{BUILT}/go-client"],
    "java": ["java", "-cp", f"{BUILT}/java/target/classes:{BUILT}/java/target/dependency/*", "Main"],
    "javascript": ["node", f"{BUILT}/javascript/main.mjs"],
}

pytestmark = [pytest.mark.kernel, pytest.mark.clients, pytest.mark.timeout(600)]


@pytest.mark.parametrize("language", COMMANDS)
def test_an_informer_and_an_apply(cluster, namespace, language):
    name = f"from-{language}"
    done = cluster.run(*COMMANDS[language], cluster.environment["KUBECONFIG"], namespace)
    assert done.stdout.splitlines() == [
        "synced",
        f"added {name} 1",
        f"updated {name} 2",
        "conflict",
        f"deleted {name} 2",
    ]


def test_a_client_that_takes_nothing_but_protobuf(cluster, namespace):
    """It compares all that it reads, every kind that can be listed, with what it reads as JSON."""
    done = cluster.run(f"{BUILT}/go-protobuf", cluster.environment["KUBECONFIG"], namespace)
    assert done.stdout.splitlines() == [
        "objects",
        "pages 3 3 1 page-0 page-6",
        "informer: added , updated 1, deleted 1",
        "watch: ADDED BOOKMARK DELETED",
        "workloads",
        "pods",
        "reviews",
        "failures: metadata.name spec.ports",
        "metadata: failures kube-root-ca.crt m",
        "discovery: autoscaling v1 Scale [get patch update]",
        "everything",
        "custom 0 true",
        "described",
    ]
