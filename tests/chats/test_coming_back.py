"""A socket is lost, and its turn goes on: whoever comes back misses nothing and reads nothing twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from phone.model import Gate, Reply
from relay.items import AssistantItem, UserItem
from tests.chats.house import two_processes
from tests.chats.visitor import SOON, Frame, Visitor, close_code, drop, visiting
from tests.running import Running

WORDS = [f"word{n} " for n in range(12)]


async def cut_off(url: str, client_id: str = "") -> Visitor:
    """Somebody whose connection was lost after three pieces of an answer."""
    async with visiting(url) as ada:
        await ada.say("Hi", client_id)
        await ada.read(3)
        await drop(ada)
    return ada


async def test_a_turn_outlives_its_socket(relay: Running) -> None:
    """It is finished without one, once; who resumes gets just what was missed, and knows the rest by the history."""
    gate = Gate()
    relay.model.script(Reply(WORDS, gate=gate, gate_at=3))
    ada = await cut_off(relay.url)
    gate.set()
    await relay.history(ada.conversation)
    async with visiting(relay.url, ada.name) as again:
        assert again.conversation == ada.conversation and again.seq == 13
        await again.resume(ada.conversation, 3)
        done = await again.until("done")
    assert again.numbers() == [*range(4, 14)]
    assert ada.text() + again.text() == "".join(WORDS) == done["text"]
    assert len(relay.model.asked) == 1


async def test_the_rest_of_a_running_turn_is_streamed(relay: Running) -> None:
    """What was missed comes first, then what is still being written, in order and once."""
    first, second = Gate(), Gate()
    relay.model.script(Reply(WORDS, gates={3: first, 8: second}))
    ada = await cut_off(relay.url)
    first.set()
    async with visiting(relay.url, ada.name) as again:
        second.set()
        await again.resume(ada.conversation, ada.seq)
        done = await again.until("done")
    assert again.numbers() == [*range(4, 14)]
    assert ada.text() + again.text() == done["text"]


async def test_a_client_that_does_not_resume_gets_what_follows(relay: Running) -> None:
    """From where ``ready`` said the conversation stands, as soon as it says anything else."""
    gate = Gate()
    relay.model.script(Reply(WORDS, gate=gate, gate_at=3))
    ada = await cut_off(relay.url)
    async with visiting(relay.url, ada.name) as again:
        assert again.seq == 3
        gate.set()
        await again.settled()
        await again.read(10)
        assert again.numbers() == [*range(4, 14)]


async def test_a_message_sent_again_is_no_second_turn(relay: Running) -> None:
    """While it is answered, and after it was: the ack names the same turn, and the answer is told again."""
    gate = Gate()
    relay.model.script(Reply(WORDS, gate=gate, gate_at=3))
    async with visiting(relay.url) as ada:
        await ada.say("Hi", "m1")
        ack = await ada.until("ack")
        await ada.say("Hi", "m1")
        assert await ada.until("ack") == ack
        await drop(ada)
    async with visiting(relay.url, ada.name) as again:
        await again.say("Hi", "m1")
        assert await again.until("ack") == ack
        gate.set()
        done = await again.until("done")
        await again.say("Hi", "m1")
        assert await again.until("ack") == ack
        assert await again.until("done") == done
    async with visiting(relay.url, ada.name) as later:
        await later.say("Hi", "m1")
        assert await later.until("ack") == ack
        assert await later.until("done") == done
    assert len(relay.model.asked) == 1


async def test_what_is_not_kept_is_reset(relay: Running) -> None:
    """Another conversation, frames there never were, and a log that is gone: the client is to load the history."""
    relay.model.script(Reply("Hello."), Reply("Once more."))
    async with visiting(relay.url) as ada:
        await ada.ask("Hi")
        seq = ada.seq
    for conversation, after in ((ada.conversation, seq + 1), ("chat_other", 0)):
        async with visiting(relay.url, ada.name) as again:
            await again.resume(conversation, after)
            assert await again.next() == {"type": "reset"}
            await again.settled()
            assert again.numbers() == []
    await relay.redis.delete(f"conversation:{{{ada.conversation}}}:log")
    async with visiting(relay.url, ada.name) as again:
        await again.resume(ada.conversation, 1)
        assert await again.next() == {"type": "reset"}
        assert (await again.ask("And?"))["text"] == "Once more."


async def test_a_new_conversation_is_begun_on_request(relay: Running) -> None:
    """With the same visitor; the one before is not come back to."""
    relay.model.script(Reply("Hello."), Reply("Hello again."))
    async with visiting(relay.url) as ada:
        await ada.ask("I am Ada")
        await ada.send("reset")
        ready = await ada.until("ready")
        assert ready["conversation"] != ada.conversation and ready["seq"] == 0
        done = await ada.ask("Who am I?")
        assert done["seq"] == len(ada.frames) - ada.frames.index(ready) - 2
    assert "I am Ada" not in str(relay.model.asked[1].body)
    async with visiting(relay.url, ada.name) as again:
        assert again.conversation == ready["conversation"]


async def test_a_new_conversation_ends_the_answer_in_the_one_before(relay: Running) -> None:
    """Nobody would read it, nor what would follow it; what was said stands."""
    relay.model.script(Reply(WORDS, gate=Gate(), gate_at=2), Reply("Hello."))
    async with visiting(relay.url) as ada:
        await ada.say("Hi")
        await ada.read(2)
        await ada.say("And?")
        await ada.send("reset")
        await ada.until("ready")
        assert (await ada.ask("Who am I?"))["text"] == "Hello."
        items = await relay.history(ada.conversation)
    assert items == [UserItem("Hi"), AssistantItem("".join(WORDS[:2]), "interrupted")]


async def test_the_newest_socket_has_the_visitor(relay: Running) -> None:
    """The one before is closed with 4409."""
    async with visiting(relay.url) as ada, visiting(relay.url, ada.name) as newer:
        assert await close_code(ada.ws) == 4409
        await newer.settled()


async def test_stop_keeps_what_was_said(relay: Running) -> None:
    """The turn is over with that, and the history has it."""
    gate = Gate()
    relay.model.script(Reply(WORDS, gate=gate, gate_at=3), Reply("Next."))
    async with visiting(relay.url) as ada:
        await ada.say("Hi")
        await ada.read(3)
        await ada.send("stop", turn="t_other")
        await ada.settled()
        await ada.send("stop", turn=ada.frames[-2]["turn"])
        done = await ada.until("done")
        assert done["stopped"] is True and done["text"] == "".join(WORDS[:3])
        assert (await ada.ask("Go on"))["text"] == "Next."
        items = await relay.history(ada.conversation, until=lambda items: len(items) == 4)
    assert [item.text for item in items] == ["Hi", "".join(WORDS[:3]), "Go on", "Next."]  # type: ignore[union-attr]


async def test_messages_are_answered_in_order(relay: Running) -> None:
    """Those that are sent meanwhile wait, a few of them; one too many is refused and may be sent again."""
    gate = Gate()
    relay.model.script(Reply("0", gate=gate), *[Reply(str(n)) for n in range(1, 7)])
    async with visiting(relay.url) as ada:
        for n in range(7):
            await ada.say(f"Question {n}", f"m{n}")
        error = await ada.until("error")
        assert (error["code"], error["retryable"], error["client_id"]) == ("busy", True, "m6")
        gate.set()
        done = [await ada.until("done") for _ in range(6)]
        assert [frame["text"] for frame in done] == [str(n) for n in range(6)]
        assert [frame["client_id"] for frame in ada.frames if frame["type"] == "ack"] == [f"m{n}" for n in range(6)]
        assert (await ada.ask("Question 6", "m6"))["text"] == "6"


# -- another process


async def test_another_process_goes_on_with_a_running_turn(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Whoever comes back elsewhere is sent the rest of it as it is written."""
    async with two_processes(redis_url, tmp_path) as (first, second, model):
        gate = Gate()
        model.script(Reply(WORDS, gate=gate, gate_at=3), Reply("Hello from the second."))
        ada = await cut_off(first.url, "m1")
        async with visiting(second.url, ada.name) as again:
            await again.resume(ada.conversation, ada.seq)
            await again.say("Hi", "m1")  # it is known there, too
            gate.set()
            told: dict[str, Frame] = {}
            while not {"ack", "done"} <= told.keys():
                frame = await again.next()
                told[frame["type"]] = frame
            assert again.numbers()[:10] == [*range(4, 14)]
            assert ada.text() + again.text() == told["done"]["text"]
            assert (told["ack"]["turn"], told["ack"]["client_id"]) == (told["done"]["turn"], "m1")
            await again.say("And you?")
            while (next := await again.until("done"))["seq"] == 13:
                pass  # how the first one ended may be told once more, behind its ack
            assert next["text"] == "Hello from the second."
            assert {*again.numbers()} == {*range(4, next["seq"] + 1)}
        assert len(model.asked) == 2


