"""What a bench ran on, and what a process weighs. Imports nothing of ours: the processes that are weighed use it."""

import os
import platform
import re
from pathlib import Path


def machine() -> str:
    model = re.findall(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    python = f"Python {platform.python_version()}"
    what = f"{model[0] if model else '?'}, {os.cpu_count()} CPUs, {memory} GiB, {platform.platform()}, {python}"
    return f"{what}; load before: {os.getloadavg()[0]:.2f}"


def pss_mb(pid: int) -> float:
    """Proportional set size of a process and all that it has started."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    own = int(re.findall(r"^Pss:\s+(\d+) kB", text, re.M)[0]) / 1024
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(pss_mb(int(child)) for child in children)
