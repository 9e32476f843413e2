from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from structlog.testing import capture_logs

from relay.errors import ToolError, ToolRetry
from relay.toolbox import EndCall, ToolBox, ToolContext, ToolOutcome, ToolPolicy
from tools.registry import ASKS_FIRST, MAX_OUTPUT, ToolRegistry, ToolResult

CONTEXT = ToolContext(conversation="CA1", channel="voice", agent="default", person="phone:+15550100")


@dataclass
class Slot:
    day: str
    hour: int


async def book(
    context: ToolContext,
    room: Literal["small", "large"],
    guests: Annotated[int, Field(ge=1)],
    title: str | None = None,
    extras: list[str] = [],  # noqa: B006  # an argument a model leaves out
    slot: Slot | None = None,
) -> dict[str, Any]:
    """Book a room.

    It is held
    for one day.

    Args:
        room: Which room,
            by its size.
        guests (int): How many people come.

    Returns:
        What was booked.
    """
    return {"room": room, "guests": guests, "title": title, "extras": extras, "who": context.person, "slot": slot}


async def run(registry: ToolRegistry, name: str, arguments: str = "{}") -> tuple[ToolOutcome, dict[str, Any]]:
    outcome = await registry.run(name, arguments, CONTEXT)
    return outcome, orjson.loads(outcome.output)


def registry_of(*functions: Any, deadline: float = 5.0, **policy: Any) -> ToolRegistry:
    registry = ToolRegistry(deadline)
    for function in functions:
        registry.add(function, **policy)
    return registry


def test_the_model_is_shown_signature_and_docstring() -> None:
    """Types, choices, defaults and notes of the signature and docstring are the schema; the context is not in it."""
    (spec,) = registry_of(book).specs(["book"])
    assert spec.name == "book"
    assert spec.description == "Book a room. It is held for one day."
    properties = spec.parameters["properties"]
    assert spec.parameters["type"] == "object"
    assert spec.parameters["additionalProperties"] is False
    assert spec.parameters["required"] == ["room", "guests"]
    assert list(properties) == ["room", "guests", "title", "extras", "slot"]
    assert properties["room"] == {
        "description": "Which room, by its size.",
        "enum": ["small", "large"],
        "type": "string",
    }
    assert properties["guests"] == {"description": "How many people come.", "minimum": 1, "type": "integer"}
    assert properties["title"] == {"type": "string"}
    assert properties["slot"]["properties"]["hour"] == {"type": "integer"}
    assert properties["extras"]["items"] == {"type": "string"}
    assert '"title":"' not in orjson.dumps(spec.parameters).decode()


def test_the_same_names_give_the_same_object() -> None:
    """Adapters cache what they make of the specs by identity."""

    async def hello(context: ToolContext) -> str:
        """Say hello."""
        return "hello"

    box: ToolBox = registry_of(book, hello)
    assert box.specs(["hello", "book"]) is box.specs(("hello", "book"))
    assert [spec.name for spec in box.specs(["hello", "book"])] == ["hello", "book"]
    (spec,) = box.specs(["hello"])
    assert spec.parameters == {"type": "object", "properties": {}, "additionalProperties": False}


async def test_a_tool_gets_its_context_and_checked_arguments() -> None:
    """Arguments arrive with their types, left-out ones with their defaults, and a dict goes back as it is."""
    outcome, output = await run(
        registry_of(book), "book", '{"room":"small","guests":"2","slot":{"day":"Mon","hour":9}}'
    )
    assert outcome.ok
    assert output == {
        "room": "small",
        "guests": 2,
        "title": None,
        "extras": [],
        "who": "phone:+15550100",
        "slot": {"day": "Mon", "hour": 9},
    }


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ('{"room":"small","gues', "bad_json", "not valid JSON"),
        ("[]", "wrong_arguments", "object"),
        ('{"guests":1}', "wrong_arguments", "room is missing. Nothing was done."),
        ('{"room":"huge","guests":0}', "wrong_arguments", "room: Input should be 'small' or 'large'; guests:"),
        ('{"room":"small","guests":1,"price":3}', "wrong_arguments", "price is no argument of this tool"),
        ('{"room":"small","guests":"many"}', "wrong_arguments", "guests: Input should be a valid integer"),
    ],
)
async def test_wrong_arguments_are_told_by_name(arguments: str, error: str, told: str) -> None:
    """Bad JSON and arguments that do not fit are results from which the model can correct itself."""
    outcome, output = await run(registry_of(book), "book", arguments)
    assert not outcome.ok
    assert output["error"] == error
    assert told in output["message"]


