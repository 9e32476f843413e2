"""The agents there have to be at the start, and looks at their folder before calls."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from config.catalogue import Catalogue, Look
from config.settings import load_settings
from handlers.agents import AgentWatch, open_catalogue
from relay.errors import ConfigError
from tests.running import write_agent
from tools.registry import ToolRegistry

AGENT = 'title = "Front"\n'


class Slow(Catalogue):
    """Its looks wait until they are let go, and are counted."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "default")
        self.go = threading.Event()
        self.looking = threading.Event()
        self.begun = 0

    def look(self) -> Look:
        self.begun += 1
        self.looking.set()
        assert self.go.wait(10)
        return super().look()


async def test_the_next_call_has_the_changed_agent(tmp_path: Path) -> None:
    """After a look the catalogue holds what is on disk; what is wrong is told to the operator."""
    catalogue = Catalogue(write_agent(tmp_path), "default")
    watch = AgentWatch(catalogue, deadline=5)
    write_agent(tmp_path, 'title = "Other"')
    await watch.fresh()
    assert catalogue.default.title == "Other"
    write_agent(tmp_path, 'titel = "Broken"')
    with capture_logs() as logs:
        await watch.fresh()
    assert catalogue.default.title == "Other"
    assert [each["event"] for each in logs] == ["agent refused, the last good one stays"]
    await watch.close()


async def test_many_calls_share_looks(tmp_path: Path) -> None:
    """Calls that come during a look share one that begins after it, for the file may have changed since."""
    catalogue = Slow(write_agent(tmp_path))
    watch = AgentWatch(catalogue, deadline=5)
    first = asyncio.create_task(watch.fresh())
    assert await asyncio.to_thread(catalogue.looking.wait, 5)
    later = [asyncio.create_task(watch.fresh()) for _ in range(100)]
    await asyncio.sleep(0)
    catalogue.go.set()
    await asyncio.gather(first, *later)
    assert catalogue.begun == 2
    await watch.close()


async def test_a_slow_disk_does_not_hold_a_call(tmp_path: Path) -> None:
    """A look that takes too long is not waited for, and the one that had been asked for comes all the same."""
    catalogue = Slow(write_agent(tmp_path))
    watch = AgentWatch(catalogue, deadline=0.01)
    await watch.fresh()
    await watch.fresh()
    assert catalogue.begun == 1
    catalogue.go.set()
    async with asyncio.timeout(20):
        while catalogue.begun < 2:
            await watch.fresh()
    await watch.close()


def test_the_agent_of_live_chats_has_to_be_there(tmp_path: Path) -> None:
    """Where it was chosen; else whoever has no live chat needs none, and is told."""
    values = {"AGENTS_DIR": str(write_agent(tmp_path, AGENT, "front")), "DEFAULT_AGENT": "front"}
    with pytest.raises(ConfigError) as wrong:
        open_catalogue(load_settings(None, values | {"CHAT_AGENT": "default"}), ToolRegistry())
    assert wrong.value.problems == [f"CHAT_AGENT: there is no agent default in {tmp_path}."]
    with capture_logs() as logs:
        assert [*open_catalogue(load_settings(None, values), ToolRegistry())] == ["front"]
    assert [each["event"] for each in logs] == ["live chats have to name an agent: set CHAT_AGENT"]