async def test_stop_reaches_the_process_that_answers(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """And what it had written is kept."""
    async with two_processes(redis_url, tmp_path) as (first, second, model):
        model.script(Reply(WORDS, gate=Gate(), gate_at=3))
        ada = await cut_off(first.url)
        async with visiting(second.url, ada.name) as again:
            await again.resume(ada.conversation, ada.seq)
            await again.send("stop")
            done = await again.until("done")
        assert done["stopped"] is True and done["text"] == "".join(WORDS[:3])


async def test_a_socket_elsewhere_replaces_this_one(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """In whichever process the older one is."""
    async with (
        two_processes(redis_url, tmp_path) as (first, second, _),
        visiting(first.url) as ada,
        visiting(second.url, ada.name),
    ):
        assert await close_code(ada.ws) == 4409


@pytest.mark.parametrize("times", [12])
async def test_coming_back_again_and_again(redis: Redis, redis_url: str, tmp_path: Path, times: int) -> None:
    """Whatever is lost where and whenever: every frame of a turn is read once."""
    async with two_processes(redis_url, tmp_path) as (first, second, model):
        model.script(Reply([f"w{n} " for n in range(200)], pace=0.005))
        read: list[dict[str, object]] = []
        async with visiting(first.url) as ada:
            await ada.say("Hi")
            await ada.until("delta")
            await drop(ada)
        read += [frame for frame in ada.frames if "seq" in frame and frame["type"] != "ready"]
        for number in range(times):
            process = (first, second)[number % 2]
            async with visiting(process.url, ada.name) as again:
                await again.resume(ada.conversation, len(read))
                if number == times - 1:
                    await again.until("done")
                else:
                    async with asyncio.timeout(SOON):
                        await again.until("delta")
                        await again.next()
                await drop(again)
            read += [frame for frame in again.frames if "seq" in frame and frame["type"] != "ready"]
        assert [frame["seq"] for frame in read] == [*range(1, len(read) + 1)]
        assert "".join(str(frame["text"]) for frame in read[:-1]) == read[-1]["text"]
        assert len(model.asked) == 1
