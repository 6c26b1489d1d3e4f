import pytest

from pybernetes.app.config import AgentConfig, ConfigError, ServerConfig


def test_flags_go_over_the_file(tmp_path):
    path = tmp_path / "server.yaml"
    path.write_text("store: memory\nserviceRange: 10.1.0.0/16\n")
    config = ServerConfig.load(path, {"store": None, "service_range": "10.2.0.0/16", "listen": ("127.0.0.1:1",)})
    assert (config.store, config.service_range, config.listen) == ("memory", "10.2.0.0/16", ("127.0.0.1:1",))


def test_what_is_dumped_is_loaded_again(tmp_path):
    config = AgentConfig(node_name="n", node_address="172.30.0.11", identities="/x", labels={"a": "b"})
    path = tmp_path / "agent.yaml"
    path.write_text(config.dump())
    assert AgentConfig.load(path, {}) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nodeNam: x\n", "nodeNam"),
        ("nodeName: [1]\n", "nodeName"),
        ("{", "server.yaml"),
        ("- 1\n", "server.yaml"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_fault(tmp_path, text, message):
    path = tmp_path / "server.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        AgentConfig.load(path, {})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        ServerConfig.load(tmp_path / "nowhere.yaml", {})
