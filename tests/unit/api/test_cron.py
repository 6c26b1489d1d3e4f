"""Cron schedules: fields, descriptors, days that are alternatives, and clocks that are changed."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from pybernetes.api.cron import parse


def after(schedule: str, start: str, zone: str = "") -> str:
    """The next time as local time of the zone, with the weekday."""
    place = ZoneInfo(zone) if zone else UTC
    moment = datetime.strptime(start, "%Y-%m-%d %H:%M:%S").replace(tzinfo=place).timestamp()
    found = parse(schedule, zone).after(moment)
    return datetime.fromtimestamp(found, place).strftime("%a %Y-%m-%d %H:%M:%S") if found is not None else "never"


@pytest.mark.parametrize(
    ("schedule", "start", "expected"),
    [
        ("* * * * *", "2026-03-01 10:00:00", "Sun 2026-03-01 10:01:00"),
        ("* * * * *", "2026-03-01 10:00:59", "Sun 2026-03-01 10:01:00"),
        ("*/15 * * * *", "2026-03-01 10:16:00", "Sun 2026-03-01 10:30:00"),
        ("5/20 * * * *", "2026-03-01 10:46:00", "Sun 2026-03-01 11:05:00"),
        ("0 9-17/4 * * *", "2026-03-01 13:00:00", "Sun 2026-03-01 17:00:00"),
        ("30 4 1,15 * *", "2026-03-01 04:30:00", "Sun 2026-03-15 04:30:00"),
        ("0 0 1 jan *", "2026-03-01 00:00:00", "Fri 2027-01-01 00:00:00"),
        ("0 0 * * MON-wed", "2026-03-01 00:00:00", "Mon 2026-03-02 00:00:00"),
        ("0 0 29 2 *", "2026-03-01 00:00:00", "Tue 2028-02-29 00:00:00"),
        ("0 0 30 2 *", "2026-03-01 00:00:00", "never"),
        ("0 0 13 * 5", "2026-03-01 00:00:00", "Fri 2026-03-06 00:00:00"),
        ("0 0 13 * *", "2026-03-01 00:00:00", "Fri 2026-03-13 00:00:00"),
        ("0 0 * * 5", "2026-03-01 00:00:00", "Fri 2026-03-06 00:00:00"),
        ("0 0 */2 * 5", "2026-03-01 00:00:00", "Tue 2026-03-03 00:00:00"),
        ("@hourly", "2026-03-01 10:00:00", "Sun 2026-03-01 11:00:00"),
        ("@daily", "2026-03-01 10:00:00", "Mon 2026-03-02 00:00:00"),
        ("@weekly", "2026-03-01 00:00:00", "Sun 2026-03-08 00:00:00"),
        ("@monthly", "2026-12-01 00:00:00", "Fri 2027-01-01 00:00:00"),
        ("@yearly", "2026-12-01 00:00:00", "Fri 2027-01-01 00:00:00"),
        ("@every 1h30m", "2026-03-01 10:00:07", "Sun 2026-03-01 11:30:07"),
        ("59 23 31 12 *", "2026-12-31 23:59:00", "Fri 2027-12-31 23:59:00"),
    ],
)
def test_the_next_time(schedule: str, start: str, expected: str) -> None:
    assert after(schedule, start) == expected


@pytest.mark.parametrize(
    ("schedule", "start", "expected"),
    [
        ("30 2 * * *", "2026-03-28 12:00:00", "Mon 2026-03-30 02:30:00"),  # 02:00 to 03:00 is left out on the 29th
        ("0 * * * *", "2026-03-29 01:00:00", "Sun 2026-03-29 03:00:00"),
        ("30 2 * * *", "2026-10-24 12:00:00", "Sun 2026-10-25 02:30:00"),
        ("0 8 * * *", "2026-10-24 12:00:00", "Sun 2026-10-25 08:00:00"),
    ],
)
def test_the_next_time_around_a_change_of_clocks(schedule: str, start: str, expected: str) -> None:
    assert after(schedule, start, "Europe/Berlin") == expected


def test_a_repeated_hour_is_run_twice() -> None:
    schedule = parse("30 2 * * *", "Europe/Berlin")
    first = schedule.after(datetime(2026, 10, 24, 12, tzinfo=UTC).timestamp())
    assert first is not None
    assert schedule.after(first) == first + 3600


def test_the_last_time_before() -> None:
    schedule = parse("0 0 1 * *")
    now = datetime(2026, 5, 20, tzinfo=UTC).timestamp()
    since = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
    assert schedule.before(now, since=since) == datetime(2026, 5, 1, tzinfo=UTC).timestamp()
    assert schedule.before(now, since=now - 60) is None
    assert parse("@every 10s").before(1000.0, since=5.0) == 995.0


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("* * * *", "expected exactly 5 fields, found 4"),
        ("60 * * * *", r"end of range \(60\) above maximum \(59\)"),
        ("* * 0 * *", r"beginning of range \(0\) below minimum \(1\)"),
        ("5-1 * * * *", "beyond end of range"),
        ("*/0 * * * *", "step of range should be a positive number"),
        ("a * * * *", "failed to parse int from a"),
        ("1-2-3 * * * *", "too many hyphens"),
        ("@never", "unrecognized descriptor: @never"),
        ("@every fortnight", "failed to parse duration"),
    ],
)
def test_what_is_no_schedule(schedule: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(schedule)


def test_an_unknown_time_zone() -> None:
    with pytest.raises(ValueError, match="unknown time zone Mars/Olympus"):
        parse("@daily", "Mars/Olympus")
