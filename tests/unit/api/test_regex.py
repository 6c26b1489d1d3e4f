"""Patterns in Go's syntax."""

import time

import pytest

from pybernetes.api import regex


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^(?i)(abort|warn)?$", "WARN"),  # prometheus-operator's PrometheusRule
        (r"^\pL+\z", "äß"),
        ("^[[:alpha:]]+$", "abc"),
        ("^(?P<name>a)$", "a"),
        ("é", "aé"),
    ],
)
def test_what_go_takes(pattern: str, text: str) -> None:
    assert regex.compiled(pattern).search(text)


@pytest.mark.parametrize("pattern", ["(", "(?=a)", "a**", r"(a)\1", "a{1001}"])
def test_what_go_does_not_take(pattern: str) -> None:
    with pytest.raises(regex.BadPattern):
        regex.compiled(pattern)


def test_no_text_makes_a_pattern_slow() -> None:
    begun = time.process_time()
    assert not regex.compiled("^(a+)+$").search("a" * 10_000 + "b")
    assert time.process_time() - begun < 5  # the standard library would need 2**10_000 steps
