"""The demo's story is a test: what the README promises holds, from `up` to `down`."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.kernel
@pytest.mark.kubectl
@pytest.mark.timeout(800)
def test_the_story_of_the_demo():
    done = subprocess.run(
        [sys.executable, EXAMPLES / "demo.py", "--name", "test-demo"],
        capture_output=True, text=True, timeout=780, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