async def test_an_unknown_tool_is_a_result() -> None:
    """A name the model made up is answered, not raised, and has the default policy."""
    registry = registry_of(book)
    outcome, output = await run(registry, "fly")
    assert not outcome.ok
    assert output["error"] == "unknown_tool"
    assert "'fly'" in output["message"]
    assert registry.policy("fly") == ToolPolicy()


def test_what_an_agents_file_asks_of_the_tools_is_checked() -> None:
    """An unknown name and arguments a key could never be run with are complaints; what works is none."""
    registry = registry_of(book)
    assert registry.complaint("book") == ""
    assert "'fly'" in registry.complaint("fly")
    assert "nonsense" in registry.complaint("book", {"nonsense": 1})


@pytest.mark.parametrize(
    ("raised", "error", "told"),
    [
        (ToolRetry("The day is over."), "try_again", "The day is over. Correct the arguments and call the tool again."),
        (ToolError("The hotel is closed."), "failed", "The hotel is closed."),
    ],
)
async def test_what_a_tool_says_of_its_failure_is_told(raised: ToolError, error: str, told: str) -> None:
    """A failure other arguments may cure is told apart from one that is final."""

    async def fail(context: ToolContext) -> None:
        """Fail."""
        raise raised

    outcome, output = await run(registry_of(fail), "fail")
    assert not outcome.ok
    assert output == {"error": error, "message": told}


@pytest.mark.parametrize("bug", [RuntimeError, TimeoutError, KeyError])
async def test_a_bug_is_logged_once_without_words(bug: type[Exception]) -> None:
    """An unexpected error becomes a plain failure; the log has its place and kind, no argument and no message."""

    async def broken(context: ToolContext, secret: str) -> None:
        """Break."""
        raise bug(f"could not use {secret}")

    with capture_logs() as logs:
        outcome, output = await run(registry_of(broken), "broken", '{"secret":"tulip"}')
    assert not outcome.ok
    assert output["error"] == "failed"
    assert [(each["tool"], each["error"]) for each in logs] == [("broken", bug.__name__)]
    assert "in broken" in logs[0]["trace"]
    assert "tulip" not in repr(logs) + outcome.output


@pytest.mark.parametrize(("side_effect", "doubt"), [(False, False), (True, True)])
async def test_a_tool_that_takes_too_long_is_ended(side_effect: bool, doubt: bool) -> None:
    """At its deadline a tool is cancelled and the model told, with the doubt whether a side effect took place."""
    ended = []

    async def slow(context: ToolContext) -> None:
        """Wait for ever."""
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    outcome, output = await run(registry_of(slow, deadline=0.01, side_effect=side_effect), "slow")
    assert not outcome.ok
    assert output["error"] == "timeout"
    assert "0.01 seconds" in output["message"]
    assert ("check before trying again" in output["message"]) is doubt
    assert ended == [True]


async def test_a_tools_own_deadline_wins() -> None:
    """A deadline given with the tool stands in place of the registry's."""

    async def slow(context: ToolContext) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()

    registry = registry_of(slow, deadline=3600, terminal=True)
    quick = ToolRegistry(3600)
    quick.add(slow, deadline=0.01)
    _, output = await run(quick, "slow")
    assert output["error"] == "timeout"
    assert quick.policy("slow") == ToolPolicy(deadline=0.01)
    assert registry.policy("slow") == ToolPolicy(terminal=True)


async def test_a_cancel_goes_through() -> None:
    """Cancelling a running tool cancels it and is not turned into a result."""
    entered = asyncio.Event()
    seen: list[tuple[str, str]] = []

    async def slow(context: ToolContext) -> None:
        """Wait for ever."""
        entered.set()
        await asyncio.Event().wait()

    registry = ToolRegistry(5, lambda tool, outcome, _: seen.append((tool, outcome)))
    registry.add(slow)
    task = asyncio.create_task(registry.run("slow", "{}", CONTEXT), name="tool")
    await entered.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert seen == [("slow", "cancelled")]


async def test_every_call_is_observed() -> None:
    """The metrics hook hears of each outcome by tool; a made-up name is not one."""
    seen: list[tuple[str, str]] = []

    async def answer(context: ToolContext, how: Literal["ok", "retry", "failed", "bug"]) -> str:
        """Answer."""
        match how:
            case "retry":
                raise ToolRetry("again")
            case "failed":
                raise ToolError("no")
            case "bug":
                raise RuntimeError
        return "yes"

    def observe(tool: str, outcome: str, seconds: float) -> None:
        assert 0 <= seconds < 5
        seen.append((tool, outcome))

    registry = ToolRegistry(5, observe)
    registry.add(answer)
    for how in ("ok", "retry", "failed", "bug", "what"):
        await registry.run("answer", f'{{"how":"{how}"}}', CONTEXT)
    await registry.run("made_up_by_the_model", "{}", CONTEXT)
    assert seen == [
        ("answer", "ok"),
        ("answer", "retry"),
        ("answer", "failed"),
        ("answer", "failed"),
        ("answer", "invalid"),
        ("unknown", "invalid"),
    ]


