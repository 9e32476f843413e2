"""Two processes behind one address, with the same Redis and the same keys: a call may lose the first and go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from phone.caller import Caller
from tests.calls.checks import has_read
from tests.calls.front import Front
from tests.calls.workshop import Workshop
from tests.running import Running, running, write_agent
from tools.registry import ToolRegistry

PROCESSES = ["the same process", "another process"]


@dataclass
class House:
    """``then`` is the process that has the call after the drop, which may be the ``first``."""

    front: Front
    first: Running
    then: Running
    workshop: Workshop
    data_dir: Path

    async def drop(self, call: Caller) -> None:
        """Loses the connection and waits until the call goes on."""
        count = len(call.record.session_ids)
        await has_read(call)
        self.front.fail_over(self.then.url)
        await call.until(lambda: len(call.record.session_ids) > count or call.outcome is not None)
        assert call.outcome is None


@asynccontextmanager
async def open_house(
    redis_url: str,
    tmp_path: Path,
    agent: str,
    processes: str,
    extra_tools: Callable[[ToolRegistry], None] = lambda registry: None,
) -> AsyncIterator[House]:
    """``processes``: one of ``PROCESSES``. ``extra_tools``: beside those of the workshop. Agents that the folder has
    already are there too."""
    workshop = Workshop()
    agents, data_dir = write_agent(tmp_path / "agents", agent), tmp_path / "data"
    async with AsyncExitStack() as stack:

        def add(registry: ToolRegistry) -> None:
            workshop.add(registry)
            extra_tools(registry)

        async def start() -> Running:
            return await stack.enter_async_context(running(redis_url, data_dir, agents=agents, extra_tools=add))

        first = await start()
        then = first if processes == PROCESSES[0] else await start()
        front = await stack.enter_async_context(Front(first.url))
        yield House(front, first, then, workshop, data_dir)
