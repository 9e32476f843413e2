"""The Lua scripts beside this file. Those that a session may run begin with ``fence.lua``: it refuses older epochs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.commands.core import AsyncScript

_FOLDER = Path(__file__).parent


def script(redis: Redis, name: str, *, fenced: bool = True) -> AsyncScript:
    """``name.lua``, ready to be called with keys and args; sent by its digest, loaded where the server lacks it."""
    source = (_FOLDER / f"{name}.lua").read_text()
    return redis.register_script((_FOLDER / "fence.lua").read_text() + source if fenced else source)


def text(value: bytes | str) -> str:
    """A reply's string, whether or not the client decodes."""
    return value.decode() if isinstance(value, bytes) else value


__all__ = ["script", "text"]
