"""What a visitor is told when something is in the way: a budget, the store, a model that fails, an operator."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import orjson
from aiohttp import ClientSession
from redis.asyncio import Redis

from handlers.chat_plain import PlainSocket
from handlers.chat_socket import ChatSocket
from phone.model import Fault, Gate, Reply, ToolUse
from relay.items import OPERATOR, AssistantItem, ToolItem, UserItem
from relay.live.conversation import LiveConversation
from relay.live.feed import Feed
from relay.live.frames import Auth, dump
from relay.live.line import Wish
from relay.store.presence import sockets_key
from tests.chats.house import AGENT, two_processes
from tests.chats.visitor import SOON, close_code, drop, socket, visiting
from tests.relay.store.servers import FragileRedis
from tests.running import Running, running, write_agent

OURS = ("chat", "follow ")
"""How the names of tasks of live chats begin."""

BROKEN = Reply(fault=Fault("status", status=500))


async def test_a_budget_that_is_used_up_is_an_ordinary_answer(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """The agent's line for it, in the language the visitor's browser prefers, on either contract."""
    agents, environ = write_agent(tmp_path / "agents", AGENT), {"BUDGET_TOKENS_PER_DAY": "10"}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ) as relay:
        relay.model.script(Reply("Hello.", usage=(9, 0, 9)))
        spanish = {"Accept-Language": "es-419,es;q=0.9"}
        async with visiting(relay.url, additional_headers=spanish) as ada:
            assert (await ada.ask("Hi"))["text"] == "Hello."
            assert (await ada.ask("And?"))["text"] == "Por hoy no más."
        async with socket(relay.url, plain=True) as ws:
            await ws.send('{"message": "Hi"}')
            assert orjson.loads(await ws.recv()) == {"message": "No more for today."}
        assert len(relay.model.asked) == 1
        items = await relay.history(ada.conversation, until=lambda items: len(items) == 4)
    assert items[2:] == [UserItem("And?"), AssistantItem("Por hoy no más.", origin="budget")]


async def test_what_was_done_before_the_model_failed_is_kept(relay: Running) -> None:
    """With the agent's apology for an answer: sent again, it is not done again."""
    name = ToolUse("save_name", '{"first_name": "Ada", "last_name": "Byron"}')
    relay.model.script(Reply(tools=[name]), BROKEN, BROKEN)
    async with visiting(relay.url) as ada:
        done = await ada.ask("I am Ada Byron", "m1")
        assert (done["type"], done["text"]) == ("done", "That did not work, sorry.")
        await ada.say("I am Ada Byron", "m1")
        assert (await ada.until("done")) == done
        items = await relay.history(ada.conversation)
    assert [type(item) for item in items] == [UserItem, ToolItem, AssistantItem]
    assert len(relay.model.asked) == 3


async def test_a_failed_answer_does_not_stand_beside_the_one_that_follows(relay: Running) -> None:
    """Words of a turn that failed half-way are told, then that it failed; the history has the second answer only."""
    relay.model.behaviour = lambda ask: Reply(["Half ", "an "], fault=Fault("cut", at=2))
    async with visiting(relay.url) as ada:
        error = await ada.ask("Hi", "m1")
        assert error["type"] == "error" and error["retryable"] and ada.text(error["turn"])
        relay.model.behaviour = lambda ask: Reply("A whole answer.")
        done = await ada.ask("Hi", "m1")
        assert ada.text(done["turn"]) == done["text"] == "A whole answer."
        items = await relay.history(ada.conversation)
    assert items == [UserItem("Hi"), AssistantItem("A whole answer.")]


async def test_the_store_is_away(fragile: FragileRedis, tmp_path: Path) -> None:
    """A running answer is streamed to its end, and then told not to be kept; nobody new is let in; and all is well
    again by itself."""
    agents = write_agent(tmp_path / "agents", AGENT)
    async with running(fragile.url, tmp_path / "data", agents=agents) as relay:
        gate = Gate()
        relay.model.script(Reply(["One ", "two ", "three."], gate=gate, gate_at=2), Reply("Hello again."))
        async with visiting(relay.url) as ada:
            await ada.say("Hi", "m1")
            await ada.read(2)
            fragile.stop()
            gate.set()
            error = await ada.until("error")
            assert ada.text() == "One two three."
            assert (error["code"], error["retryable"], error["client_id"]) == ("store", True, "m1")
            error = await ada.ask("Hi", "m1")
            assert (error["code"], error["retryable"], error.get("turn")) == ("store", True, None)
            async with ClientSession() as http, http.post(f"{relay.url}/chat/ticket", json={}) as told:
                assert (told.status, (await told.json())["code"]) == (503, "store")
            async with socket(relay.url) as ws:
                await ws.send(dump(Auth(f"{ada.name}.{'x' * 43}")).decode())
                assert await close_code(ws) == 1013
            async with socket(relay.url, plain=True) as ws:
                await ws.send('{"message": "Hi"}')
                assert orjson.loads(await ws.recv())["error"]["code"] == "store"
        fragile.start()
        async with visiting(relay.url, ada.name) as again:
            assert (await again.ask("Hi", "m2"))["text"] == "Hello again."


