import pytest
from click.testing import CliRunner

from pybernetes.app.main import main, usage
from pybernetes.local.layout import Wanted, layout_at


@pytest.fixture
def run():
    return lambda *argv: CliRunner().invoke(main, argv)


@pytest.mark.parametrize(
    "command",
    [
        "up",
        "down",
        "kubeconfig",
        "status",
        "server",
        "apiserver",
        "controller-manager",
        "scheduler",
        "agent",
        "proxy",
        "dns",
        "node",
        "token",
    ],
)
def test_every_command_explains_itself(run, command):
    done = run(command, "--help")
    assert done.exit_code == 0
    assert f"pybernetes {command}" in done.output.replace("main", "pybernetes")


def test_a_cluster_that_is_not_there_is_a_message_not_a_traceback(run, tmp_path):
    done = run("kubeconfig", "--name", "nobody", "--state-root", str(tmp_path))
    assert done.exit_code == 1
    assert "there is no cluster 'nobody' here; start one with: pybernetes up" in done.output


def test_down_without_a_cluster_is_no_error(run, tmp_path):
    done = run("down", "--state-root", str(tmp_path))
    assert done.exit_code == 0


def test_a_name_that_cannot_be_one_is_refused(run, tmp_path):
    done = run("up", "--name", "../x", "--state-root", str(tmp_path), "--run-root", str(tmp_path))
    assert done.exit_code == 2
    assert "lower-case letters" in done.output


def test_a_wrong_configuration_file_is_a_message(run, tmp_path):
    path = tmp_path / "agent.yaml"
    path.write_text("nonsense: 1\n")
    done = run("agent", "--config", str(path))
    assert done.exit_code == 1
    assert "nonsense" in done.output


def test_a_proxy_needs_a_kubeconfig(run, tmp_path):
    done = run("proxy", "--node-name", "node-1")
    assert done.exit_code == 1
    assert "no kubeconfig" in done.output
    done = run("proxy", "--kubeconfig", str(tmp_path / "nowhere"))
    assert done.exit_code == 1
    assert "nowhere" in done.output


def test_cleaning_up_needs_no_kubeconfig_and_serves_nothing(run, monkeypatch):
    cleaned = []

    async def clean(config):
        cleaned.append(config)

    monkeypatch.setattr("pybernetes.app.service_proxy.cleanup", clean)
    assert run("proxy", "--cleanup").exit_code == 0
    assert len(cleaned) == 1


def test_cleaning_up_without_the_right_to_is_a_message(run, monkeypatch):
    async def clean(config):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pybernetes.app.service_proxy.cleanup", clean)
    done = run("proxy", "--cleanup")
    assert done.exit_code == 1
    assert "Operation not permitted; run it as root" in done.output


@pytest.mark.parametrize("command", ["agent", "proxy"])
def test_node_port_addresses_are_split_as_by_kube_proxy_and_checked(run, command):
    flags = ["--nodeport-addresses", "172.30.0.0/24, fd00::/8", "--nodeport-addresses", "primary", "--node-name", "n"]
    done = run(command, *flags, *(["--node-address", "1.2.3.4", "--identities", "/x"] if command == "agent" else []))
    assert done.exit_code == 1
    assert "'primary' and CIDRs exclude each other" in done.output


@pytest.mark.parametrize(
    ("name", "root", "ending"),
    [
        ("pybernetes", "/var/lib/pybernetes", "pybernetes down"),
        ("mine", "/var/lib/pybernetes", "pybernetes down --name mine"),
        ("mine", "/elsewhere", "pybernetes down --name mine --state-root /elsewhere"),
    ],
)
def test_up_says_how_the_cluster_is_found_again(name: str, root: str, ending: str) -> None:
    layout = layout_at(Wanted(name=name, state_root=root), 0)
    assert usage(layout).splitlines()[-1] == f"End it:   {ending}"
