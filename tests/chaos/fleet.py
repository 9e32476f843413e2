"""Real processes side by side: ``relay serve`` on one Redis and one data folder, with a scripted model for all."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from redis.asyncio import Redis

from phone.model import ModelServer
from relay.items import Item
from tests.calls.checks import GREETING
from tests.commands.serving import Serving, launch
from tests.running import stored_history

AGENT = f"""
title = "Test"
greeting = "{GREETING}"
tools = ["save_name"]
[relay]
events = "speaker-events tokens-played"
"""


@dataclass
class Fleet:
    """``environ``: settings of every process. ``launched``: all of them, those that have ended too. ``http``: for the
    callers; each request takes a connection of its own, as none may be left to a process that is gone."""

    data_dir: Path
    environ: Mapping[str, str]
    model: ModelServer
    redis: Redis
    http: aiohttp.ClientSession
    launched: list[Serving] = field(default_factory=list)

    async def launch(self) -> Serving:
        """One more process, which listens."""
        server = await launch(self.data_dir, cwd=self.data_dir.parent, **self.environ)
        self.launched.append(server)
        await server.logged("listening")
        return server

    async def kill(self, server: Serving) -> None:
        """Without a word: ``kill -9``."""
        await server.stop(signal.SIGKILL)

    async def history(self, call_sid: str) -> list[Item]:
        return await stored_history(self.redis, call_sid)


@asynccontextmanager
async def fleet(redis: Redis, redis_url: str, folder: Path, agents: Path, **environ: str) -> AsyncIterator[Fleet]:
    """Nothing runs yet; what still runs afterwards is killed."""
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with ModelServer() as model, aiohttp.ClientSession(connector=connector) as http:
        settings = {
            "REDIS_URL": redis_url,
            "AGENTS_DIR": str(agents),
            "OPENAI_API": "chat",
            "OPENAI_BASE_URL": model.url,
            "OPENAI_API_KEY": "test-key",
            "MEMORY": "off",
            "LOG_FORMAT": "json",
            **environ,
        }
        made = Fleet(folder / "data", settings, model, redis, http)
        try:
            yield made
        finally:
            for server in made.launched:
                if server.process.returncode is None:
                    server.process.kill()
                await server.ended()
