"""A session by itself, where a real peer could not bring it: bugs, and what its tasks leave behind."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from types import FrameType
from typing import Any, Self

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from relay import trace
from relay.cast import Role
from relay.conversations import Conversations
from relay.errors import ModelUnavailable
from relay.flood import FRAMES_PER_SECOND, Rate
from relay.frames import (
    AgentSpeaking,
    ClientSpeaking,
    Dtmf,
    Incoming,
    Interrupt,
    Outgoing,
    Prompt,
    Setup,
    Text,
    TokensPlayed,
    dump,
    parse_outgoing,
)
from relay.items import UserItem
from relay.jobs import Jobs
from relay.manner import Manner
from relay.models.base import Finished, ModelEvent, ModelRequest, ModelStream, ToolCall
from relay.parts import SessionParts
from relay.replay import Told
from relay.rules import CallRules
from relay.session import CallSession
from relay.sideeffects import SideEffects
from relay.store.client import connect
from relay.store.effects import Effects
from relay.store.history import History, state_key
from relay.telemetry import Telemetry
from relay.toolbox import PersonChanged, ToolContext
from relay.trace import Entry
from tests.calls.checks import eventually
from tools.registry import ToolRegistry, ToolResult

CALL = "CA" + "4" * 32
WORDS = "a bug's words"


class Line:
    """``relay.session.Socket`` in memory: gives what the test says, and tells when the session speaks and closes."""

    def __init__(self) -> None:
        self.spoken = asyncio.Event()
        self.sent: list[Outgoing] = []
        self.closed: list[tuple[int, str]] = []
        self._frames: asyncio.Queue[str | None] = asyncio.Queue()

    def say(self, frame: Incoming) -> None:
        self._frames.put_nowait(dump(frame))

    def hang_up(self) -> None:
        self._frames.put_nowait(None)

    def send(self, data: bytes) -> None:
        self.sent.append(parse_outgoing(data))
        self.spoken.set()

    def unread(self) -> int:
        return 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        frame = await self._frames.get()
        if frame is None:
            raise StopAsyncIteration
        return frame

    async def close(self, code: int, reason: str = "") -> None:
        self.closed.append((code, reason))
        self._frames.put_nowait(None)

    def abort(self) -> None:
        self._frames.put_nowait(None)

    @property
    def closed_cleanly(self) -> bool:
        return False


class Away:
    """A model nobody reaches."""

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[ModelStream]:
        raise ModelUnavailable("away")

    async def warm(self) -> str:
        return ""

    async def close(self) -> None:
        pass


class Echo:
    """A model that says at once what it was asked last; ``asked`` has all that was."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelStream]:
        last = request.items[-1]
        assert isinstance(last, UserItem)
        self.asked.append(last.text)

        async def events() -> AsyncIterator[ModelEvent]:
            yield last.text
            yield Finished("stop")

        yield events()

    async def warm(self) -> str:
        return ""

    async def close(self) -> None:
        pass


class OnlyOne:
    """A cast of one agent, who knows nobody."""

    def role(self, agent: str) -> Role | None:
        return Role(Manner(line=lambda name, language: name, agent=agent), ModelRequest("", ()))

    def instructions(self, agent: str, language: str = "") -> str:
        return "Be brief."

    async def look_up(self) -> None:
        pass


def rules_of(
    parts: SessionParts, line: Callable[[str, str], str] = lambda name, language: name, **options: Any
) -> CallRules:
    return CallRules(
        manner=Manner(line=line, agent="default"), policy=parts.tools.policy, canonical=parts.tools.canonical, **options
    )


def broken(name: str, language: str) -> str:
    """An agent's words that cannot be had: no agent file can bring this about."""
    raise RuntimeError(WORDS)


