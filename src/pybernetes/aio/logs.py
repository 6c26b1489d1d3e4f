"""Log lines: the event, then key=value; as text for people or JSON for machines. One formatter, on stderr.

Values come in the message (`log.info("pod bound pod=%s", key)`) or as `extra={"pod": key}`; both formats show them.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

import msgspec

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}
_ENCODER = msgspec.json.Encoder(enc_hook=str)


class Formatter(logging.Formatter):
    """`2026-11-22T22:43:25.123Z INFO scheduler: pod bound pod=default/web-0`, or one JSON object a line."""

    def __init__(self, kind: Literal["text", "json"] = "text") -> None:
        super().__init__()
        self._json = kind == "json"

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
        trace = self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        source = record.name.removeprefix("pybernetes.")
        if self._json:
            line = {"time": when, "level": record.levelname, "source": source, "message": record.getMessage()} | extra
            return _ENCODER.encode(line | ({"trace": trace} if trace else {})).decode()
        message = record.getMessage() + "".join(f" {name}={_text(value)}" for name, value in extra.items())
        return f"{when} {record.levelname} {source}: {message}" + (f"\n{trace}" if trace else "")


def setup_logging(
    level: str = "info", *, format: Literal["text", "json"] | str = "text", stream: TextIO | None = None
) -> None:
    """Send all logs to stderr (or `stream`); replaces what was set up before. Raises ValueError for an unknown word."""
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None or format not in ("text", "json"):
        raise ValueError(f"unknown log level {level!r} or format {format!r}")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Formatter("json" if format == "json" else "text"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.INFO))  # libraries' debug output drowns ours
    logging.getLogger("pybernetes").setLevel(number)


def _text(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(c in text for c in ' "=\n') else text
