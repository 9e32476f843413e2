"""What an operator is shown of real calls: lists, a call's words as heard, its trace; with words masked, or shown."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from redis.asyncio import Redis

from phone.caller import FAST, Caller
from phone.model import Gate, Reply, ToolUse
from relay.chats import Chats, Done
from relay.frames import Text
from relay.items import AssistantItem, UserItem
from relay.store.archive import Archive
from relay.store.events import CHANNEL
from relay.store.history import History
from relay.store.leases import Leases
from relay.store.trace import trace_key
from tests.calls.checks import GREETING, INFO, TALE, heard, in_order, interrupted
from tests.calls.house import PROCESSES, open_house
from tests.calls.workshop import NAMES, Workshop, book
from tests.relay.store.servers import fragile_redis
from tests.running import Running, running, write_agent

ANN = "+15551234567"
AGENT = f"""
title = "Test"
greeting = "{GREETING}"
tools = {NAMES}
[relay]
events = "{INFO["info"]}"
[says]
fillers = []
"""
NAME = ToolUse("save_name", '{"first_name": "Ann", "last_name": "Lee"}')
SHOWN = {"DASHBOARD_SHOW_WORDS": "1"}


@dataclass
class Operator:
    """Somebody at the dashboard of a running relay. ``bearer`` "": whom the token is not asked of."""

    line: Running
    http: aiohttp.ClientSession
    bearer: str = ""

    async def ask(self, path: str, **query: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.bearer}"} if self.bearer else {}
        url = f"{self.line.url}/dashboard/api/{path}"
        async with self.http.get(url, params=query, headers=headers) as response:
            text = await response.text()
            return response.status, orjson.loads(text) if text else None

    async def get(self, path: str, **query: str) -> Any:
        status, found = await self.ask(path, **query)
        assert status == 200, found
        return found

    async def listed(self, **query: str) -> list[str]:
        return [each["id"] for each in (await self.get("conversations", **query))["conversations"]]

    async def until(self, path: str, want: Callable[[Any], object]) -> Any:
        """Once it is so: all that is shown is written behind the call."""
        async with asyncio.timeout(20):
            while True:
                status, found = await self.ask(path)
                if status == 200 and want(found):
                    return found
                await asyncio.sleep(0.02)

    async def ended(self, call: Caller, sessions: int = 1) -> Any:
        """The conversation of a call, once so many of its sessions are over and on record."""

        def over(found: Any) -> bool:
            kinds = [entry["kind"] for entry in found["trace"]]
            return kinds.count("ended") == sessions and not found["live"]

        path = f"conversations/{call.record.call_sid}"
        found = await self.until(path, over)
        await self.until("conversations", lambda all_: any(one["id"] == found["id"] for one in all_["conversations"]))
        return found


@asynccontextmanager
async def relay(
    redis_url: str, folder: Path, environ: Mapping[str, str] | None = None, bearer: str = ""
) -> AsyncIterator[Operator]:
    agents = write_agent(folder / "agents", AGENT)
    async with (
        running(redis_url, folder / "data", agents=agents, environ=environ, extra_tools=Workshop().add) as line,
        aiohttp.ClientSession() as http,
    ):
        yield Operator(line, http, bearer)


@pytest.fixture
async def masked(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Operator]:
    async with relay(redis_url, tmp_path) as operator:
        yield operator


@pytest.fixture
async def shown(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Operator]:
    async with relay(redis_url, tmp_path, SHOWN) as operator:
        yield operator


async def ann_calls(operator: Operator) -> Caller:
    """She says her name, which a tool saves, and interrupts a story."""
    model, gate = operator.line.model, Gate()
    async with Caller(operator.line.url, pace=FAST, from_=ANN) as call:
        await call.greeting_played()
        model.script(Reply(tools=[NAME]), Reply("Hello Ann."))
        await call.say("I am Ann Lee")
        await call.reply()
        model.script(Reply(TALE, gate=gate, gate_at=len(TALE)), Reply("As you like."))
        await interrupted(call, "A story please", 3, "Stop it")
        await call.until(lambda: "As you like." in heard(call))
        await in_order(call)
        await call.hang_up()
    return call


def turns_of(found: Any) -> list[Any]:
    return [entry for entry in found["trace"] if entry["kind"] == "turn"]


async def test_a_conversation_as_it_was_heard(shown: Operator) -> None:
    """Every line, a tool with what it was given and gave back, and of an interrupted reply what was not heard."""
    call = await ann_calls(shown)
    found = await shown.ended(call)
    items = [each for each in found["items"] if each["kind"] != "tool"]
    assert [(each["kind"], each["heard"].strip(), each["unheard"].strip()) for each in items] == [
        ("assistant", GREETING, ""),
        ("user", "I am Ann Lee", ""),
        ("assistant", "Hello Ann.", ""),
        ("user", "A story please", ""),
        ("assistant", "Once there was", "a fox in a wood and so on."),
        ("user", "Stop it", ""),
        ("assistant", "As you like.", ""),
    ]
    cut = items[4]
    assert cut["heard"] + cut["unheard"] == cut["text"] == "".join(TALE).rstrip()
    assert [each["heard"].strip() for each in items if each["kind"] == "assistant"] == heard(call)
    (tool,) = [each for each in found["items"] if each["kind"] == "tool"]
    assert (tool["name"], tool["status"], orjson.loads(tool["arguments"])["first_name"]) == ("save_name", "done", "Ann")
    assert [each["position"] for each in found["items"]] == sorted(each["position"] for each in found["items"])
    assert (found["person_masked"], found["outcome"], found["turns"], found["live"]) == (ANN, "completed", 3, False)


async def test_the_waterfall_of_a_turn(masked: Operator) -> None:
    """Its requests and its tool lie one after the other; the segments sum to the first words; frames are counted as
    the caller got them."""
    call = await ann_calls(masked)
    found = await masked.ended(call)
    named, told, stopped = turns_of(found)
    first, second = named["rounds"]
    (tool,) = named["tools"]
    assert (first["outcome"], second["outcome"], tool["name"], tool["outcome"]) == (
        "tools",
        "stop",
        "save_name",
        "done",
    )
    assert 0 <= first["at_ms"] <= first["at_ms"] + first["ms"] <= tool["at_ms"] + 0.2
    assert tool["at_ms"] + tool["ms"] <= second["at_ms"] + 0.2
    assert second["at_ms"] + second["first_ms"] <= named["first_text_ms"] + 0.2
    # Its first words came after a tool: all of the first round, and the tool, are what they waited for.
    parts = named["segments_ms"]
    before = parts["queue"] + parts["history"] + parts["request"]
    assert first["at_ms"] - 0.2 <= before <= first["at_ms"] + first["ms"] + 0.2
    assert second["at_ms"] - 0.2 <= before + parts["tools"] <= second["at_ms"] + second["first_ms"] + 0.2
    assert parts["tools"] >= tool["ms"] - 0.2 and told["segments_ms"]["tools"] == stopped["segments_ms"]["tools"] == 0
    asked = [request.ask for request in masked.line.model.asked]
    assert [each["model"] for each in named["rounds"]] == ["gpt-5.4-mini"] * 2 and len(asked) == 4
    assert all(each["input"] > 0 and each["output"] > 0 for each in named["rounds"])
    assert told["rounds"][0]["outcome"] == "cancelled"
    for turn in (named, told, stopped):
        assert abs(sum(turn["segments_ms"].values()) - turn["first_text_ms"]) <= 0.4
    assert abs(found["slowest_ms"] - max(turn["first_text_ms"] for turn in (named, told, stopped))) <= 0.6
    written = sum(1 for frame in call.frames if isinstance(frame, Text) and frame.token)
    counted = [frame for turn in turns_of(found) for frame in turn["frames"] if frame["type"] == "text"]
    assert sum(frame["count"] for frame in counted) == written
    kinds = [frame["type"] for frame in told["frames"] if frame["type"] != "info"]
    assert kinds == ["prompt", "text", "interrupt"]
    assert [frame["at_ms"] for frame in told["frames"]] == sorted(frame["at_ms"] for frame in told["frames"])


async def test_speech_in_a_trace_is_that_of_the_items(masked: Operator) -> None:
    """By its position: so a page can put both beside each other."""
    found = await masked.ended(await ann_calls(masked))
    spoken = {each["position"]: each["chars"] for entry in turns_of(found) for each in entry["speech"]}
    items = await masked.line.history(found["id"])
    texts = {at: item for at, item in enumerate(items) if isinstance(item, AssistantItem)}
    assert spoken == {
        each["position"]: len(texts[at].sent or texts[at].text) for at, each in enumerate(found["items"]) if at in texts
    }


async def test_words_names_and_numbers_are_masked(masked: Operator) -> None:
    """In every answer there is: no word of the caller's, of the agent's, of a tool, and no number."""
    found = await masked.ended(await ann_calls(masked))
    people = await masked.get(f"people/{found['person']}")
    answers = [found, people, await masked.get("conversations"), await masked.get("agents/default")]
    assert (people["first_name"], people["last_name"], people["addresses"]) == ("•••", "•••", ["+1•••••4567"])
    answers[-1].pop("greeting")  # an operator wrote it
    everything = orjson.dumps(answers).decode()
    for secret in ("Ann", "Lee", "555123", "please", "Stop", "fox", "Once", "like", "saved"):
        assert secret not in everything
    cut = found["items"][5]
    assert (cut["heard"], cut["unheard"]) == ("•••• ••••• •••", " • ••• •• • •••• ••• •• •••")
    trace = await masked.line.redis.xrange(f"conversation:{{{found['id']}}}:trace")
    assert not any(secret in str(trace) for secret in ("Ann", "Lee", "555", "please"))


async def test_a_call_that_is_going_on(masked: Operator) -> None:
    """It is live, told of turn by turn, and has no end."""
    async with Caller(masked.line.url, pace=FAST, from_=ANN) as call:
        masked.line.model.script(Reply("Hello."))
        await call.greeting_played()
        await call.say("Hi")
        await call.reply()
        found = await masked.until(f"conversations/{call.record.call_sid}", lambda found: len(turns_of(found)) == 1)
        assert (found["live"], found["outcome"], found["ended"]) == (True, "live", None)
        assert found["turns"] == 1
        assert abs(found["slowest_ms"] - turns_of(found)[0]["first_text_ms"]) <= 0.6
        await masked.until("conversations?outcome=live", lambda page: len(page["conversations"]) == 1)
        await call.hang_up()
    found = await masked.ended(call)
    assert await masked.listed(outcome="live") == []
    assert await masked.listed(outcome="completed") == [found["id"]]


async def test_a_call_that_was_passed_on_is_found_by_each_agent(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """In the list of the one that began it, and of the one that has it."""
    agents = write_agent(tmp_path / "agents", 'greeting = "Hello."\ntools = ["switch_agent"]')
    write_agent(agents, 'greeting = "Kitchen."', "kitchen")
    async with (
        running(redis_url, tmp_path / "data", agents=agents) as line,
        aiohttp.ClientSession() as http,
        Caller(line.url, pace=FAST) as call,
    ):
        operator, sid = Operator(line, http), call.record.call_sid
        line.model.script(Reply(tools=[ToolUse("switch_agent", '{"agent": "kitchen"}')]), Reply("Kitchen here."))
        await call.greeting_played()
        await call.say("I am hungry.")
        assert await call.reply() == "Kitchen here."
        await operator.until(f"conversations/{sid}", lambda found: found["agents"] == ["default", "kitchen"])
        assert await operator.listed(agent="default") == await operator.listed(agent="kitchen") == [sid]
        assert await operator.listed(agent="nobody") == []


async def test_a_text_conversation(shown: Operator) -> None:
    """As it is stored: no speech, no frames, no times of its items. It is live while a turn goes on, and found by its
    channel."""
    redis = shown.line.redis
    chats = Chats("chat", History(redis, 600, window=0.0), Leases(redis), Archive(redis, ttl=60), ttl=600, worker="w1")
    async with chats.turn("c1", create=True, wait=1) as turn:
        items = [UserItem("Is there a *pool*?"), AssistantItem("Yes, on the roof.")]
        await turn.put(Done(items, agent="default", person="chat:ada", first_text=0.4))
    entry = {"v": 1, "kind": "turn", "turn": 1, "agent": "default", "at": 1000, "outcome": "done", "rounds": []}
    entry |= {"first_text_ms": 400.0, "segments_ms": None, "tools": []}
    await redis.xadd(trace_key("c1"), {"j": orjson.dumps(entry)})
    found = await shown.get("conversations/c1")
    assert [(each["kind"], each["text"], each["heard"], each["unheard"], each["at"]) for each in found["items"]] == [
        ("user", "Is there a *pool*?", "Is there a *pool*?", "", None),
        ("assistant", "Yes, on the roof.", "Yes, on the roof.", "", None),
    ]
    assert (found["channel"], found["outcome"], found["live"], found["trace"]) == ("chat", "completed", False, [entry])
    assert (found["agents"], found["slowest_ms"], found["person_masked"]) == (["default"], 400, "ada")
    assert await shown.listed(channel="chat") == ["c1"] and await shown.listed(channel="voice") == []
    async with chats.turn("c1", wait=1):
        assert (await shown.get("conversations/c1"))["live"] is True
    assert (await shown.get("conversations/c1"))["live"] is False


async def test_lists(masked: Operator) -> None:
    """By agent, person, slowness; page by page; newest first."""
    calls = []
    for number in (ANN, ANN, "+15557654321"):
        async with Caller(masked.line.url, pace=FAST, from_=number) as call:
            masked.line.model.script(Reply("Hello."))
            await call.greeting_played()
            await call.say("Hi")
            await call.reply()
            await call.hang_up()
        calls.append(await masked.ended(call))
    first, second, other = calls
    assert await masked.listed() == [other["id"], second["id"], first["id"]]
    assert first["person"] == second["person"] != other["person"]
    assert await masked.listed(person=first["person"]) == [second["id"], first["id"]]
    assert await masked.listed(person="0" * 24) == await masked.listed(agent="nobody") == []
    slowest = max(call["slowest_ms"] for call in calls)
    assert await masked.listed(slower_than_ms=str(slowest)) == []
    assert len(await masked.listed(slower_than_ms="0.5")) == 3
    page = await masked.get("conversations", limit="2")
    rest = await masked.get("conversations", limit="2", after=page["after"])
    for at, found in ((0, []), (999_999_999_999_999, await masked.listed())):
        made_up = base64.urlsafe_b64encode(f"{at}:CA".encode()).decode()
        assert await masked.listed(after=made_up) == found
    assert [each["id"] for each in page["conversations"] + rest["conversations"]] == await masked.listed()
    assert rest["after"] is None
    person = await masked.get(f"people/{first['person']}", limit="1")
    assert [each["id"] for each in person["conversations"]] == [second["id"]]
    assert person["after"] is not None
    today = (await masked.get("agents/default"))["today"]
    assert (today["calls"], today["turns"], today["outcomes"]) == (3, 3, {"completed": 3})
    assert today["slowest_ms"]["p50"] == sorted(call["slowest_ms"] for call in calls)[1]


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("conversations", {"limit": "0"}, 400, "bad_limit"),
        ("conversations", {"limit": "201"}, 400, "bad_limit"),
        ("conversations", {"limit": "many"}, 400, "bad_limit"),
        ("conversations", {"after": "x"}, 400, "bad_cursor"),
        ("conversations", {"after": "bm8gY3Vyc29y"}, 400, "bad_cursor"),
        ("conversations", {"after": "\ud7ff\x00"}, 400, "bad_cursor"),
        ("conversations", {"slower_than_ms": "nan"}, 400, "bad_slower_than_ms"),
        ("conversations", {"slower_than_ms": "-1"}, 400, "bad_slower_than_ms"),
        ("conversations/CA1", {}, 404, "no_such_conversation"),
        ("conversations/%00x", {}, 404, "no_such_conversation"),
        ("agents/nobody", {}, 404, "no_such_agent"),
        ("people/abc", {}, 404, "no_such_person"),
        ("people/" + "0" * 24, {}, 404, "no_such_person"),
    ],
)
async def test_what_cannot_be_shown(masked: Operator, path: str, query: dict[str, str], status: int, code: str) -> None:
    """A JSON error that says why."""
    found = await masked.ask(path, **query)
    assert (found[0], found[1]["code"]) == (status, code)
    assert found[1]["message"]


async def test_without_redis(tmp_path: Path) -> None:
    """The call goes on, the dashboard says that it cannot tell, and what is not kept of the trace is counted."""
    with fragile_redis() as server:
        async with relay(server.url, tmp_path) as operator:
            server.stop()
            async with Caller(operator.line.url, pace=FAST) as call:
                operator.line.model.script(Reply("Hello."))
                await call.greeting_played()
                await call.say("Hi")
                assert await call.reply() == "Hello."
            for path in ("conversations", "conversations/CA1", "agents/default", "people/" + "0" * 24):
                status, problem = await operator.ask(path)
                assert (status, problem["code"]) == (503, "store_away")
            async with asyncio.timeout(20):
                while "relay_trace_dropped_total 0.0" in await metrics(operator):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            server.start()


async def metrics(operator: Operator) -> str:
    async with operator.http.get(f"{operator.line.url}/metrics") as response:
        return await response.text()


async def test_who_is_admitted(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Who brings DASHBOARD_TOKEN."""
    async with relay(redis_url, tmp_path, {"DASHBOARD_TOKEN": "open sesame"}, "open sesame") as operator:
        assert await operator.listed() == []
        stranger = Operator(operator.line, operator.http, "guess")
        for path in ("conversations", "conversations/CA1", "agents/default", "people/" + "0" * 24):
            status, problem = await stranger.ask(path)
            assert (status, problem["code"]) == (401, "unauthorized")


