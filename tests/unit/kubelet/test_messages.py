from pybernetes.kubelet.messages import LOG_MESSAGE_LIMIT, MESSAGE_LIMIT, termination_message
from support.kubelet import state

FALLBACK = {"terminationMessagePolicy": "FallbackToLogsOnError"}


def ended(tmp_path, *, text="", log="", exited=1):
    (tmp_path / "termination").write_text(text)
    (tmp_path / "0.log").write_text(log)
    annotations = {"termination": str(tmp_path / "termination")}
    return state(exited=exited, annotations=annotations, log=str(tmp_path / "0.log"))


def test_the_end_of_the_termination_file(tmp_path):
    assert termination_message(ended(tmp_path, text="why"), {}) == "why"
    assert termination_message(ended(tmp_path, text="x" * 5000), {}) == "x" * MESSAGE_LIMIT
    assert termination_message(state(exited=1, annotations={"termination": "/nowhere"}), {}) == ""


def test_the_log_stands_in_only_where_the_policy_says_so_and_it_failed(tmp_path):
    log = "2026-01-01T00:00:00Z stderr F first\n2026-01-01T00:00:01Z stderr F last\n"
    assert termination_message(ended(tmp_path, log=log), FALLBACK) == "first\nlast"
    assert termination_message(ended(tmp_path, log=log, text="why"), FALLBACK) == "why"
    assert termination_message(ended(tmp_path, log=log), {}) == ""
    assert termination_message(ended(tmp_path, log=log, exited=0), FALLBACK) == ""
    long = "".join(f"2026-01-01T00:00:00Z stdout F {'y' * 100}\n" for _ in range(200))
    assert len(termination_message(ended(tmp_path, log=long), FALLBACK)) <= LOG_MESSAGE_LIMIT
