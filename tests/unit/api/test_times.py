import pytest

from pybernetes.api import times


def test_a_time_is_written_to_the_second_and_read_back():
    assert times.stamp(1700000000.9) == "2023-11-14T22:13:20Z"
    assert times.parse("2023-11-14T22:13:20Z") == 1700000000


def test_a_micro_time_keeps_microseconds():
    assert times.micro_stamp(1700000000.25) == "2023-11-14T22:13:20.250000Z"
    assert times.parse("2023-11-14T22:13:20.250000Z") == 1700000000.25


def test_years_have_four_digits_also_the_first_as_gos_zero_time_has():
    assert times.canonical("0001-01-01T00:00:02Z") == "0001-01-01T00:00:02Z"
    assert times.canonical("0001-01-01T00:00:02Z", micro=True) == "0001-01-01T00:00:02.000000Z"
    assert times.stamp(times.parse("0999-12-31T23:59:59Z")) == "0999-12-31T23:59:59Z"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z"),
        ("2023-11-14T23:13:20+01:00", "2023-11-14T22:13:20Z"),
        ("2023-11-14t22:13:20.999999999z", "2023-11-14T22:13:20Z"),
    ],
)
def test_canonical_is_utc_to_the_second(text, wanted):
    assert times.canonical(text) == wanted


@pytest.mark.parametrize("text", ["", "yesterday", "2023-11-14", "2023-11-14 22:13:20Z", "2023-13-40T22:13:20Z"])
def test_what_is_no_time_is_refused_in_gos_words(text):
    with pytest.raises(ValueError, match="parsing time"):
        times.canonical(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (900, "15m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 300, "3h5m"),
        (10 * 3600 + 300, "10h"),
        (50 * 3600, "2d2h"),
        (20 * 86400, "20d"),
        (3 * 365 * 86400 + 5 * 86400, "3y5d"),
        (-5, "<invalid>"),
    ],
)
def test_ages_read_as_kubectl_prints_them(seconds, text):
    assert times.human(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("1h30m", 5400), ("-1.5s", -1.5), ("+.5s", 0.5), ("1.h", 3600), ("2us3\u03bcs", 5e-6), ("7ns", 7e-9)],
)
def test_durations_as_go_reads_them(text, seconds):
    assert times.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "-", "5", "1d", "1h 30m", "1..5s", ".s", "+-1s", "one hour"])
def test_what_is_no_duration_is_refused_in_gos_words(text):
    with pytest.raises(ValueError, match="time: invalid duration"):
        times.duration(text)


def test_years_have_four_digits():
    """They are written by people too, and what is written must be read again."""
    for text in ("0001-01-01T00:00:01Z", "0999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"):
        assert times.stamp(times.parse(text)) == text
    assert times.micro_stamp(times.parse("0999-12-31T23:59:59.25Z")) == "0999-12-31T23:59:59.250000Z"


def test_a_micro_time_of_another_age_is_exact():
    assert times.canonical("2242-03-16T13:56:32.000001+01:00", micro=True) == "2242-03-16T12:56:32.000001Z"
    assert times.exact("1969-12-31T23:59:59.999999Z") == (-1, 999_999)
