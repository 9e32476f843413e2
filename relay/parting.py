"""What stands in the place of a session that is over, in its parts.

A session and its parts know each other. What knows each other in a ring is freed by Python's garbage collector alone,
which comes seldom here (``commands/serve.py``), so a session that is over is let go of: from then on it lives as long
as something still needs it, such as a tool that goes on, and no longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def nobody(*_: object) -> None:
    """Listens to nothing."""


def never(coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Begins nothing: whoever asks has missed the end."""
    coroutine.close()
    raise RuntimeError(f"{name} was to begin in a session that is over")


__all__ = ["never", "nobody"]