async def order(process: Running, conversation: str, action: str, **fields: Any) -> tuple[int, dict[str, Any]]:
    url = f"{process.url}/dashboard/api/conversations/{conversation}/{action}"
    async with ClientSession() as http, http.post(url, json=fields) as answer:
        return answer.status, await answer.json()


async def test_the_store_has_lost_what_was_said(relay: Running) -> None:
    """The client is told to load it, and the next answer comes as any other, though its frames are numbered anew."""
    relay.model.script(*[Reply("Hello.")] * 3)
    async with visiting(relay.url) as ada:
        for text in ("Hi", "Hi again"):
            before = await ada.ask(text)
        await relay.redis.flushall()
        await ada.say("Who am I?")
        told = [await ada.next() for _ in range(4)]
        assert [frame["type"] for frame in told] == ["reset", "ack", "delta", "done"]
        assert told[-1]["text"] == "Hello." and told[-1]["seq"] < before["seq"]


async def conversations(process: Running) -> list[str]:
    url = f"{process.url}/dashboard/api/conversations"
    async with ClientSession() as http, http.get(url) as answer:
        return [each["id"] for each in (await answer.json())["conversations"]]


async def test_an_operator_says_a_line(relay: Running) -> None:
    """In its turn: behind the answer that is being given."""
    gate = Gate()
    relay.model.script(Reply(["Hello ", "there."], gate=gate, gate_at=1), Reply("Of course."))
    async with visiting(relay.url) as ada:
        await ada.say("Hi")
        await ada.read(1)
        assert await order(relay, ada.conversation, "say", text="We close at six.") == (202, {"delivered": True})
        gate.set()
        assert (await ada.until("done"))["text"] == "Hello there."
        line = await ada.until("done")
        assert line["text"] == "We close at six."
        await ada.ask("When do you close?")
        assert "We close at six." in str(relay.model.asked[1].body)
        items = await relay.history(ada.conversation, until=lambda items: len(items) == 5)
    assert items[2] == AssistantItem("We close at six.", origin=OPERATOR)


async def test_an_operator_hangs_up(relay: Running) -> None:
    """What was written stands; and a chat does not do what is for calls."""
    relay.model.script(Reply(["One ", "two "], gate=Gate(), gate_at=1))
    async with visiting(relay.url) as ada:
        await ada.say("Hi")
        await ada.read(1)
        for action, fields in (("agent", {"agent": "sales"}), ("transfer", {})):
            status, told = await order(relay, ada.conversation, action, **fields)
            assert (status, told["code"]) == (409, "not_possible")
        assert (await order(relay, ada.conversation, "hangup"))[0] == 202
        assert await close_code(ada.ws) == 4403
        items = await relay.history(ada.conversation)
    assert items == [UserItem("Hi"), AssistantItem("One ", "interrupted")]
    assert (await order(relay, ada.conversation, "hangup"))[0] == 404


async def test_an_operator_reaches_a_chat_of_another_process(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """By its socket, whichever contract that speaks and wherever the last answer was given."""
    async with two_processes(redis_url, tmp_path) as (first, second, model):
        model.script(*[Reply("Hello.")] * 2)
        async with visiting(first.url) as before:
            await before.ask("Hi")
        async with visiting(second.url, before.name) as ada, socket(second.url, plain=True) as ws:
            await ada.resume(ada.conversation, before.seq)
            await ws.send('{"message": "Hi"}')
            assert orjson.loads(await ws.recv()) == {"message": "Hello."}
            (alone,) = [each for each in await conversations(first) if each != ada.conversation]
            async with asyncio.timeout(SOON):
                while await redis.exists(sockets_key(ada.name), sockets_key(alone)) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            for conversation in (ada.conversation, alone):
                assert (await order(first, conversation, "say", text="We close at six."))[0] == 202
            assert (await ada.until("done"))["text"] == "We close at six."
            assert orjson.loads(await ws.recv()) == {"message": "We close at six."}
            for conversation, held in ((ada.conversation, ada.ws), (alone, ws)):
                assert (await order(first, conversation, "hangup"))[0] == 202
                assert await close_code(held) == 4403


async def test_a_chat_leaves_nothing_behind_in_the_process(relay: Running) -> None:
    """Neither a task nor a conversation, however its socket ended; and nothing waits for the garbage collector."""
    relay.model.script(*[Reply("Hello.")] * 4)
    tasks = asyncio.all_tasks()
    gc.collect()
    gc.disable()
    try:
        for lost in (False, True):
            async with visiting(relay.url) as ada, socket(relay.url, plain=True) as ws:
                await ada.ask("Hi")
                await ws.send('{"message": "Hi"}')
                await ws.recv()
                if lost:
                    await drop(ada)
                    ws.transport.abort()
        async with asyncio.timeout(SOON):
            while any(task.get_name().startswith(OURS) for task in asyncio.all_tasks() - tasks):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        parts = (LiveConversation, ChatSocket, PlainSocket, Wish, Feed)
        assert [type(each).__name__ for each in gc.get_objects() if isinstance(each, parts)] == []
    finally:
        gc.enable()
    async with ClientSession() as http, http.get(f"{relay.url}/metrics") as told:
        metrics = await told.text()
    assert 'relay_remembered{what="chats"} 0.0' in metrics
    assert "relay_chat_sockets 0.0" in metrics