@pytest.fixture
async def parts() -> AsyncIterator[SessionParts]:
    redis = connect("unix:///nonexistent/redis.sock")
    conversations, jobs, tools = Conversations(History(redis, 60)), Jobs(), ToolRegistry()
    context = ToolContext(CALL, "voice", "default")

    async def admitted() -> bool:
        return True

    yield SessionParts(
        model=Away(),
        cast=OnlyOne(),
        tools=tools,
        writer=conversations.open(CALL, 1),
        effects=SideEffects(tools, Effects(redis, 60), jobs, context, 1),
        telemetry=Telemetry(),
        admitted=admitted,
        context=context,
    )
    await jobs.drain(1)
    await conversations.close(0.05)
    await redis.aclose()


def session(line: Line, parts: SessionParts, rules: CallRules) -> CallSession:
    return CallSession(line, Setup("VX1", CALL), rules, parts)


async def test_a_bug_in_the_machine(parts: SessionParts) -> None:
    """A failure of ``Call`` itself closes with 1011, is logged once with its trace, and ends the session."""
    line = Line()
    rules = rules_of(parts, line=broken, prepare_deadline=0.01)
    line.say(Prompt("Hello?"))
    with capture_logs() as records:
        async with asyncio.timeout(20):
            assert await session(line, parts, rules).run() == "error"
    assert line.closed == [(1011, "error")]
    [bug] = [record for record in records if record["log_level"] == "error"]
    assert (bug["event"], bug["error"]) == ("bug in a call", "RuntimeError")
    assert parts.telemetry.registry.get_sample_value("relay_calls_active") == 0
    assert parts.telemetry.registry.get_sample_value("relay_calls_ended_total", {"reason": "error"}) == 1


async def test_prompts_that_have_queued_up_are_one_request(parts: SessionParts) -> None:
    """Ten that arrive in one read are one turn, and the model is asked once, with all their words."""
    line, model = Line(), Echo()
    rules = rules_of(parts, prepare_deadline=0.01)
    running = asyncio.create_task(session(line, replace(parts, model=model), rules).run(), name="session")
    line.say(Prompt("And"))
    await asyncio.wait_for(line.spoken.wait(), 20)  # all is ready, and nothing else is under way
    for number in range(10):
        line.say(Prompt(f"part {number}"))
    line.spoken.clear()
    await asyncio.wait_for(line.spoken.wait(), 20)
    assert model.asked == ["And", " ".join(f"part {number}" for number in range(10))]
    running.cancel()
    await asyncio.wait([running])


async def test_a_session_that_is_leaving_is_not_closed_again(parts: SessionParts) -> None:
    """The next session of the call may open while the tasks of this one end: it is not to hear of an error here."""
    leaving, gone = asyncio.Event(), asyncio.Event()

    async def admitted() -> bool:
        try:
            await asyncio.Event().wait()
        finally:
            leaving.set()
            await gone.wait()
        return True

    line = Line()
    rules = rules_of(parts)
    old = session(line, replace(parts, admitted=admitted), rules)
    running = asyncio.create_task(old.run(), name="session")
    await asyncio.sleep(0)
    line._frames.put_nowait(None)
    await asyncio.wait_for(leaving.wait(), 20)
    old.fenced()
    gone.set()
    await asyncio.wait_for(running, 20)
    assert line.closed == []


async def test_no_task_outlives_its_session(parts: SessionParts) -> None:
    """Cancelled in the middle, a session ends with all its tasks and closes nothing twice."""
    line = Line()
    rules = rules_of(parts, greeting="Hello.")
    running = asyncio.create_task(session(line, parts, rules).run(), name="session")
    line.say(Prompt("Hello?"))
    await asyncio.wait_for(line.spoken.wait(), 20)  # the apology: the model was asked
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    kinds = {task.get_name().split()[0] for task in asyncio.all_tasks() if task.get_name().endswith(CALL)}
    assert kinds & {"prepare", "round", "tool", "close"} == set()
    assert parts.telemetry.registry.get_sample_value("relay_calls_active") == 0


