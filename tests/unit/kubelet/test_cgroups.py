"""Control groups on a directory that stands for /sys/fs/cgroup."""

import pytest

from pybernetes.kubelet.runtime import Limits
from pybernetes.kubelet.runtime.process.cgroups import Cgroups

LIMITS = Limits(memory_bytes=64 << 20, cpu_quota_cores=0.5, cpu_shares=512)


@pytest.fixture
def version_1(tmp_path):
    for kind in ("memory", "cpu"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "cgroup.procs").touch()
    return Cgroups("pybernetes/n", root=tmp_path)


def test_version_1(version_1, tmp_path):
    assert (version_1.version, version_1.missing) == (1, "")
    group = version_1.create("pod", "c", LIMITS)
    memory, cpu = tmp_path / "memory/pybernetes/n/pod/c", tmp_path / "cpu/pybernetes/n/pod/c"
    assert group.directories == (str(memory), str(cpu))
    assert (memory / "memory.limit_in_bytes").read_text() == str(64 << 20)
    assert (cpu / "cpu.cfs_quota_us").read_text() == "50000"
    assert (cpu / "cpu.shares").read_text() == "512"


def test_version_2(tmp_path):
    (tmp_path / "cgroup.controllers").touch()
    cgroups = Cgroups("pybernetes/n", root=tmp_path)
    assert cgroups.version == 2
    assert (tmp_path / "pybernetes" / "cgroup.subtree_control").read_text() == "+memory +cpu"
    group = cgroups.create("pod", "c", LIMITS)
    path = tmp_path / "pybernetes/n/pod/c"
    assert group.directories == (str(path),)
    assert (path / "memory.max").read_text() == str(64 << 20)
    assert (path / "cpu.max").read_text() == "50000 100000"


def test_none_for_a_container_without_limits(version_1):
    assert version_1.create("pod", "c", Limits()).directories == ()


def test_a_node_without_control_groups_says_so(tmp_path):
    cgroups = Cgroups("pybernetes/n", root=tmp_path)
    assert "no memory and cpu control groups" in cgroups.missing
    assert cgroups.create("pod", "c", LIMITS).directories == ()


def test_removing_takes_the_empty_ones_below(version_1, tmp_path):
    for kind in ("memory", "cpu"):
        (tmp_path / kind / "pybernetes/n/forgotten/c").mkdir(parents=True)
    version_1.remove_all()
    assert not (tmp_path / "memory" / "pybernetes").exists()
    assert not (tmp_path / "cpu" / "pybernetes").exists()
    version_1.remove_all()
