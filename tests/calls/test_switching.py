"""A call whose agent, tools, keys, language and knowledge of the person change while it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from config.says import BUILT_IN
from phone.caller import FAST, Caller
from phone.endpoint.recorded import Recorded
from phone.model import Fault, Reply, ToolUse
from relay.frames import Language, Prompt
from relay.keypad import Key
from relay.store.history import state_key
from relay.toolbox import ChangeKeys, ChangeTools, PersonChanged, SwitchAgent, SwitchLanguage, ToolContext
from tests.calls.checks import has_read, heard, in_order, shown, texts_of
from tests.calls.house import PROCESSES, House, open_house
from tests.running import Running, running, write_agent
from tools.registry import ToolRegistry, ToolResult

OWN = '"whoami", "grow", "rekey", "wrong_tool", "wrong_agent", "wrong_language", "wrong_key", "learn"'
SAYS = "[says]\nfillers = []\n"
DESK = f"""
title = "The desk"
greeting = "Hello from the desk."
tools = ["switch_agent", "switch_language", "save_name", "end_call", {OWN}]
[relay]
language = "en-US"
ttsProvider = "Amazon"
voice = "Joanna-Neural"
[[languages]]
code = "es-US"
voice = "Lupe-Neural"
[keys."1"]
say = "This is the desk."
[keys."8"]
tool = "switch_agent"
args = {{ agent = "kitchen" }}
{SAYS}
"""
KITCHEN = f"""
title = "The kitchen"
greeting = "Nobody is to hear this."
model = "gpt-5.4"
tools = ["whoami", "save_name"]
[relay]
language = "en-US"
ttsProvider = "Amazon"
voice = "Matthew-Neural"
[[languages]]
code = "es-US"
[keys."1"]
say = "The kitchen opens at noon."
[keys."2"]
tool = "whoami"
{SAYS}
apology = "The kitchen is sorry."
"""
POLYGLOT = f"""
title = "Polyglot"
follow_language = true
tools = ["switch_language", "whoami"]
[relay]
language = "en-US"
transcriptionLanguage = "multi"
[[languages]]
code = "es-US"
[keys."1"]
say = "One."
{SAYS}
"""
SPANISH_APOLOGY = BUILT_IN["apology"]["es"]
CUT_OFF = BUILT_IN["cut_off"]


def own_tools(registry: ToolRegistry) -> None:
    async def whoami(context: ToolContext) -> dict[str, str]:
        """Tells the agent and the language the tool was told of."""
        return {"agent": context.agent, "language": context.language}

    async def grow(context: ToolContext) -> ToolResult:
        """Adds a tool and takes two away."""
        return ToolResult({"done": True}, (ChangeTools(add=("transfer_to_human",), remove=("grow", "save_name")),))

    async def rekey(context: ToolContext) -> ToolResult:
        """Changes what keys do."""
        keys = {"5": Key(say="Five it is."), "6": Key(tool="whoami")}
        return ToolResult({"done": True}, (ChangeKeys(add=keys, remove=("1",)),))

    async def wrong_tool(context: ToolContext) -> ToolResult:
        """Has a bug."""
        return ToolResult({"done": True}, (ChangeTools(add=("flying",)),))

    async def wrong_agent(context: ToolContext) -> ToolResult:
        """Has a bug."""
        return ToolResult({"done": True}, (SwitchAgent("nobody"),))

    async def wrong_language(context: ToolContext) -> ToolResult:
        """Has a bug."""
        return ToolResult({"done": True}, (SwitchLanguage("fr-FR"),))

    async def wrong_key(context: ToolContext) -> ToolResult:
        """Has a bug."""
        return ToolResult({"done": True}, (ChangeKeys(add={"E": Key(say="E.")}),))

    async def learn(context: ToolContext) -> ToolResult:
        """Says that there is more to know, when there is not."""
        return ToolResult({"done": True}, (PersonChanged(),))

    for function in (whoami, grow, rekey, wrong_tool, wrong_agent, wrong_language, wrong_key, learn):
        registry.add(function)


def write_agents(folder: Path) -> Path:
    write_agent(folder, DESK, prompt="You are the desk. {user_context}")
    write_agent(folder, KITCHEN, "kitchen", "You are the kitchen. {user_context}")
    return write_agent(folder, POLYGLOT, "polyglot", "You are the polyglot.")


@pytest.fixture
async def line(redis: Redis, redis_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    agents, api = write_agents(tmp_path / "agents"), getattr(request, "param", "chat")
    async with running(redis_url, tmp_path / "data", agents=agents, api=api, extra_tools=own_tools) as app:
        yield app


both_apis = pytest.mark.parametrize("line", ["chat", "responses"], indirect=True)


def use(name: str, **arguments: str) -> Reply:
    return Reply(tools=[ToolUse(name, orjson.dumps(arguments).decode())])


def instructions(request: Recorded) -> str:
    body = request.body
    return str(body["instructions"] if "instructions" in body else body["messages"][0]["content"])


def tools(request: Recorded) -> set[str]:
    assert request.ask is not None
    return set(request.ask.tools)


def last_result(request: Recorded) -> dict[str, Any]:
    text = [text for kind, text in shown(request) if kind == "result"][-1]
    result: dict[str, Any] = orjson.loads(text)
    return result


def languages(call: Caller) -> list[Language]:
    return [frame for frame in call.frames if isinstance(frame, Language)]


def marked(call: Caller) -> list[tuple[str | None, str]]:
    """(language the words were marked with, words) of all that was sent."""
    return [(frame.lang, frame.token.strip()) for frame in texts_of(call) if frame.token.strip()]


async def ask(line: Running, call: Caller, words: str, *replies: Reply, lang: str = "") -> Recorded:
    """One turn to the end of its last reply, and the last request it made."""
    count = len(line.model.asked)
    line.model.script(*replies)
    if lang:
        await call.send(Prompt(words, lang))
    else:
        await call.say(words)
    request = await line.model.received(count + len(replies))
    last = replies[-1]
    if last.fault is None:
        await call.until(lambda: str(last.text) in heard(call)[-1:])
    return request


async def state(line: Running, call: Caller) -> dict[str, str]:
    found: dict[Any, Any] = await line.redis.hgetall(state_key(call.record.call_sid))
    return {key.decode(): value.decode() for key, value in found.items()}


async def noted(line: Running, call: Caller, **fields: str) -> None:
    """The state of the conversation tells other processes this."""
    async with asyncio.timeout(20):
        while not fields.items() <= (await state(line, call)).items():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


# -- the agent


@both_apis
async def test_another_agent_takes_the_call_over(line: Running) -> None:
    """The round after the switch, in the same turn, is the new agent's: prompt, tools, model and context of tools; so
    is the next key. Its greeting is not said."""
    async with Caller(line.url, pace=FAST) as call:
        await call.greeting_played()
        second = await ask(line, call, "I am hungry", use("switch_agent", agent="kitchen"), Reply("Kitchen here."))
        first = line.model.asked[0]
        assert "You are the desk." in instructions(first) and "switch_agent" in tools(first)
        assert "You are the kitchen." in instructions(second) and tools(second) == {"whoami", "save_name"}
        assert second.body["model"] == "gpt-5.4"
        assert last_result(second)["agent"] == "kitchen" and "The kitchen" in last_result(second)["message"]
        await call.press("1")
        await call.until(lambda: heard(call)[-1] == "The kitchen opens at noon.")
        third = await ask(line, call, "Who are you?", use("whoami"), Reply("The kitchen."))
        assert last_result(third)["agent"] == "kitchen"
        await in_order(call)
        assert heard(call) == ["Hello from the desk.", "Kitchen here.", "The kitchen opens at noon.", "The kitchen."]
        await noted(line, call, agent="kitchen", agents="default kitchen")


async def test_the_voice_is_the_new_agents(line: Running) -> None:
    """Twilio is told of the voice of the language spoken, once; the languages themselves have not changed."""
    async with Caller(line.url, pace=FAST) as call:
        await ask(line, call, "I am hungry", use("switch_agent", agent="kitchen"), Reply("Kitchen here."))
        voice = {"ttsProvider": "Amazon", "voice": "Matthew-Neural"}
        assert languages(call) == [Language("en-US", "", voice)]


async def test_fixed_lines_are_the_new_agents(line: Running) -> None:
    """An apology is said in the words of the agent that has the call."""
    async with Caller(line.url, pace=FAST) as call:
        await ask(line, call, "Hungry", use("switch_agent", agent="kitchen"), Reply(fault=Fault.quota()))
        await call.until(lambda: heard(call)[-1] == "The kitchen is sorry.")
        await in_order(call)


async def test_a_key_that_passes_the_call_on(line: Running) -> None:
    """The map's own tool: the model that speaks of it is the new agent's."""
    line.model.script(Reply("Kitchen here."))
    async with Caller(line.url, pace=FAST) as call:
        await call.greeting_played()
        await call.press("8")
        await call.until(lambda: heard(call)[-1] == "Kitchen here.")
        assert "You are the kitchen." in instructions(line.model.asked[0])


async def test_an_agent_nobody_knows(line: Running) -> None:
    """The model is told which there are, and the call goes on with the agent it has."""
    async with Caller(line.url, pace=FAST) as call:
        second = await ask(line, call, "The cellar?", use("switch_agent", agent="cellar"), Reply("There is none."))
        assert (
            last_result(second)["error"] == "try_again"
            and "default, kitchen, polyglot" in last_result(second)["message"]
        )
        assert "You are the desk." in instructions(second)
        await in_order(call)


async def test_the_agent_it_is_already(line: Running) -> None:
    """The model is told so, and the call goes on."""
    async with Caller(line.url, pace=FAST) as call:
        second = await ask(line, call, "The desk?", use("switch_agent", agent="default"), Reply("That is me."))
        assert last_result(second)["switched"] is False
        assert "You are the desk." in instructions(second)


async def test_a_tool_of_the_agent_before(line: Running) -> None:
    """The model remembers one it has no more: it is told so, and nothing is carried out."""
    async with Caller(line.url, pace=FAST) as call:
        await ask(line, call, "I am hungry", use("switch_agent", agent="kitchen"), Reply("Kitchen here."))
        last = await ask(line, call, "Back", use("switch_agent", agent="default"), Reply("I cannot."))
        assert last_result(last)["error"] == "unknown_tool"
        assert "You are the kitchen." in instructions(last)
        await in_order(call)


# -- tools and keys


@both_apis
async def test_a_tool_changes_the_tools(line: Running) -> None:
    """The next request of the same turn has the one and not the others; calling one of these does nothing."""
    async with Caller(line.url, pace=FAST) as call:
        second = await ask(line, call, "Grow", use("grow"), Reply("Grown."))
        assert tools(second) == (tools(line.model.asked[0]) | {"transfer_to_human"}) - {"grow", "save_name"}
        last = await ask(line, call, "Grow again", use("grow"), Reply("No more."))
        assert last_result(last)["error"] == "unknown_tool"
        await in_order(call)


async def test_a_tool_changes_the_keys(line: Running) -> None:
    """The next key does what it says: words, a tool, or nothing of its own any more."""
    async with Caller(line.url, pace=FAST) as call:
        await ask(line, call, "Other keys, please", use("rekey"), Reply("Done."))
        await call.press("5")
        await call.until(lambda: heard(call)[-1] == "Five it is.")
        line.model.script(Reply("The default one."))
        await call.press("6")
        await call.until(lambda: heard(call)[-1] == "The default one.")
        line.model.script(Reply("You pressed one."))
        await call.press("1#")
        await call.until(lambda: heard(call)[-1] == "You pressed one.")
        await in_order(call)


@pytest.mark.parametrize(
    ("tool", "says"),
    [("wrong_tool", "flying"), ("wrong_agent", "nobody"), ("wrong_language", "fr-FR"), ("wrong_key", "'E'")],
)
async def test_a_tool_that_asks_for_what_is_not_there(line: Running, tool: str, says: str) -> None:
    """It fails, with words for the model, and nothing of the call changes."""
    async with Caller(line.url, pace=FAST) as call:
        second = await ask(line, call, "Do it", use(tool), Reply("It failed."))
        assert last_result(second)["error"] == "failed" and says in last_result(second)["message"]
        assert tools(second) == tools(line.model.asked[0])
        assert instructions(second) == instructions(line.model.asked[0])
        await in_order(call)


# -- the language


@pytest.mark.parametrize("said", ["es-US", "es", "Spanish", "español", "Castellano", "es_MX"])
async def test_the_language_is_switched(line: Running, said: str) -> None:
    """By its tag or a name: both sides of the call, with the voice it was declared with, what the model is told, and
    what tools are."""
    async with Caller(line.url, pace=FAST) as call:
        second = await ask(line, call, "Español, por favor", use("switch_language", language=said), Reply("Claro."))
        assert languages(call) == [Language("es-US", "es-US")]
        assert "Answer in Spanish (es-US)" in instructions(second)
        assert last_result(second)["language"] == "es-US"
        last = await ask(line, call, "¿Quién es?", use("whoami"), Reply("Soy yo."))
        assert last_result(last)["language"] == "es-US"
        assert all(lang is None for lang, _ in marked(call)), "the session speaks it"
        await in_order(call)
        await noted(line, call, spoken="es-US", language="es-US")


@pytest.mark.parametrize("said", ["French", "xx", ""])
async def test_a_language_the_agent_does_not_speak(line: Running, said: str) -> None:
    """The model is told which it does."""
    async with Caller(line.url, pace=FAST) as call:
        second = await ask(line, call, "En français", use("switch_language", language=said), Reply("Sorry."))
        assert last_result(second)["error"] == "try_again"
        assert "English (en-US), Spanish (es-US)" in last_result(second)["message"]
        assert languages(call) == [] and "Answer in" not in instructions(second)


async def test_a_caller_in_spanish_hears_no_english_apology(line: Running) -> None:
    """After the switch a failed turn is apologised for in Spanish, though the agent began in English."""
    async with Caller(line.url, pace=FAST) as call:
        await ask(line, call, "Español", use("switch_language", language="es"), Reply("Claro."))
        await ask(line, call, "¿Y ahora?", Reply(fault=Fault.quota()))
        await call.until(lambda: heard(call)[-1] == SPANISH_APOLOGY)
        await in_order(call)


async def test_the_language_stays_with_the_call(line: Running) -> None:
    """The next agent speaks it too: it goes on in the caller's language, with its own words where it has any."""
    async with Caller(line.url, pace=FAST) as call:
        await ask(line, call, "Español", use("switch_language", language="es"), Reply("Claro."))
        last = await ask(line, call, "Tengo hambre", use("switch_agent", agent="kitchen"), Reply("La cocina."))
        assert "You are the kitchen." in instructions(last) and "Answer in Spanish (es-US)" in instructions(last)
        await ask(line, call, "¿Y ahora?", Reply(fault=Fault.quota()))
        await call.until(lambda: heard(call)[-1] == SPANISH_APOLOGY)