async def test_a_session_that_is_not_admitted_leaves_no_trace(parts: SessionParts, redis: Redis) -> None:
    """The conversation is another session's: neither its epoch nor its items are touched."""

    async def refused() -> bool:
        return False

    history = History(redis, 60)
    theirs, ours = Conversations(history), Conversations(history)
    genuine = theirs.open(CALL, 5)
    await genuine.prepare(1)
    genuine.put(0, UserItem("mine"), urgent=True)
    assert await genuine.flush(2)
    line = Line()
    rules = rules_of(parts, greeting="Hello.")
    intruder = ours.open(CALL, 9)
    await session(line, replace(parts, writer=intruder, admitted=refused), rules).run()
    ours.release(intruder)
    assert await ours.close(1) == 0
    assert line.closed == [(1008, "ticket")]
    assert await redis.hget(f"conversation:{{{CALL}}}:state", "epoch") == b"5"
    assert await redis.zcard(f"conversation:{{{CALL}}}:items") == 1
    await theirs.close(1)


@pytest.mark.parametrize(
    ("frame", "foreseen"),
    [
        (ClientSpeaking(True), 1),
        (ClientSpeaking(False), 1),
        (Prompt("Do you", last=False), 1),
        (Interrupt("Hello", 200), 1),
        (Dtmf("5"), 1),
        (Prompt("Do you have a room?"), 0),  # its request is leaving: nothing is to stand in its way
        (AgentSpeaking(False), 0),
        (TokensPlayed("Hello"), 0),
    ],
)
async def test_a_caller_who_is_heard_foretells_a_turn(frame: Incoming, foreseen: int, parts: SessionParts) -> None:
    """Speech, a partial prompt, an interrupt and a key do; what the agent's own voice reports does not."""
    line, told = Line(), list[str]()
    rules = rules_of(parts, interdigit=60)
    line.say(frame)
    line.hang_up()
    await session(line, replace(parts, foreseen=lambda: told.append("heard")), rules).run()
    assert len(told) == foreseen


async def test_what_is_not_on_record_is_not_noted_as_told(parts: SessionParts, redis: Redis) -> None:
    """A process killed while keys are being collected leaves no mark of them: told again, they are keys."""
    conversations = Conversations(History(redis, 60))
    writer = conversations.open(CALL, 5, session="VX1")
    line = Line()
    rules = rules_of(parts, interdigit=60.0)
    ours = session(line, replace(parts, writer=writer, reconnects=True), rules)
    running = asyncio.create_task(ours.run(), name="session")

    async def noted(items: int) -> int:
        """How many events are noted as told, once there are so many items."""
        async with asyncio.timeout(20):
            while await redis.zcard(f"conversation:{{{CALL}}}:items") < items or writer.pending:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return len(Told((await redis.hget(state_key(CALL), "told") or b"").decode()).marks())

    line.say(Prompt("Hello?"))
    assert await noted(2) == 1  # and the apology: the model is away
    line.say(Dtmf("1"))
    line.say(Prompt(""))
    await eventually(lambda: ours.call.unrecorded)
    writer.put(9, UserItem("a sign"))
    assert await noted(3) == 1
    line.say(Dtmf("#"))
    assert await noted(4) == 4
    running.cancel()
    await asyncio.wait([running])
    await conversations.close(1)


async def test_no_more_than_so_many_frames_in_any_second() -> None:
    """Not even across the border of two seconds."""
    rate = Rate()
    taken = [at for at in [0.0, *[0.93] * 190, *[1.05] * 195] if not rate.over(at)]
    assert all(sum(1 for other in taken if at <= other < at + 1.0) <= FRAMES_PER_SECOND for at in taken)
    assert not rate.over(2.5)


async def test_an_answer_taken_over_and_superseded_in_the_same_moment(parts: SessionParts) -> None:
    """Two final prompts read in one go: what the first one took over is not heard, and is not left to be."""
    line, model = Line(), Echo()
    rules = rules_of(parts, line=lambda name, language: "", prepare_deadline=0.01, speculation=True)
    running = asyncio.create_task(session(line, replace(parts, model=model), rules).run(), name="session")
    async with asyncio.timeout(20):
        while not model.asked:
            line.say(Prompt("One.", last=False))
            await asyncio.sleep(0.005)
        line.say(Prompt("One."))
        line.say(Prompt("Two."))
        while not (line.sent and isinstance(line.sent[-1], Text) and line.sent[-1].last):
            line.spoken.clear()
            await line.spoken.wait()
        await line.close(1000)
        await running
    assert model.asked == ["One.", "One. Two."]
    assert [frame.token for frame in line.sent if isinstance(frame, Text)] == ["One.", " Two.", ""]
    assert parts.telemetry.registry.get_sample_value("relay_speculation_total", {"result": "used"}) == 1


