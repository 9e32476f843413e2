"""Ends a child with the benchmark that started it, however that one ended."""

from __future__ import annotations

import os
import signal
import sys
import threading


def on_a_leash() -> None:
    """SIGTERM to this process when its standard input ends: its parent holds the other end and is gone.

    The thread sleeps in one read; it takes no time from what is measured.
    """

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="leash", daemon=True).start()
