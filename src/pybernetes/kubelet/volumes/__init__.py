"""Volumes of pods as directories: configMap, secret, emptyDir, hostPath, projected, downwardAPI."""

from .atomic import AtomicDirectory
from .mounts import VolumeError, mounts
from .volumes import PodVolumes, written

__all__ = ["AtomicDirectory", "PodVolumes", "VolumeError", "mounts", "written"]
