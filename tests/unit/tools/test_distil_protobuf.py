"""The tool that distils the protobuf table, on a module of a few lines."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

PROTO = """
syntax = "proto2";
package k8s.io.api.core.v1;

// message Comment { optional string spam = 9; }
message Volume {
  // Name of the volume.
  // optional string spam = 8;
  optional string name = 1;

  optional VolumeSource volumeSource = 2;
  optional bool gone = 3;
  repeated string args = 4;
  map<string, .k8s.io.apimachinery.pkg.api.resource.Quantity> limits = 5;
  optional .k8s.io.apimachinery.pkg.apis.meta.v1.Time at = 6;
}

message VolumeSource {
  optional string path = 1;
}

message Words {
  // items, if empty, will result in an empty slice

  repeated string items = 1;
}
"""
GO = """
package v1

type Volume struct {
	// Name of the volume.
	Name string `json:"name" protobuf:"bytes,1,opt,name=name"`
	VolumeSource `json:",inline" protobuf:"bytes,2,opt,name=volumeSource"`
	Gone bool `json:"gone,omitempty" protobuf:"varint,3,opt,name=gone"`
	Args []string `json:"args,omitempty" protobuf:"bytes,4,rep,name=args"`
	Limits map[ResourceName]resource.Quantity `json:"limits,omitempty" protobuf:"bytes,5,rep,name=limits"`
	At *metav1.Time `json:"at,omitempty" protobuf:"bytes,6,opt,name=at"`
}

type VolumeSource struct {
	Path *string `json:"path,omitempty" protobuf:"bytes,1,opt,name=path"`
}

type Words []string

type Pod struct {
	metav1.TypeMeta `json:",inline"`
}
"""


@pytest.fixture
def tool() -> ModuleType:
    found = importlib.util.spec_from_file_location("distil_protobuf", ROOT / "tools" / "distil_protobuf.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "generated.proto").write_text(PROTO)
    (tmp_path / "types.go").write_text(GO)
    (tmp_path / "register.go").write_text('package v1\n\nconst GroupName = "x.io"\n')
    return tmp_path


def test_messages(tool: Any, package: Path) -> None:
    assert tool.messages(package / "generated.proto") == {
        "core.v1.Volume": {
            "name": "1 string",
            "^2": "2 core.v1.VolumeSource",
            "gone": "3 bool ?",
            "args": "4 string []",
            "limits": "5 api.resource.Quantity {}",
            "at": "6 meta.v1.Time *",
        },
        "core.v1.VolumeSource": {"path": "1 string *"},
        "core.v1.Words": {"*": "1 string []"},
    }


def test_kinds(tool: Any, package: Path) -> None:
    assert tool.kinds(package, "v1") == ("x.io/v1", ["Pod"])


def test_only_what_a_kind_reaches_is_kept(tool: Any, package: Path) -> None:
    table = tool.messages(package / "generated.proto")
    assert sorted(tool.reachable(table, {"core.v1.Volume"})) == ["core.v1.Volume", "core.v1.VolumeSource"]