async def test_it_answers_in_the_language_of_what_was_said_last(line: Running) -> None:
    """Word for word marked with a declared tag, the model told; the session's own language is not marked."""
    async with Caller(line.url, pace=FAST, agent="polyglot") as call:
        line.model.script(Reply(["Hola, ", "amiga."]))
        await call.send(Prompt("Hola", "es"))
        await call.until(lambda: heard(call)[-1:] == ["Hola, amiga."])
        assert "Answer in Spanish (es-US)" in instructions(line.model.asked[0])
        last = await ask(line, call, "And in English?", Reply("Hello."), lang="en")
        assert "Answer in English (en-US)" in instructions(last)
        await call.send(Prompt("¿Y?", "es"))
        spanish = [text for lang, text in marked(call) if lang == "es-US"]
        assert " ".join(spanish) == "Hola, amiga." and (None, "Hello.") in marked(call)
        assert languages(call) == []


async def test_its_apology_is_in_that_language(line: Running) -> None:
    """A failed turn is apologised for in the language of the prompt, and marked."""
    async with Caller(line.url, pace=FAST, agent="polyglot") as call:
        await ask(line, call, "Hola", Reply(fault=Fault.quota()), lang="es")
        await call.until(lambda: heard(call)[-1:] == [SPANISH_APOLOGY])
        assert marked(call) == [("es-US", SPANISH_APOLOGY)]


