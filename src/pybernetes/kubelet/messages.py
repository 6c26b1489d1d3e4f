"""What a container left to say when it ended (API reference: terminationMessagePath and -Policy)."""

from pathlib import Path

from pybernetes.api.objects import Obj

from .runtime.protocol import ContainerState

MESSAGE_LIMIT, LOG_MESSAGE_LIMIT, LOG_LINES = 4096, 2048, 80


def termination_message(state: ContainerState, container: Obj) -> str:
    """The end of its termination file; without one, where the policy says so and it failed, the end of its log."""
    path = state.annotations.get("termination")
    text = _tail(Path(path), MESSAGE_LIMIT) if path else ""
    fallback = container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
    if not text and fallback and state.exit_code != 0 and state.log:
        lines = _tail(Path(state.log), LOG_MESSAGE_LIMIT * 2).splitlines()[-LOG_LINES:]
        text = "\n".join(line.split(" ", 3)[-1] for line in lines)[-LOG_MESSAGE_LIMIT:]
    return text


def _tail(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - limit))
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""
