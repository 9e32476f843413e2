"""What a running process has used, from ``/proc`` where that exists, else from ``ps``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def cpu_seconds(pid: int) -> float:
    """User and system time of all its threads until now; to 10 ms. Raises ProcessLookupError when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return _clock(_ps(pid, "time"))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int) -> int:
    """Resident memory. Raises ProcessLookupError when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return int(_ps(pid, "rss")) * 1024


def waited_seconds(process: int | str = "self") -> float:
    """Time its main thread could have run but had no core, because others used it; 0 where nobody tells. Of this
    process by default."""
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _ps(pid: int, field: str) -> str:
    done = subprocess.run(["ps", "-o", f"{field}=", "-p", str(pid)], capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        raise ProcessLookupError(f"there is no process {pid}")
    return done.stdout.strip()


def _clock(text: str) -> float:
    """Seconds of ps's ``[[dd-]hh:]mm:ss[.cc]``."""
    days, _, rest = text.rpartition("-")
    seconds = 0.0
    for part in rest.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds + int(days or 0) * 86400