class Learns(OnlyOne):
    """A cast that learns a name, when the test lets it."""

    def __init__(self) -> None:
        self.known = ""
        self.gate = asyncio.Event()
        self.asked = 0

    def instructions(self, agent: str, language: str = "") -> str:
        return f"The caller is {self.known or 'a stranger'}."

    async def look_up(self) -> None:
        self.asked += 1
        if self.asked > 1:  # the first is that of the beginning
            await self.gate.wait()
            self.known = "Ada"


class CallsOnce:
    """A model that calls ``learn``, then speaks; ``told`` has the instructions of each request."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelStream]:
        first = not self.told
        self.told.append(request.instructions)

        async def events() -> AsyncIterator[ModelEvent]:
            if first:
                yield ToolCall("a", "learn", "{}")
            else:
                yield "Hello."
            yield Finished("tools" if first else "stop")

        yield events()

    async def warm(self) -> str:
        return ""

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("in_time", [True, False])
async def test_a_request_waits_a_moment_for_what_is_new_of_the_person(parts: SessionParts, in_time: bool) -> None:
    """The round after a tool that has learnt something asks with it; where it cannot be read soon, without."""
    line, cast, model = Line(), Learns(), CallsOnce()

    async def learn(context: ToolContext) -> ToolResult:
        """Learns."""
        asyncio.get_running_loop().call_soon(cast.gate.set if in_time else cast.gate.clear)
        return ToolResult({}, (PersonChanged(),))

    assert isinstance(parts.tools, ToolRegistry)
    parts.tools.add(learn)
    ours = session(line, replace(parts, cast=cast, model=model), rules_of(parts, prepare_deadline=0.01))
    running = asyncio.create_task(ours.run(), name="session")
    line.say(Prompt("I am Ada"))
    async with asyncio.timeout(20):
        await line.spoken.wait()
    assert model.told == ["The caller is a stranger.", f"The caller is {'Ada' if in_time else 'a stranger'}."]
    line.hang_up()
    await asyncio.wait([running])
    assert running.result() == "dropped"


class Talks:
    """A model that says so many words, one at a time."""

    def __init__(self, words: int) -> None:
        self._words = words

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelStream]:
        async def events() -> AsyncIterator[ModelEvent]:
            for number in range(self._words):
                yield f"word{number} "
            yield Finished("stop")

        yield events()

    async def warm(self) -> str:
        return ""

    async def close(self) -> None:
        pass


async def test_no_token_costs_anything_for_the_trace(parts: SessionParts) -> None:
    """A reply of five hundred words leads to as many calls of what puts the trace together as one of two."""
    rules = rules_of(parts, prepare_deadline=0.01, reply_max_chars=100_000)
    counts: list[int] = []
    for words in (2, 500):
        line, ended, entered = Line(), asyncio.Event(), 0

        class Kept:
            def add(self, entry: Entry, /, ended: asyncio.Event = ended) -> None:
                if entry["kind"] == "turn":
                    ended.set()

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal entered
            entered += event == "call" and frame.f_code.co_filename == trace.__file__

        ours = session(line, replace(parts, model=Talks(words), trail=Kept()), rules)
        sys.setprofile(count)
        try:
            running = asyncio.create_task(ours.run(), name="session")
            line.say(Prompt("Go on"))
            await asyncio.wait_for(ended.wait(), 20)
        finally:
            sys.setprofile(None)
        sent = [frame for frame in line.sent if isinstance(frame, Text) and frame.token]
        assert len(sent) == words
        counts.append(entered)
        running.cancel()
        await asyncio.wait([running])
    assert counts[0] == counts[1] > 5