async def test_whatever_is_spoken_stays_understood(line: Running) -> None:
    """A recogniser that finds the language out is not told of another."""
    async with Caller(line.url, pace=FAST, agent="polyglot") as call:
        await ask(line, call, "Español", use("switch_language", language="es"), Reply("Claro."), lang="en")
        assert languages(call) == [Language("es-US", "")]


async def test_a_recogniser_that_tells_no_language(line: Running) -> None:
    """Prompts that name none in particular leave the call in the language it was switched to."""
    async with Caller(line.url, pace=FAST, agent="polyglot") as call:
        await ask(line, call, "Español", use("switch_language", language="es"), Reply("Claro."), lang="multi")
        last = await ask(line, call, "¿Quién es?", use("whoami"), Reply("Soy yo."), lang="multi")
        assert last_result(last)["language"] == "es-US" and "Answer in Spanish (es-US)" in instructions(last)
        await ask(line, call, "¿Y ahora?", Reply(fault=Fault.quota()), lang="multi")
        await call.until(lambda: heard(call)[-1] == SPANISH_APOLOGY)


# -- the person


async def test_a_name_saved_in_the_call_changes_the_call(line: Running) -> None:
    """The round after, in the same turn, knows it; so does the next agent."""
    async with Caller(line.url, pace=FAST) as call:
        name = {"first_name": "Ada", "last_name": "Lovelace"}
        second = await ask(line, call, "Ada Lovelace", use("save_name", **name), Reply("Hello, Ada."))
        assert "not known yet" in instructions(line.model.asked[0])
        assert "their name is Ada Lovelace" in instructions(second)
        last = await ask(line, call, "I am hungry", use("switch_agent", agent="kitchen"), Reply("Kitchen here."))
        assert "You are the kitchen." in instructions(last) and "their name is Ada Lovelace" in instructions(last)
        await in_order(call)


