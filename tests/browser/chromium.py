"""Where the system's Chromium is."""

from __future__ import annotations

import os
import shutil

MISSING = "There is no Chromium, so the dashboard's pages were not tried: install it, or set CHROMIUM to where it is."

FLAGS = (
    "--no-sandbox",  # the pipeline is root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Nothing but this machine can be found.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


def executable() -> str | None:
    """The program, or None where there is none."""
    return shutil.which(os.environ.get("CHROMIUM") or "chromium")
