import io
import json
import logging
from collections.abc import Iterator

import pytest

from pybernetes.aio.logs import setup_logging


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Logging as it was, afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("pybernetes")
    before = root.handlers[:], root.level, ours.level
    yield io.StringIO()
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def test_text(stream: io.StringIO) -> None:
    setup_logging("info", format="text", stream=stream)
    log = logging.getLogger("pybernetes.scheduler")
    log.info("pod bound pod=%s", "default/web-0", extra={"node": "n1", "why": "two words", "empty": ""})
    log.debug("not shown")
    line = stream.getvalue()
    assert line[:2] == "20"
    assert line[23:] == "Z INFO scheduler: pod bound pod=default/web-0 node=n1 why='two words' empty=''\n"


def test_json(stream: io.StringIO) -> None:
    setup_logging("debug", format="json", stream=stream)
    try:
        raise ValueError("x")
    except ValueError:
        logging.getLogger("pybernetes.store").exception("commit failed", extra={"writes": 3, "odd": {1}})
    logging.getLogger("pybernetes.store").debug("seen")
    logging.getLogger("aiohttp").debug("not seen")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["level"], first["source"], first["message"]) == ("ERROR", "store", "commit failed")
    assert (first["writes"], first["odd"]) == (3, [1])
    assert "ValueError: x" in first["trace"]
    assert second["message"] == "seen"


def test_setting_up_again_replaces(stream: io.StringIO) -> None:
    setup_logging("info", stream=stream)
    setup_logging("info", stream=stream)
    logging.getLogger("x").warning("once")
    assert stream.getvalue().count("once") == 1


@pytest.mark.parametrize(("level", "kind"), [("loud", "text"), ("info", "xml")])
def test_unknown_words(level: str, kind: str) -> None:
    with pytest.raises(ValueError, match=level if kind == "text" else kind):
        setup_logging(level, format=kind)
