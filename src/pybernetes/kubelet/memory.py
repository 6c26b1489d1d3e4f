"""What a pod's worker remembers between two steps."""

import asyncio
from dataclasses import dataclass, field

from .admission import Refusal
from .lifecycle import Backoff


@dataclass
class Memory:
    """All of it may be lost without harm."""

    sandbox: bool = False
    released: bool = False
    orphan: bool = False
    refusal: Refusal | None = None
    stopping: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    backoffs: dict[str, Backoff] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