async def test_nothing_is_kept_that_nobody_may_look_at(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """In public and without DASHBOARD_TOKEN the routes are closed, and calls leave no trace."""
    environ = {"PUBLIC_URL": "https://relay.example", "TWILIO_AUTH_TOKEN": "t" * 32}
    async with relay(redis_url, tmp_path, environ) as operator:
        assert await operator.ask("conversations") == (404, None)
        async with Caller(operator.line.url, pace=FAST, token="t" * 32, public_url="https://relay.example") as call:
            await call.greeting_played()
            await call.hang_up()
        await operator.line.history(call.record.call_sid)
    assert [key for key in await redis.keys("*") if b":trace" in key or b"person_hash" in key] == []


@pytest.mark.parametrize("processes", PROCESSES)
async def test_a_call_taken_up_again(redis: Redis, redis_url: str, tmp_path: Path, processes: str) -> None:
    """Both sessions are in one trace, whichever process had them; whoever watches hears of both."""
    async with (
        redis.pubsub() as watcher,
        open_house(redis_url, tmp_path, AGENT, processes) as house,
        aiohttp.ClientSession() as http,
    ):
        await watcher.subscribe(CHANNEL)
        gate = house.workshop.hold("table")
        house.first.model.script(Reply(tools=[book("table")]))
        async with Caller(house.front.url, pace=FAST, from_=ANN) as call:
            await call.greeting_played()
            await call.say("Book it")
            await asyncio.wait_for(gate.reached.wait(), 20)
            await house.first.history(call.record.call_sid, until=lambda items: len(items) == 3)
            house.then.model.script(Reply("Let me check that."))
            await house.drop(call)
            await call.until(lambda: heard(call)[-1] == "Let me check that.")
            await call.hang_up()
        found = await Operator(house.then, http).ended(call, sessions=2)
        gate.set()
        events: list[dict[str, Any]] = []
        async with asyncio.timeout(20):
            while not events or events[-1].get("reason") != "completed":
                message = await watcher.get_message(ignore_subscribe_messages=True, timeout=1)
                if message is not None:
                    events.append(orjson.loads(message["data"]))
    sessions = [entry for entry in found["trace"] if entry["kind"] == "session"]
    ends = [entry["reason"] for entry in found["trace"] if entry["kind"] == "ended"]
    assert [entry["resumed"] for entry in sessions] == [False, True]
    assert [entry["session"] for entry in sessions] == call.record.session_ids
    assert ends == ["dropped", "completed"]
    first, second = turns_of(found)
    assert [(tool["name"], tool["outcome"], tool["ms"]) for tool in first["tools"]] == [("book", "running", None)]
    assert (first["outcome"], second["outcome"]) == ("interrupted", "done")
    # Another process may have taken the call before the first one's last note of it was written.
    assert found["turns"] in ((2,) if processes == PROCESSES[0] else (1, 2))
    names = [(event["event"], event.get("resumed", event.get("reason", event.get("outcome")))) for event in events]
    assert names == [
        ("call_started", False),
        ("turn", "interrupted"),
        ("call_ended", "dropped"),
        ("call_started", True),
        ("turn", "done"),
        ("call_ended", "completed"),
    ]
    assert {event["id"] for event in events} == {call.record.call_sid}
    workers = [event["worker"] for event in events]
    assert found["worker"] == workers[-1]
    assert len(set(workers)) == (1 if processes == PROCESSES[0] else 2)


async def test_a_request_that_was_raced(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """The trace tells that another one was made for being late."""
    async with relay(redis_url, tmp_path, {"FIRST_TOKEN_DEADLINE": "0.3"}) as operator:
        operator.line.model.script(Reply("Too late.", gate=Gate()), Reply("Here I am."))
        async with Caller(operator.line.url, pace=FAST) as call:
            await call.greeting_played()
            await call.say("Hello")
            assert await call.reply() == "Here I am."
            await call.hang_up()
        ((asked,),) = [turn["rounds"] for turn in turns_of(await operator.ended(call))]
    assert (asked["hedged"], asked["further"][0], asked["outcome"]) == (True, "late", "stop")
