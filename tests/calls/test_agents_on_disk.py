"""Agents' files that change while the process runs."""

from __future__ import annotations

from pathlib import Path

from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Reply
from tests.running import Running, running, write_agent


def titled(greeting: str) -> str:
    return f'greeting = "{greeting}"\ntools = ["end_call"]'


async def greeting(line: Running, agent: str = "") -> str:
    async with Caller(line.url, agent=agent, pace=FAST) as call:
        return await call.greeting_played()


async def test_a_changed_agent_takes_the_next_call(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Greeting and prompt of the next call are the new ones; the call in progress keeps its own; a broken file changes
    nothing; a new folder is an agent."""
    agents = write_agent(tmp_path / "agents", titled("One."), prompt="Prompt one.")
    async with running(redis_url, tmp_path / "data", agents=agents) as line:
        async with Caller(line.url, pace=FAST) as call:
            assert await call.greeting_played() == "One."
            await line.history(call.record.call_sid, until=len)  # the session has begun, with the agent as it was
            write_agent(agents, titled("Two."), prompt="Prompt two.")
            assert await greeting(line) == "Two."
            line.model.script(Reply("Still here."))
            await call.say("Hello?")
            await call.reply()
            assert "Prompt one." in str(line.model.requests[-1].body)
        async with Caller(line.url, pace=FAST) as call:
            await call.greeting_played()
            line.model.script(Reply("Newly here."))
            await call.say("Hello?")
            await call.reply()
            assert "Prompt two." in str(line.model.requests[-1].body)
        write_agent(agents, 'greeting = "Three."\ntols = []')
        assert await greeting(line) == "Two."
        write_agent(agents, titled("The desk."), name="desk")
        assert await greeting(line, "desk") == "The desk."
