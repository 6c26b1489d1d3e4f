"""Files of volumes: what is in them, and that they change all at once."""

import os

import pytest

from pybernetes.kubelet.environment import ConfigError
from pybernetes.kubelet.volumes import AtomicDirectory, PodVolumes, VolumeError, mounts
from pybernetes.kubelet.volumes.atomic import File
from pybernetes.kubelet.volumes.content import files_of
from support.kubelet import container, pod

CONFIG = {"kind": "ConfigMap", "data": {"a": "1", "b": "2"}}


def lookup(kind, name):
    return CONFIG if (kind, name) == ("ConfigMap", "config") else None


def files(volume, the_pod=None):
    return files_of(
        the_pod or pod(),
        volume,
        lookup=lookup,
        token=lambda source: f"token-{source['path']}",
        status={},
        allocatable={},
    )


def test_the_layout_is_kubernetes(tmp_path):
    directory = AtomicDirectory(tmp_path / "v")
    assert directory.write({"a": File(b"1"), "sub/b": File(b"2", 0o400)})
    assert sorted(name for name in os.listdir(tmp_path / "v") if not name.startswith("..")) == ["a", "sub"]
    assert os.readlink(tmp_path / "v" / "a") == "..data/a"
    assert (tmp_path / "v" / "sub" / "b").read_text() == "2"
    assert (tmp_path / "v" / "sub" / "b").stat().st_mode & 0o777 == 0o400


def test_a_change_replaces_the_version_and_removes_what_is_gone(tmp_path):
    directory = AtomicDirectory(tmp_path / "v")
    directory.write({"a": File(b"1"), "b": File(b"2")})
    before = os.readlink(tmp_path / "v" / "..data")
    assert not directory.write({"a": File(b"1"), "b": File(b"2")})
    assert directory.write({"a": File(b"changed")})
    assert os.readlink(tmp_path / "v" / "..data") != before
    assert (tmp_path / "v" / "a").read_text() == "changed"
    assert not os.path.lexists(tmp_path / "v" / "b")
    assert len(os.listdir(tmp_path / "v")) == 3


def test_config_map_whole_and_by_items():
    assert files({"configMap": {"name": "config"}}) == {"a": File(b"1"), "b": File(b"2")}
    items = [{"key": "b", "path": "x/y", "mode": 0o600}]
    assert files({"configMap": {"name": "config", "items": items, "defaultMode": 0o400}}) == {"x/y": File(b"2", 0o600)}


def test_missing_and_optional():
    with pytest.raises(ConfigError, match='secret "none" not found'):
        files({"secret": {"secretName": "none"}})
    assert files({"secret": {"secretName": "none", "optional": True}}) == {}
    with pytest.raises(ConfigError, match="non-existent config key"):
        files({"configMap": {"name": "config", "items": [{"key": "z", "path": "z"}]}})


def test_projected():
    volume = {
        "projected": {
            "sources": [
                {"configMap": {"name": "config", "items": [{"key": "a", "path": "ca.crt"}]}},
                {"serviceAccountToken": {"path": "token"}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ]
        }
    }
    assert {name: file.data for name, file in files(volume).items()} == {
        "ca.crt": b"1",
        "token": b"token-token",
        "namespace": b"default",
    }


def test_build_and_remove(tmp_path):
    the_pod = pod(
        volumes=[
            {"name": "config", "configMap": {"name": "config"}},
            {"name": "scratch", "emptyDir": {}},
            {"name": "host", "hostPath": {"path": str(tmp_path / "host"), "type": "DirectoryOrCreate"}},
        ]
    )
    volumes = PodVolumes(tmp_path / "pod")
    paths = volumes.build(the_pod, lookup=lookup, token=lambda source: "", status={}, allocatable={})
    assert (paths["config"] / "a").read_text() == "1"
    assert paths["scratch"].stat().st_mode & 0o777 == 0o777
    (paths["host"] / "kept").touch()
    volumes.remove()
    assert not (tmp_path / "pod").exists()
    assert (tmp_path / "host" / "kept").exists()


def test_what_cannot_be_mounted_names_the_volume(tmp_path):
    the_pod = pod(volumes=[{"name": "x", "secret": {"secretName": "none"}}])
    with pytest.raises(VolumeError, match=r'MountVolume\.SetUp failed for volume "x" : secret "none" not found'):
        PodVolumes(tmp_path).build(the_pod, lookup=lookup, token=lambda source: "", status={}, allocatable={})


def test_sub_paths_stay_inside(tmp_path):
    (tmp_path / "v").mkdir()
    os.symlink("/etc", tmp_path / "v" / "out")

    def mount(**entry):
        one = container(volumeMounts=[{"name": "v", "mountPath": "/m"} | entry])
        return mounts(one, {"v": tmp_path / "v"}, {"POD": "p"})[0]

    assert mount(subPathExpr="logs/$(POD)").source == str(tmp_path / "v" / "logs" / "p")
    for bad in ("../x", "/etc", "out"):
        with pytest.raises(VolumeError):
            mount(subPath=bad)
