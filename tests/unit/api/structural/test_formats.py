from datetime import timedelta

import pytest

from pybernetes.api.structural.formats import duration, fits


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1h30m", timedelta(minutes=90)),
        ("-2s", timedelta(seconds=-2)),
        ("1d", timedelta(days=1)),
        ("2 days 3 hours", timedelta(days=2, hours=3)),
        ("1 WEEK", timedelta(weeks=1)),
        ("10 micro", timedelta(microseconds=10)),
    ],
)
def test_durations_of_go_and_in_words(text, wanted):
    assert duration(text) == wanted


@pytest.mark.parametrize("text", ["", "-", "soon", "5 years", "5"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="as duration"):
        duration(text)


@pytest.mark.parametrize(
    ("format_", "good", "bad"),
    [
        ("duration", "1m", "1 year"),
        ("ipv4", "192.0.2.1", "192.0.2.256"),
        ("ipv6", "2001:db8::1", "192.0.2.1"),
        ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
        ("date", "2026-02-28", "2026-02-30"),
        ("date-time", "2026-02-28T01:02:03Z", "2026-02-28"),
        ("uuid", "7d444840-9dc0-11d1-b245-5ffdce74fad2", "7d444840"),
        ("uuid", "7D4448409DC011D1B2455FFDCE74FAD2", "{7d444840-9dc0-11d1-b245-5ffdce74fad2}"),
        ("uuid4", "7d444840-9dc0-41d1-b245-5ffdce74fad2", "7d444840-9dc0-11d1-b245-5ffdce74fad2"),
        ("date", "2026-02-28", "20260228"),
        ("byte", "aGk=", "a"),
        ("byte", "aGk=", ""),
        ("mac", "02:00:00:00:00:01", "02:00"),
        ("email", "a@example.com", "a example.com"),
    ],
)
def test_formats(format_, good, bad):
    assert fits(good, format_)
    assert not fits(bad, format_)


def test_a_format_that_nobody_knows_says_nothing():
    assert fits("anything", "int-or-string")