@pytest.mark.parametrize(
    ("returned", "output"),
    [
        ("done", {"message": "done"}),
        ([1, 2], {"result": [1, 2]}),
        (None, {"result": None}),
        ({"free": True}, {"free": True}),
        (ToolResult("bye", (EndCall(),)), {"message": "bye"}),
        (ToolResult(Slot("Mon", 9)), {"result": {"day": "Mon", "hour": 9}}),
    ],
)
async def test_every_output_is_a_json_object(returned: Any, output: dict[str, Any]) -> None:
    """What is no object is wrapped in one; effects are handed on beside it."""

    async def give(context: ToolContext) -> Any:
        """Give."""
        return returned

    outcome, told = await run(registry_of(give), "give")
    assert outcome.ok
    assert told == output
    assert outcome.effects == (returned.effects if isinstance(returned, ToolResult) else ())


@pytest.mark.parametrize("sound", ["https://example.com/note.mp3?voice=1", "http://localhost:8000/a", "", None])
async def test_a_sound_is_handed_on_beside_the_output(sound: Any) -> None:
    async def give(context: ToolContext) -> ToolResult:
        """Give."""
        return ToolResult("listen", play=sound)

    outcome, told = await run(registry_of(give), "give")
    assert (outcome.play, told) == (sound or "", {"message": "listen"})


@pytest.mark.parametrize(
    "sound", ["file:///etc/passwd", "ftp://example.com/a", "note.mp3", "https://", "https://a/b c", 5]
)
async def test_a_sound_nobody_could_play_is_left_out(sound: Any) -> None:
    """What the tool did is done: its result stands. The log names the tool, and not the address."""

    async def give(context: ToolContext) -> ToolResult:
        """Give."""
        return ToolResult("listen", play=sound)

    with capture_logs() as logs:
        outcome, told = await run(registry_of(give), "give")
    assert outcome.ok and (outcome.play, told) == ("", {"message": "listen"})
    assert [(log["tool"], log["log_level"]) for log in logs] == [("give", "error")]
    assert str(sound) not in str(logs)


def test_a_tool_that_is_to_be_confirmed_counts_as_a_side_effect() -> None:
    """Unless it is terminal; the model is told how to go about it."""
    registry = ToolRegistry()
    registry.add(book, confirm=True, expected=6.0)
    registry.add(book, name="close", confirm=True, terminal=True)
    assert registry.policy("book") == ToolPolicy(side_effect=True, confirm=True, expected=6.0)
    assert registry.policy("close") == ToolPolicy(terminal=True, confirm=True)
    description = registry.specs(["book"])[0].description
    assert description.startswith("Book a room.") and description.endswith(ASKS_FIRST)


async def test_a_tool_may_report_and_knows_the_language() -> None:
    """What it reports goes to whoever runs it, and to nobody where nobody listens."""
    told: list[str] = []

    async def search(context: ToolContext) -> str:
        """Search."""
        context.progress(f"Sigo buscando ({context.language}).")
        return "found"

    registry = registry_of(search)
    await registry.run("search", "{}", replace(CONTEXT, language="es-MX", report=told.append))
    outcome = await registry.run("search", "{}", CONTEXT)
    assert outcome.ok and told == ["Sigo buscando (es-MX)."]


async def test_an_output_that_cannot_be_written_is_a_failure() -> None:
    """A result JSON cannot carry does not escape from the registry."""

    async def give(context: ToolContext) -> Any:
        """Give."""
        return {"number": 2**70}

    with capture_logs() as logs:
        outcome, output = await run(registry_of(give), "give")
    assert not outcome.ok
    assert output["error"] == "failed"
    assert len(logs) == 1


@given(st.text(alphabet='a"\\\né你😀', min_size=1, max_size=50), st.integers(1, 40_000))
def test_an_output_is_bounded(text: str, times: int) -> None:
    """However long a result is, the model gets JSON of at most MAX_OUTPUT bytes."""

    async def give(context: ToolContext) -> str:
        """Give."""
        return text * times

    outcome, output = asyncio.run(run(registry_of(give), "give"))
    assert len(outcome.output.encode()) <= MAX_OUTPUT
    if len(orjson.dumps({"message": text * times})) <= MAX_OUTPUT:
        assert output == {"message": text * times}
    else:
        assert orjson.dumps({"message": text * times}).decode().startswith(output["beginning"])
        assert len(outcome.output.encode()) > MAX_OUTPUT // 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"room":"small","guests":2}', '{ "guests": "2", "room": "small" }'),
        ('{"room":"small","guests":2}', '{"room":"small","guests":2,"title":null,"extras":[]}'),
        ('{"room":"huge","guests":2}', '{"guests":2,"room":"huge"}'),
    ],
)
def test_calls_that_ask_the_same_are_spelled_the_same(one: str, other: str) -> None:
    """Order, white space, number as text and written-out defaults make no difference; wrong arguments are sorted."""
    registry = registry_of(book)
    assert registry.canonical("book", one) == registry.canonical("book", other)


