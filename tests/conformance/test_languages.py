"""The official clients of other languages: each runs an informer and applies on the server's side.

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

pytestmark = [pytest.mark.kernel, pytest.mark.clients, pytest.mark.timeout(180)]


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
