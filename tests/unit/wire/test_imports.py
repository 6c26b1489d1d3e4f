"""What a process pays for."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "pybernetes.wire",
        "pybernetes.wire.loopback",
        "pybernetes.wire.channels",
        "pybernetes.aio",
        "pybernetes.store.memory",
    ],
)
def test_no_http_library_is_imported_by(module: str) -> None:
    heavy = ("aiohttp", "uvicorn", "wsproto", "uvloop", "sqlite3")
    program = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"
