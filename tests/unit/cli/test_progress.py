import io

import pytest

from pybernetes.cli import Progress, plain_table


def test_each_step_is_one_line_with_its_time():
    out = io.StringIO()
    progress = Progress(out)
    with progress.step("Network"):
        pass
    (line,) = out.getvalue().splitlines()
    assert line.startswith(" ✓ Network  ")
    assert line.endswith(" s")
    assert "Network" in progress.times


def test_a_failed_step_is_marked_and_its_error_passed_on():
    out = io.StringIO()
    with pytest.raises(OSError), Progress(out).step("Network"):
        raise OSError
    assert out.getvalue().startswith(" ✗ Network")


def test_a_terminal_sees_the_step_while_it_runs():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    with Progress(out).step("Network"):
        assert "… Network" in out.getvalue().replace("\033[36m", "").replace("\033[0m", "")


def test_a_table_is_aligned_as_kubectl_aligns():
    assert plain_table(["name", "pid"], [["a", "1"], ["long-name", "22"]]) == (
        "NAME        PID\na           1\nlong-name   22"
    )
