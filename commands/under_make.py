"""Becomes the program given, with a companion that tells it what make keeps to itself.

    python -I -S commands/under_make.py .venv/bin/relay serve

GNU make hands a SIGTERM on to what it runs. A SIGINT sent to make alone it does not (Ctrl-C reaches its whole process
group): it waits for the program, and only the signal, blocked while make's handler runs, can be seen from outside. Nor
does make tell anybody when it is killed with -9. The companion looks for both and ends with the program.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

_ON_PROC = Path("/proc/self/status").exists()
_EVERY = 0.2 if _ON_PROC else 1.0  # without /proc (macOS) each look is a run of ps


def _look(process: int) -> tuple[int, int]:
    """Its parent, and the mask of the signals it blocks; zeros when it is gone."""
    try:
        if _ON_PROC:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
            status = dict(line.split(":", 1) for line in lines if ":" in line)
            parent, blocked = status["PPid"], status["SigBlk"]
        else:
            ps = ["ps", "-o", "ppid=,sigmask=", "-p", str(process)]
            parent, blocked = subprocess.run(ps, capture_output=True, text=True).stdout.split()
        return int(parent), int(blocked, 16)
    except (OSError, ValueError, KeyError):
        return 0, 0


def _accompany(program: int, make: int, program_ended: int) -> None:
    told = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = True  # the whole group was interrupted, the program with it

    signal.signal(signal.SIGINT, note)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while not select.select([program_ended], [], [], _EVERY)[0]:
        if _look(program)[0] not in (make, 0):
            os.kill(program, signal.SIGTERM)
            return
        if not told and _look(make)[1] & 1 << (signal.SIGINT - 1):
            select.select([program_ended], [], [], 0.1)  # time for the group's signal to arrive here
            if not told:
                os.kill(program, signal.SIGINT)
                told = True


def main() -> None:
    program, make = os.getpid(), os.getppid()
    ended, held = os.pipe()
    os.set_inheritable(held, True)  # the program holds it for its life, so that the companion sees its end at once
    if os.fork() == 0:
        os.close(held)
        silence = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(silence, descriptor)
        try:
            _accompany(program, make, ended)
        finally:
            os._exit(0)
    os.close(ended)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
