"""The Lua scripts beside this file. Those that a session may run begin with ``fence.lua``: it refuses older epochs."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    from redis.asyncio import Redis

_FOLDER = Path(__file__).parent


class Script:
    """Sent by its digest; where the server that has the keys lacks it, that server is sent all of it."""

    def __init__(self, redis: Redis, source: str) -> None:
        self._redis = redis
        self.source = source
        self.digest = sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """All keys have one hash tag. Raises what the client raises."""
        words: list[Any] = [*keys, *args]
        try:
            return await cast(Any, self._redis).evalsha(self.digest, len(keys), *words)
        except NoScriptError:
            return await cast(Any, self._redis).eval(self.source, len(keys), *words)


def script(redis: Redis, name: str, *, fenced: bool = True) -> Script:
    """``name.lua``, ready to be called."""
    source = (_FOLDER / f"{name}.lua").read_text()
    return Script(redis, (_FOLDER / "fence.lua").read_text() + source if fenced else source)


def text(value: bytes | str) -> str:
    """A reply's string, whether or not the client decodes."""
    return value.decode() if isinstance(value, bytes) else value


__all__ = ["Script", "script", "text"]
