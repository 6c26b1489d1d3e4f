"""Times and durations as the evaluator takes them anywhere inside a value: the well-known protobuf messages."""

from datetime import datetime, timedelta
from typing import Any


def timestamp(moment: datetime) -> Any:
    """A moment with a time zone."""
    from google.protobuf.timestamp_pb2 import Timestamp

    found = Timestamp()
    found.FromDatetime(moment)
    return found


def duration(span: timedelta) -> Any:
    from google.protobuf.duration_pb2 import Duration

    found = Duration()
    found.FromTimedelta(span)
    return found
