"""Times and durations as the API writes them: RFC 3339 in UTC, to the second (Time) or the microsecond (MicroTime).

Inside the program a time is a POSIX timestamp (float, seconds); the caller says what time it is.
"""

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"[+-]?(?:0|(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+)")
_PART = re.compile(r"([0-9.]+)([a-z\u00b5\u03bc]+)")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def stamp(seconds: float) -> str:
    """A meta/v1 Time: 2006-01-02T15:04:05Z."""
    return (_EPOCH + timedelta(seconds=int(seconds // 1))).isoformat()[:19] + "Z"


def micro_stamp(seconds: float) -> str:
    """A meta/v1 MicroTime: 2006-01-02T15:04:05.000000Z."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat(timespec="microseconds")[:26] + "Z"


def parse(text: str) -> float:
    """Seconds of a Time or MicroTime. Raises ValueError in the words of Go's time.Parse."""
    return _since_epoch(text) / timedelta(seconds=1)


def exact(text: str) -> tuple[int, int]:
    """Whole seconds and microseconds of a Time or MicroTime. Raises ValueError."""
    found = _since_epoch(text)
    return found.days * 86_400 + found.seconds, found.microseconds


def _since_epoch(text: str) -> timedelta:
    if not _RFC3339.fullmatch(text):
        raise ValueError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as "2006"')
    try:
        return _moment(text) - _EPOCH
    except ValueError as error:
        raise ValueError(f'parsing time "{text}": {error}') from error


def duration(text: str) -> float:
    """Seconds of a duration as Go writes it: "1h30m", "-1.5s", "0". Raises ValueError in Go's words."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f'time: invalid duration "{text}"')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return -seconds if text.startswith("-") else seconds


def _moment(text: str) -> datetime:
    """fromisoformat takes at most six digits of a fraction; Go takes nine."""
    upper = text.upper()
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", upper))


def canonical(text: str, *, micro: bool = False) -> str:
    """The text as the server writes it back (UTC, to the second or microsecond). Raises ValueError."""
    if not micro and len(text) == 20 and text[-1] == "Z" and _RFC3339.fullmatch(text):
        parse(text)
        return text
    seconds, micros = exact(text)
    return f"{stamp(seconds)[:-1]}.{micros:06}Z" if micro else stamp(seconds)


def human(seconds: float) -> str:
    """An age as kubectl prints it (duration.HumanDuration): 5s, 2m30s, 3h, 4d, 2y17d."""
    if seconds < -1:
        return "<invalid>"
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return f"{minutes}m" + (f"{whole % 60}s" if whole % 60 else "")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h" + (f"{minutes % 60}m" if minutes % 60 else "")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d" + (f"{hours % 24}h" if hours % 24 else "")
    if days < 730:
        return f"{days}d"
    years, rest = divmod(days, 365)
    return f"{years}y" + (f"{rest}d" if rest and years < 8 else "")
