"""What this machine is: cores, memory, disk. Told to the server in every hello."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def memory() -> int:
    """Bytes of memory, or of the share that a container leaves us."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            whole = min(whole, int(text))
    return whole


def free_disk(folder: Path) -> int:
    """Bytes that may still be written where this folder is."""
    return shutil.disk_usage(folder).free
