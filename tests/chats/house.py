"""The agents of these tests, and two processes on one Redis with the same keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from phone.model import ModelServer
from tests.running import Running, running, write_agent

# A model that a test holds back is not asked again, however slow the machine is.
AGENT = """
title = "Test"
greeting = "Hello from the test."
tools = ["save_name"]
[limits]
first_token_deadline = 30
stall_deadline = 30
[says.apology]
en = "That did not work, sorry."
es = "No ha funcionado, lo siento."
[says.budget]
en = "No more for today."
es = "Por hoy no más."
"""
SALES = """
title = "Sales"
greeting = "Sales here."
"""


@asynccontextmanager
async def two_processes(
    redis_url: str, tmp_path: Path, **environ: str
) -> AsyncIterator[tuple[Running, Running, ModelServer]]:
    """With one model for both."""
    agents = write_agent(write_agent(tmp_path / "agents", AGENT), SALES, "sales")
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(ModelServer())

        async def start() -> Running:
            made = running(redis_url, tmp_path / "data", agents=agents, model_url=model.url, environ=environ)
            return await stack.enter_async_context(made)

        first, second = await start(), await start()
        yield first, second, model
