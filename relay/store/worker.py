"""The name of a process among equal ones, as it stands in Redis."""

from __future__ import annotations

import re
import socket
from uuid import uuid4

LONGEST_HOST = 24


def worker_id() -> str:
    """A new name, to be made once a process: of the machine, for people, and of chance, for a restart is another."""
    host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().partition(".")[0].casefold()).strip("-")
    return f"{host[:LONGEST_HOST] or 'relay'}-{uuid4().hex[:8]}"
