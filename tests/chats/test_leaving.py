"""Processes that leave, in order or not: nothing is answered twice, and nobody waits for what will not come."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from websockets.exceptions import InvalidStatus

from phone.model import Gate, Reply
from relay.items import AssistantItem, UserItem
from tests.chaos.fleet import Fleet, fleet
from tests.chats.house import AGENT
from tests.chats.visitor import close_code, drop, socket, visiting
from tests.running import running, stored_history, write_agent

WORDS = ["one ", "two ", "three ", "four "]


@pytest.fixture
async def processes(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet(redis, redis_url, tmp_path, write_agent(tmp_path / "agents", AGENT)) as made:
        yield made


async def test_a_turn_lost_with_its_process_may_be_asked_for_again(
    processes: Fleet, redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    """Another process tells that it is lost, once nobody holds the conversation; sent again, it is answered."""
    doomed = await processes.launch()
    environ = {"OPENAI_BASE_URL": processes.model.url}
    others = running(
        redis_url, tmp_path / "data", agents=tmp_path / "agents", model_url=processes.model.url, environ=environ
    )
    async with others as second:
        processes.model.script(Reply(WORDS, gate=Gate(), gate_at=2), Reply("Once more."))
        async with visiting(doomed.url) as ada:
            await ada.say("Hi", "m1")
            ack = await ada.until("ack")
            await ada.read(2)
            await processes.kill(doomed)
        assert await redis.exists(f"conversation:{{{ada.conversation}}}:running")
        async with visiting(second.url, ada.name) as again:
            await again.resume(ada.conversation, ada.seq)
            lost = await again.until("error", within=30)  # its lease has to run out
            assert (lost["code"], lost["retryable"], lost["client_id"]) == ("lost", True, "m1")
            assert lost["turn"] == ack["turn"] and lost["seq"] > ada.seq
            done = await again.ask("Hi", "m1")
            assert done["text"] == "Once more." and done["turn"] != ack["turn"]
        assert await stored_history(redis, ada.conversation) == [UserItem("Hi"), AssistantItem("Once more.")]


async def test_a_process_that_leaves_lets_turns_end(processes: Fleet) -> None:
    """Idle sockets are closed at once, new ones refused, and the others closed behind their answer: 1012."""
    server = await processes.launch()
    gate = Gate()
    processes.model.script(Reply(WORDS, gate=gate, gate_at=2))
    async with visiting(server.url) as idle, visiting(server.url) as ada, socket(server.url, plain=True) as plain:
        await ada.say("Hi")
        await ada.read(2)
        server.process.send_signal(signal.SIGTERM)
        assert await close_code(idle.ws) == 1012
        assert await close_code(plain) == 1012
        with pytest.raises(InvalidStatus) as refused:
            await socket(server.url, plain=True)
        assert refused.value.response.status_code == 503 and refused.value.response.headers["Retry-After"] == "1"
        await ada.say("And?", "m2")
        error = await ada.until("error")
        assert (error["code"], error["retryable"], error["client_id"]) == ("leaving", True, "m2")
        gate.set()
        assert (await ada.until("done"))["text"] == "".join(WORDS)
        assert await close_code(ada.ws) == 1012
    assert await server.ended() == 0


async def test_a_turn_that_takes_too_long_ends_where_it_is(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """After DRAIN_SECONDS, whether or not its socket is still there; what was written stands."""
    agents = write_agent(tmp_path / "agents", AGENT)
    async with fleet(redis, redis_url, tmp_path, agents, DRAIN_SECONDS="0.2") as processes:
        server = await processes.launch()
        processes.model.script(*[Reply(WORDS, gate=Gate(), gate_at=2)] * 2)
        async with visiting(server.url) as ada, visiting(server.url) as bob:
            for each in (ada, bob):
                await each.say("Hi")
                await each.read(2)
            await drop(bob)
            server.process.send_signal(signal.SIGTERM)
            done = await ada.until("done")
            assert done["stopped"] is True and done["text"] == "one two "
            assert await close_code(ada.ws) == 1012
        assert await server.ended() == 0
        for each in (ada, bob):
            items = await stored_history(redis, each.conversation)
            assert items == [UserItem("Hi"), AssistantItem("one two ", "interrupted")]
            assert not await redis.exists(f"conversation:{{{each.conversation}}}:running")
