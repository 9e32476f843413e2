"""The welcome desk: it learns a name, offers the demonstrations, and the caller's next call goes where they chose."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Reply, ToolUse
from relay.frames import Prompt
from relay.store.people import People, Person
from tests.calls.checks import heard, shown
from tests.relay.store.servers import fragile_redis
from tests.running import Running, running

ADA = "phone:+15555550100"
WELCOME = "Hello, and thank you for calling."
PIZZERIA = "Dough Boy Pizza, hello!"


@pytest.fixture
async def line(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """The application with the agents it comes with."""
    async with running(redis_url, tmp_path / "data") as app:
        yield app


def name(first: str = "Ada", last: str = "Lovelace") -> ToolUse:
    return ToolUse("save_name", orjson.dumps({"first_name": first, "last_name": last}).decode())


def choose(agent: str) -> ToolUse:
    return ToolUse("choose_demo", orjson.dumps({"agent": agent}).decode())


async def told(line: Running, call: Caller, words: str, *replies: Reply, language: str = "") -> list[dict[str, Any]]:
    """Says the words; what the tools of these replies gave back to the model."""
    before = len(line.model.asked)
    line.model.script(*replies)
    last = replies[-1].text
    assert isinstance(last, str)
    if language:
        await call.send(Prompt(words, language))
    else:
        await call.say(words)
    await call.until(lambda: last in heard(call))
    entries = shown(await line.model.received(before + len(replies)))
    new = entries[next(at for at in range(len(entries) - 1, -1, -1) if entries[at] == ("user", words)) :]
    return [orjson.loads(text) for kind, text in new if kind == "result"]


async def greeted(line: Running, **options: Any) -> str:
    """How a call is answered."""
    async with Caller(line.url, pace=FAST, **options) as call:
        return await call.greeting_played()


async def test_a_name_then_a_choice_and_the_next_call(line: Running) -> None:
    """Both tools in one turn; the next call from this number, and no other, is answered by the agent chosen."""
    async with Caller(line.url, pace=FAST) as call:
        assert (await call.greeting_played()).startswith(WELCOME)
        saved, chosen = await told(
            line,
            call,
            "Ada Lovelace, and the pizza one",
            Reply(tools=[name()]),
            Reply(tools=[choose("restaurant")]),
            Reply("Hang up and call again."),
        )
        assert saved["saved"] and chosen["saved"] and chosen["title"] == "Dough Boy Pizza"
    person = await People(line.redis).get(ADA)
    assert person is not None
    assert (person.first_name, person.last_name, person.agent) == ("Ada", "Lovelace", "restaurant")
    assert (await greeted(line)).startswith(PIZZERIA)
    assert (await greeted(line, from_="+15555550101")).startswith(WELCOME)
    async with Caller(line.url, pace=FAST) as call:
        line.model.script(Reply("Hello Ada."))
        await call.say("Hello")
        await call.reply()
        assert "their name is Ada Lovelace" in line.model.requests[-1].body["messages"][0]["content"]


async def test_the_prompt_holds_the_demonstrations(line: Running) -> None:
    """Number, title, description and key of every other agent, and never of itself."""
    async with Caller(line.url, pace=FAST) as call:
        line.model.script(Reply("There are some."))
        await call.say("What is there?")
        await call.reply()
        prompt = line.model.requests[-1].body["messages"][0]["content"]
        assert "Dough Boy Pizza\n   Order pizza by phone" in prompt and "key: restaurant" in prompt
        assert "\n1. " in prompt and "key: default" not in prompt


async def test_back_to_the_beginning(line: Running) -> None:
    """In the chosen demonstration the caller starts over: the next call is the welcome desk's again."""
    await People(line.redis).update(ADA, agent="restaurant", first_name="Ada")
    async with Caller(line.url, pace=FAST) as call:
        assert (await call.greeting_played()).startswith(PIZZERIA)
        (chosen,) = await told(
            line, call, "I want to start over", Reply(tools=[choose("default")]), Reply("Then call again.")
        )
        assert (chosen["saved"], chosen["agent"]) == (True, "default")
    assert (await greeted(line)).startswith(WELCOME)
    person = await People(line.redis).get(ADA)
    assert person is not None and (person.first_name, person.agent) == ("Ada", "")


@pytest.mark.parametrize("agent", ["space station", "", "99"])
async def test_there_is_no_such_demonstration(line: Running, agent: str) -> None:
    """The model is told which there are, nothing is saved, and the caller may choose again, by number."""
    async with Caller(line.url, pace=FAST) as call:
        (result,) = await told(line, call, "That one", Reply(tools=[choose(agent)]), Reply("Which one?"))
        assert result["error"] == "try_again"
        assert "Dough Boy Pizza (restaurant)" in result["message"]
        assert (await People(line.redis).get(ADA) or Person(ADA)) == Person(ADA)  # nothing is known but the contact
        (result,) = await told(line, call, "The first", Reply(tools=[choose("the first one")]), Reply("Saved."))
        assert result["saved"] is True


async def test_arguments_that_are_missing(line: Running) -> None:
    """The model is told which."""
    async with Caller(line.url, pace=FAST) as call:
        (result,) = await told(line, call, "One", Reply(tools=[ToolUse("choose_demo")]), Reply("Which one?"))
        assert result["error"] == "wrong_arguments" and "agent" in result["message"]


async def test_a_caller_without_a_number_is_not_remembered(line: Running) -> None:
    """They are told so, and the next call without a number begins anew."""
    async with Caller(line.url, pace=FAST, from_="anonymous") as call:
        (result,) = await told(line, call, "Pizza", Reply(tools=[choose("restaurant")]), Reply("I cannot keep that."))
        assert result["saved"] is False and "withheld" in result["message"]
    assert (await greeted(line, from_="anonymous")).startswith(WELCOME)


async def test_a_caller_in_spanish(line: Running) -> None:
    """The result is in the language of the caller's words."""
    async with Caller(line.url, pace=FAST) as call:
        (result,) = await told(
            line, call, "El restaurante", Reply(tools=[choose("restaurante")]), Reply("Guardado."), language="es-US"
        )
        assert result["message"].startswith("La elección está guardada.")


async def test_while_the_store_is_away(tmp_path: Path) -> None:
    """The choice is not promised, and the call goes on."""
    with fragile_redis() as server:
        async with running(server.url, tmp_path / "data") as line, Caller(line.url, pace=FAST) as call:
            await told(line, call, "Hello", Reply("Hello."))
            server.stop()
            (result,) = await told(line, call, "Pizza", Reply(tools=[choose("restaurant")]), Reply("Not just now."))
            assert result["error"] == "failed" and "could not be saved" in result["message"]
            server.start()


async def test_a_number_that_is_pressed_is_told_to_the_model(line: Running) -> None:
    """A key may choose a demonstration; zero is a person's."""
    async with Caller(line.url, pace=FAST) as call:
        line.model.script(Reply(tools=[choose("1")]), Reply("Saved."))
        await call.press("1")
        await call.until(lambda: "Saved." in heard(call))
        assert ("note", "The caller pressed 1 on the keypad.") in shown(line.model.asked[0])
    person = await People(line.redis).get(ADA)
    assert person is not None and person.agent
