"""Container runtimes behind one protocol: fake (in memory), process (no engine)."""

from .fake import FakeRuntime
from .process import ProcessRuntime
from .protocol import (
    ContainerSpec,
    ContainerState,
    Identity,
    ImageMissing,
    Limits,
    Mount,
    Phase,
    Runtime,
    RuntimeFailure,
    Streams,
)

__all__ = [
    "ContainerSpec",
    "ContainerState",
    "FakeRuntime",
    "Identity",
    "ImageMissing",
    "Limits",
    "Mount",
    "Phase",
    "ProcessRuntime",
    "Runtime",
    "RuntimeFailure",
    "Streams",
]
