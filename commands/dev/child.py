"""A server of ``relay dev``: becomes a ``relay serve`` that has its socket where systemd would have put it.

    python -m commands.dev.child DESCRIPTOR

It ends when its standard input does: ``relay dev`` holds the other end, and is gone then, however it ended.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback

from commands.listening import FIRST


def on_a_leash() -> None:
    """SIGTERM to this process when its standard input ends."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 64):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="leash", daemon=True).start()


def main() -> None:
    descriptor = int(sys.argv[1])
    if descriptor != FIRST:
        os.dup2(descriptor, FIRST, inheritable=False)
        os.close(descriptor)
    os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    sys.argv[1:] = ["serve"]
    try:
        from commands.main import main as relay  # here, for what is being edited may be anything

        on_a_leash()
        relay()
    except SyntaxError as error:  # where it is says all; by which imports it was reached does not matter
        sys.exit("".join(traceback.format_exception_only(error)).rstrip())


if __name__ == "__main__":
    main()
