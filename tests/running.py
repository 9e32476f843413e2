"""The whole application in this process, on a real port, with a real Redis and a scripted model over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from redis.asyncio import Redis

from config.settings import load_settings
from config.values import CHECKOUT
from handlers.app import build_app
from handlers.modelling import Endpoint
from phone.model import ModelServer
from relay.closing import USUAL_PACE, Pace
from relay.items import Item, load_item
from relay.spans import Spans
from relay.store.client import connect
from tools.registry import ToolRegistry

AGENT = """
title = "Test"
greeting = "Hello from the test."
tools = ["save_name", "transfer_to_human", "end_call"]
"""


def write_agent(
    agents: Path, toml: str = AGENT, name: str = "default", prompt: str = "Be brief. {user_context}"
) -> Path:
    """An agent's folder below ``agents``, which is returned."""
    folder = agents / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agent.toml").write_text(toml)
    (folder / "prompt.md").write_text(prompt)
    return agents


async def stored_history(redis: Redis, call_sid: str) -> list[Item]:
    """What Redis holds of a call, in order."""
    found: list[Any] = await redis.zrange(f"conversation:{{{call_sid}}}:items", 0, -1)
    return [item for raw in found if (item := load_item(raw)) is not None]


@dataclass
class Running:
    """``url`` of the server; ``model`` answers as told by ``model.script``; ``redis`` is the store it uses."""

    url: str
    app: web.Application
    model: ModelServer
    redis: Redis

    async def history(
        self, call_sid: str, until: Callable[[list[Item]], object] = bool, within: float = 20.0
    ) -> list[Item]:
        """What Redis holds of a call, in order, once ``until`` is true of it: it is written behind the call."""
        async with asyncio.timeout(within):
            while True:
                items = await stored_history(self.redis, call_sid)
                if until(items):
                    return items
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    redis_url: str,
    data_dir: Path,
    *,
    agents: Path | None = None,
    environ: Mapping[str, str] | None = None,
    api: str = "chat",
    model: ModelServer | None = None,
    model_url: str = "",
    extra_tools: Callable[[ToolRegistry], None] | None = None,
    rehearsal: bool = False,
    after_call: Pace = USUAL_PACE,
    spans: Spans | None = None,
    port: int = 0,
) -> AsyncIterator[Running]:
    """``agents``: a folder of agents, the checkout's own if None. ``environ``: settings by their names. ``model_url``:
    of an endpoint elsewhere, in place of ``model``. ``extra_tools``: adds tools of the test's own, which its agents may
    name. ``rehearsal``: the model plays the agents' scripts, and is asked for them by name. ``after_call``: when what
    follows a call is done. ``spans``: what its calls are told to. ``port``: where it listens, any free one if 0."""
    variables: dict[str, str] = {
        "DATA_DIR": str(data_dir),
        "AGENTS_DIR": str(agents or CHECKOUT / "config" / "agents"),
        "OPENAI_API": api,
        "OPENAI_MODEL": "gpt-5.4-mini",
        "MEMORY": "off",  # a summary would be one more request to a model whose answers are scripted
        # So would a race be, or an apology where the machine is busy: time passes where a test says that it does.
        "FIRST_TOKEN_DEADLINE": "30",
        "STALL_DEADLINE": "30",
        "TURN_DEADLINE": "30",
        **(environ or {}),
    }
    settings = load_settings(None, variables)
    redis = connect(redis_url)
    async with model or ModelServer() as server:
        endpoint = Endpoint(model_url or server.url, "test-key", rehearsal=rehearsal)
        app = await build_app(
            settings,
            redis_url=redis_url,
            endpoint=endpoint,
            extra_tools=extra_tools,
            after_call=after_call,
            spans=spans,
        )
        options: dict[str, Any] = {"access_log": None, "shutdown_timeout": 0.1, "auto_decompress": False}
        runner = web.AppRunner(app, **options)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            host, port = runner.addresses[0][:2]
            yield Running(f"http://{host}:{port}", app, server, redis)
        finally:
            await runner.cleanup()
            await redis.aclose()
