"""Cron schedules: five fields or a descriptor, and the next time after a given one. Pure.

Follows robfig/cron, which Kubernetes uses: day of month and day of week are alternatives unless one of them is "*"; a
time that a clock change leaves out is not run, one that it repeats is run twice. Times are POSIX seconds.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from . import times

_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMES = {3: {name: i + 1 for i, name in enumerate(_MONTHS)}, 4: {name: i for i, name in enumerate(_DAYS)}}
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_HORIZON_DAYS = 5 * 366


@dataclass(frozen=True, slots=True)
class Schedule:
    """`every` seconds, or the sets of fields."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = False
    """One of the two day fields says "*"."""
    every: float = 0.0
    zone: tzinfo = UTC

    def after(self, moment: float) -> float | None:
        """The next time after `moment`; None when there is none within five years (30 February)."""
        if self.every:
            return float(int(moment)) + self.every
        here = datetime.fromtimestamp(int(moment) // 60 * 60 + 60, self.zone)
        end = here + timedelta(days=_HORIZON_DAYS)
        while here < end:
            if here.month not in self.months:
                here = self._at(here.replace(day=1, hour=0, minute=0) + timedelta(days=32), day=1)
            elif not self._on(here):
                here = self._at(here + timedelta(days=1), day=0)
            elif here.hour not in self.hours:
                here = self._later(here, 60 - here.minute)
            elif here.minute not in self.minutes:
                here = self._later(here, 1)
            else:
                return here.timestamp()
        return None

    def _on(self, here: datetime) -> bool:
        day, weekday = here.day in self.days, here.isoweekday() % 7 in self.weekdays
        return day and weekday if self.any_day else day or weekday

    def _at(self, wall: datetime, *, day: int) -> datetime:
        """The start of a local day, as an instant: a midnight that a clock change leaves out is the time after it."""
        start = wall.replace(day=day or wall.day, hour=0, minute=0, fold=0)
        return datetime.fromtimestamp(start.timestamp(), self.zone)

    def _later(self, here: datetime, minutes: int) -> datetime:
        return datetime.fromtimestamp(here.timestamp() + 60 * minutes, self.zone)

    def before(self, moment: float, *, since: float) -> float | None:
        """The last time after `since` and not after `moment`."""
        reach = 3600.0
        while True:
            start = max(since, moment - reach)
            found = self.after(start)
            if found is not None and found <= moment:
                return self._last(found, moment)
            if start <= since:
                return None
            reach *= 4

    def _last(self, found: float, moment: float) -> float:
        if self.every:
            return found + (moment - found) // self.every * self.every
        while (following := self.after(found)) is not None and following <= moment:
            found = following
        return found


def parse(text: str, zone: str = "") -> Schedule:
    """Raises ValueError for what is no schedule or no time zone; without a zone the time is UTC."""
    place = zone_of(zone)
    if text.startswith("@every "):
        return Schedule(every=max(1.0, float(int(_seconds(text[len("@every ") :])))), zone=place)
    if text.startswith("@"):
        if text not in _DESCRIPTORS:
            raise ValueError(f"unrecognized descriptor: {text}")
        text = _DESCRIPTORS[text]
    fields = text.split()
    if len(fields) != len(_BOUNDS):
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    (minutes, _), (hours, _), (days, every_day), (months, _), (weekdays, every_weekday) = (
        _field(field, position) for position, field in enumerate(fields)
    )
    return Schedule(
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=weekdays,
        any_day=every_day or every_weekday,
        zone=place,
    )


def zone_of(name: str) -> tzinfo:
    """Raises ValueError."""
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name}") from error


def _seconds(text: str) -> float:
    try:
        return times.duration(text)
    except ValueError as error:
        raise ValueError(f"failed to parse duration @every {text}: {error}") from error


def _field(field: str, position: int) -> tuple[frozenset[int], bool]:
    """The values of a field, and whether it is "*"."""
    found: set[int] = set()
    star = False
    for part in field.split(","):
        values, any_ = _range(part, position)
        found.update(values)
        star = star or any_
    return frozenset(found), star


def _range(part: str, position: int) -> tuple[range, bool]:
    span, slash, text = part.partition("/")
    low, high = _BOUNDS[position]
    step = _number(text, {}) if slash else 1
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {part}")
    if span in ("*", "?"):
        return range(low, high + 1, step), step == 1
    names = _NAMES.get(position, {})
    first, hyphen, last = span.partition("-")
    if "-" in last:
        raise ValueError(f"too many hyphens: {part}")
    start = _number(first, names)
    end = _number(last, names) if hyphen else high if slash else start
    if start < low:
        raise ValueError(f"beginning of range ({start}) below minimum ({low}): {part}")
    if end > high:
        raise ValueError(f"end of range ({end}) above maximum ({high}): {part}")
    if start > end:
        raise ValueError(f"beginning of range ({start}) beyond end of range ({end}): {part}")
    return range(start, end + 1, step), False


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not text.isascii() or not text.isdigit():
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)