async def test_nothing_new_of_the_person(line: Running) -> None:
    """The same instructions, to the letter: what the provider has cached stays good."""
    async with Caller(line.url, pace=FAST) as call:
        second = await ask(line, call, "Learn", use("learn"), Reply("Nothing new."))
        assert instructions(second) == instructions(line.model.asked[0])


# -- in another process


@pytest.fixture(params=PROCESSES)
async def house(request: pytest.FixtureRequest, redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """The call's first process and the one after the drop."""
    write_agents(tmp_path / "agents")
    async with open_house(redis_url, tmp_path, DESK, request.param, extra_tools=own_tools) as made:
        yield made


async def test_a_resumed_call_has_the_agent_it_had(house: House) -> None:
    """Prompt, tools and keys of the agent that had the call, with what tools have changed of them, and its voice; the
    line that tells of the break is in the language of the call."""
    async with Caller(house.front.url, pace=FAST) as call:
        await ask(house.first, call, "Español", use("switch_language", language="es"), Reply("Claro."))
        await ask(house.first, call, "Otras teclas", use("rekey"), use("grow"), Reply("Hecho."))
        async with asyncio.timeout(20):
            while "transfer_to_human" not in (await state(house.first, call)).get("tools", ""):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await house.drop(call)
        await call.until(lambda: heard(call)[-1] == CUT_OFF["es"])
        assert languages(call)[-1] == Language("es-US", "es-US")
        last = await ask(house.then, call, "¿Sigue ahí?", Reply("Aquí estoy."))
        assert "Answer in Spanish (es-US)" in instructions(last)
        assert "transfer_to_human" in tools(last) and "save_name" not in tools(last)
        await call.press("5")
        await call.until(lambda: heard(call)[-1] == "Five it is.")
        await in_order(call)


async def test_a_resumed_call_that_was_passed_on(house: House) -> None:
    """It goes on with the agent it was passed on to: prompt, tools, keys and voice, and still on record as its."""
    async with Caller(house.front.url, pace=FAST) as call:
        await ask(house.first, call, "I am hungry", use("switch_agent", agent="kitchen"), Reply("Kitchen here."))
        await noted(house.first, call, agent="kitchen")
        await house.drop(call)
        await call.until(lambda: heard(call)[-1] == CUT_OFF["en"])
        assert languages(call)[-1].attributes["voice"] == "Matthew-Neural"
        last = await ask(house.then, call, "Who are you?", use("whoami"), Reply("Still the kitchen."))
        assert "You are the kitchen." in instructions(last) and tools(last) == {"whoami", "save_name"}
        assert last_result(last)["agent"] == "kitchen"
        await call.press("1")
        await call.until(lambda: heard(call)[-1] == "The kitchen opens at noon.")
        await in_order(call)
        await noted(house.then, call, agent="kitchen", agents="default kitchen")


@pytest.mark.parametrize("processes", PROCESSES)
async def test_a_reconnected_session_has_the_agent_it_had(
    redis: Redis, redis_url: str, tmp_path: Path, processes: str
) -> None:
    """Only the socket was lost: the caller hears nothing of it, and the next words and keys are the same agent's."""
    write_agents(tmp_path / "agents")
    agent = DESK.replace("[relay]", "[relay]\napplicationReconnect = true\ndtmfDetection = true")
    async with (
        open_house(redis_url, tmp_path, agent, processes, extra_tools=own_tools) as house,
        Caller(house.front.url, pace=FAST) as call,
    ):
        await ask(house.first, call, "I am hungry", use("switch_agent", agent="kitchen"), Reply("Kitchen here."))
        await noted(house.first, call, agent="kitchen")
        await has_read(call)
        async with call.offline():
            house.front.fail_over(house.then.url)
        last = await ask(house.then, call, "Who are you?", use("whoami"), Reply("Still the kitchen."))
        assert "You are the kitchen." in instructions(last) and last_result(last)["agent"] == "kitchen"
        await call.press("1")
        await call.until(lambda: heard(call)[-1] == "The kitchen opens at noon.")
        await in_order(call)
        assert CUT_OFF["en"] not in heard(call)