def test_calls_that_ask_otherwise_are_spelled_otherwise() -> None:
    """Another value is another spelling; what is no JSON stays as it is, also for a tool that does not exist."""
    registry = registry_of(book)
    spellings = {registry.canonical("book", f'{{"room":"small","guests":{guests}}}') for guests in (1, 2, 2**70)}
    assert len(spellings) == 3
    assert registry.canonical("book", "{oops") == registry.canonical("fly", "{oops") == "{oops"
    assert registry.canonical("fly", '{"b":1,"a":2}') == '{"a":2,"b":1}'


def test_what_cannot_be_a_tool_is_refused() -> None:
    """Mistakes of a tool's author are found when it is added."""
    registry = ToolRegistry()
    registry.add(book)

    def plain(context: ToolContext) -> None:
        """Not async."""

    async def silent(context: ToolContext) -> None: ...

    async def homeless(city: str) -> None:
        """No context."""

    async def untyped(context: ToolContext, city) -> None:  # type: ignore[no-untyped-def]
        """No type."""

    async def misnamed(context: ToolContext, city: str) -> None:
        """A wrong name.

        Args:
            town: There is no such argument.
        """

    wrong: list[tuple[Any, type[Exception], str]] = [
        (plain, TypeError, "not an async function"),
        (homeless, TypeError, "not a ToolContext"),
        (untyped, TypeError, "city of untyped has no type"),
        (silent, ValueError, "needs a docstring"),
        (misnamed, ValueError, "describes town"),
        (book, ValueError, "two tools named book"),
    ]
    for function, error, told in wrong:
        with pytest.raises(error, match=told):
            registry.add(function)


async def test_a_cancel_that_is_not_ours_is_a_failure() -> None:
    """What a tool waits for may be cancelled by somebody else: the conversation still gets an outcome."""

    async def wait(context: ToolContext) -> dict[str, Any]:
        """Wait for what never comes."""
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone
        return {}

    outcome, output = await run(registry_of(wait, side_effect=True), "wait")
    assert (outcome.ok, outcome.certain, output["error"]) == (False, False, "failed")


async def test_only_what_was_refused_is_certain_to_have_no_effect() -> None:
    """A tool that broke or ran out of time may have done its deed; one that said no has not."""

    async def broken(context: ToolContext) -> dict[str, Any]:
        """Break."""
        raise RuntimeError("after the deed")

    async def slow(context: ToolContext) -> dict[str, Any]:
        """Take for ever."""
        await asyncio.Event().wait()
        return {}

    async def refusing(context: ToolContext) -> dict[str, Any]:
        """Say no."""
        raise ToolError("No.")

    registry = registry_of(broken, slow, refusing, deadline=0.01, side_effect=True)
    certain = {name: (await run(registry, name))[0].certain for name in ("broken", "slow", "refusing")}
    assert certain == {"broken": False, "slow": False, "refusing": True}


@pytest.mark.parametrize("arguments", ['{"name":"\\ud83d"}', "[" * 100_000, '{"room":' * 5_000])
def test_any_arguments_have_a_spelling(arguments: str) -> None:
    """Whatever a model writes, asking for its canonical form raises nothing."""
    assert registry_of(book).canonical("book", arguments)


async def test_what_a_tool_objects_to_before_the_caller_is_asked() -> None:
    """Wrong arguments, and what the tool itself knows at once; nothing is run."""

    def objects(context: ToolContext, room: str, **others: Any) -> None:
        if room == "large":
            raise ToolError("The large room is being painted.")

    registry = ToolRegistry()
    registry.add(book, confirm=True, objects=objects)

    def objection(arguments: str) -> dict[str, Any]:
        outcome = registry.objection("book", arguments, CONTEXT)
        assert outcome is None or not outcome.ok
        return {} if outcome is None else orjson.loads(outcome.output)

    assert objection('{"room":"small","guests":1}') == {}
    assert objection('{"room":"large","guests":1}') == {
        "error": "failed",
        "message": "The large room is being painted.",
    }
    assert objection('{"room":"large"}')["error"] == "wrong_arguments"
    assert registry.objection("fly", "{}", CONTEXT) is None
