"""kubeconfig files: what is written can be read, also what others write."""

from pathlib import Path

import pytest
import yaml

from pybernetes.client import BadKubeconfig, Kubeconfig, kubeconfig


def test_written_files_are_private_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config"
    config = Kubeconfig(
        server="https://127.0.0.1:6443", ca=b"CA", certificate=b"CERT", key=b"KEY", namespace="x", name="one",
        user="me", server_name="api",
    )  # fmt: skip
    kubeconfig.write(path, config)
    assert path.stat().st_mode & 0o777 == 0o600
    assert kubeconfig.load(path) == config
    assert list(path.parent.iterdir()) == [path]


def test_files_beside_it_and_contexts(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"CA")
    (tmp_path / "token").write_text("secret\n")
    document = {
        "current-context": "b",
        "clusters": [{"name": "c", "cluster": {"server": "https://x", "certificate-authority": "ca.pem"}}],
        "users": [{"name": "u", "user": {"tokenFile": "token"}}],
        "contexts": [
            {"name": "a", "context": {"cluster": "c"}},
            {"name": "b", "context": {"cluster": "c", "user": "u", "namespace": "n"}},
        ],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(document))
    found = kubeconfig.load(path)
    assert (found.ca, found.token, found.namespace) == (b"CA", "secret", "n")
    assert kubeconfig.load(path, context="a").token == ""


@pytest.mark.parametrize("text", ["[]", "{", "current-context: x", "contexts: [{name: '', context: {cluster: gone}}]"])
def test_what_is_no_kubeconfig(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(BadKubeconfig, match="config"):
        kubeconfig.load(path)
