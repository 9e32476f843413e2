"""The application as wired: what a peer may do to a call, what works without Redis, what is measured, how it leaves."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from config.settings import load_settings
from handlers.app import build_app
from handlers.modelling import Endpoint, endpoint_of, make_model
from handlers.routes import provided
from phone.caller import FAST, Caller
from phone.model import Fault, Gate, Reply, ToolUse
from relay.errors import ConfigError
from relay.frames import AgentSpeaking, Prompt, Setup, Text, TokensPlayed, dump, parse_outgoing
from relay.items import AssistantItem, UserItem
from relay.telemetry import SEGMENTS, Telemetry
from tests.fakes.deaf import Deaf
from tests.running import Running, running, write_agent

NOWHERE = "unix:///nonexistent/redis.sock"
CALL = "CA" + "3" * 32
AGENT = """
title = "Test"
greeting = "Hello from the test."
tools = ["save_name", "end_call"]

[relay]
dtmfDetection = "true"
"""


@pytest.fixture
async def relay(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    agents, environ = write_agent(tmp_path / "agents", AGENT), {"REPLY_MAX_CHARS": "10000000"}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ) as app:
        yield app


async def measured(relay: Running) -> Mapping[str, float]:
    """Every sample of /metrics, by its name and labels as they are written there."""
    async with aiohttp.ClientSession() as http, http.get(f"{relay.url}/metrics") as answer:
        assert answer.status == 200
        text = await answer.text()
    return dict(samples(text))


def samples(text: str) -> Iterator[tuple[str, float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            yield sample.name + (f"{{{labels}}}" if labels else ""), sample.value


async def until(relay: Running, sample: str, value: float) -> Mapping[str, float]:
    """What is measured once this sample has this value: a session ends after its peer has seen it end."""
    async with asyncio.timeout(20):
        while True:
            found = await measured(relay)
            if found.get(sample) == value:
                return found
            await asyncio.sleep(0.01)


async def first_frame(relay: Running, call_sid: str = CALL) -> str:
    """The ``setup`` of a call whose webhook was answered, as raw text for a peer of the test's own."""
    form = {"CallSid": call_sid, "From": "+15555550100", "To": "+15555550199", "AccountSid": "AC" + "0" * 32}
    async with aiohttp.ClientSession() as http, http.post(f"{relay.url}/voice/incoming", data=form) as answer:
        found = re.search(r'name="ticket" value="([^"]+)"', await answer.text())
    assert found is not None
    return dump(Setup("VX" + call_sid[2:], call_sid, custom_parameters={"ticket": found[1]}))


def ws(relay: Running) -> str:
    return relay.url.replace("http:", "ws:") + "/voice/relay"


@asynccontextmanager
async def plain_socket(relay: Running, first: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with aiohttp.ClientSession() as http, http.ws_connect(ws(relay), max_msg_size=0) as socket:
        await socket.send_str(first)
        yield socket


async def answer(socket: aiohttp.ClientWebSocketResponse) -> str:
    """The words of one talk cycle."""
    words = ""
    while True:
        frame = parse_outgoing(await socket.receive_str(timeout=5))
        assert isinstance(frame, Text)
        words += frame.token
        if frame.last:
            return words


# -- what a peer may do


async def test_frames_that_cannot_be_used_are_counted_and_ignored(relay: Running) -> None:
    """After ``setup`` a malformed, unknown or repeated frame is counted by its kind, and the call goes on."""
    relay.model.script(Reply("Still here."))
    async with Caller(relay.url, pace=FAST) as call:
        await call.greeting_played()
        for raw in ("not JSON", '{"type":"prompt","last":true}', '{"type":"dtmf","digit":"99"}', "[1]", "{}"):
            await call.send(raw)
        await call.send('{"type":"configUpdated","status":"ok"}')
        await call.send('{"type":"info","name":"roundTripDelayMs","value":"148"}')
        await call.send(Setup(call.session.session_id, call.record.call_sid))
        await call.say("Are you there?")
        assert await call.reply() == "Still here."
    found = await until(relay, "relay_calls_active", 0)
    rejected = {name: value for name, value in found.items() if name.startswith("relay_frames_rejected_total")}
    assert rejected == {
        "relay_frames_rejected_total{reason=malformed}": 5,
        "relay_frames_rejected_total{reason=unknown}": 1,
        "relay_frames_rejected_total{reason=repeated_setup}": 1,
    }
    assert found["relay_calls_ended_total{reason=completed}"] == 1


async def test_a_binary_frame_ends_the_session(relay: Running) -> None:
    """Binary closes with 1003; to Twilio that is a lost session, which its callback takes up again."""
    async with Caller(relay.url, pace=FAST) as call:
        await call.greeting_played()
        await call.send(b"\x00\x01")
        await call.until(lambda: len(call.record.session_ids) == 2)
        assert call.record.close_codes == [1003]
    assert (await measured(relay))["relay_frames_rejected_total{reason=binary}"] == 1


async def test_a_flood_is_dropped(relay: Running) -> None:
    """Of more than 200 frames in a second the rest is dropped and counted; the call hears again in the next."""
    relay.model.behaviour = lambda ask: Reply("Calm again.")
    async with plain_socket(relay, await first_frame(relay)) as socket:
        for _ in range(350):
            await socket.send_str(dump(AgentSpeaking(False)))
        found = await until(relay, "relay_frames_rejected_total{reason=flood}", 150)
        assert found["relay_calls_active"] == 1
        asked = 0
        while not relay.model.asked:
            await socket.send_str(dump(Prompt("Hello?")))
            asked += 1
            await asyncio.sleep(0.05)
        assert await answer(socket) == "Calm again."
    assert 0 < asked < 100


async def test_a_peer_that_floods_is_left(relay: Running) -> None:
    """With more than a thousand frames over the rate within a second the call ends at once, and others go on."""
    relay.model.behaviour = lambda ask: Reply("Still here.")
    async with Caller(relay.url, pace=FAST) as other, plain_socket(relay, await first_frame(relay)) as socket:
        await other.greeting_played()
        with pytest.raises(ConnectionError):
            for _ in range(100_000):
                await socket.send_str(dump(AgentSpeaking(False)))
        found = await until(relay, "relay_calls_ended_total{reason=flood}", 1)
        assert 1000 <= found["relay_frames_rejected_total{reason=flood}"] < 3000
        await other.say("Are you there?")
        assert await other.reply() == "Still here."


async def test_prompts_beyond_what_anybody_says_are_dropped(relay: Running) -> None:
    """Each may cost a request to the model: of more than 20 in a second the rest is counted and not answered."""
    relay.model.behaviour = lambda ask: Reply("Yes.")
    async with plain_socket(relay, await first_frame(relay)) as socket:
        for _ in range(60):
            await socket.send_str(dump(Prompt("Hello?")))
        await until(relay, "relay_frames_rejected_total{reason=flood}", 40)
        assert await answer(socket) == "Yes."
    assert len(relay.model.asked) <= 20


async def test_a_peer_that_does_not_read_is_closed(relay: Running) -> None:
    """With more than 256 KiB unread the call ends: its model is stopped and the peer, should it read again, finds 1013
    behind what was written."""
    relay.model.script(Reply(["word " * 13_000] * 70, gate=Gate(), gate_at=70))
    peer = await Deaf.on(ws(relay), await first_frame(relay))
    peer.say(dump(Prompt("Tell me everything there is. " * 6)))
    async with asyncio.timeout(10):
        request = await relay.model.received(1)
        await request.ended.wait()
        assert request.closed_early
        peer.listen()
        await peer.lost.wait()
    assert peer.heard.endswith(b"\x88\x06" + (1013).to_bytes(2) + b"slow")
    await until(relay, "relay_calls_ended_total{reason=slow}", 1)


async def test_a_peer_that_never_reads_again_is_cut_off(relay: Running) -> None:
    """Nobody waits for it: the call is over and its connection gone although nothing was read."""
    relay.model.script(Reply(["word " * 13_000] * 70, gate=Gate(), gate_at=70))
    peer = await Deaf.on(ws(relay), await first_frame(relay))
    peer.say(dump(Prompt("Tell me everything there is. " * 6)))
    found = await until(relay, "relay_calls_ended_total{reason=slow}", 1)
    assert found["relay_calls_active"] == 0
    peer.listen()
    await asyncio.wait_for(peer.lost.wait(), 20)
    assert b"\x88\x06" + (1013).to_bytes(2) not in peer.heard


async def test_the_newer_of_two_sockets_has_the_call(relay: Running) -> None:
    """A second socket of a session takes the call over, with what was said; the first is closed."""
    relay.model.script(Reply("One."), Reply("Two."))
    first = await first_frame(relay)
    async with plain_socket(relay, first) as old:
        await old.send_str(dump(TokensPlayed("Hello from the test.")))
        await old.send_str(dump(Prompt("Say one.")))
        assert await answer(old) == "One."
        await old.send_str(dump(TokensPlayed("One.")))
        async with plain_socket(relay, first) as new:
            assert (await old.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
            assert (old.close_code, (await measured(relay))["relay_calls_active"]) == (1000, 1)
            await new.send_str(dump(Prompt("Say two.")))
            assert await answer(new) == "Two."
    request = relay.model.asked[-1]
    assert request.ask is not None
    said = [entry.text for entry in request.ask.entries if entry.kind in ("user", "assistant")]
    assert said[0] == "Hello from the test."
    assert [text for text in said if text.startswith("Say")] == ["Say one.", "Say two."]
    found = await until(relay, "relay_calls_active", 0)
    assert found["relay_calls_ended_total{reason=fenced}"] == 1


async def test_a_hang_up_stops_the_model(relay: Running) -> None:
    """When the caller hangs up the request in progress is closed upstream."""
    gate = Gate()
    relay.model.script(Reply(["One ", "two ", "three."], gate=gate, gate_at=1))
    async with Caller(relay.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("Count.")
        await gate.reached.wait()
        await call.hang_up()
    request = relay.model.asked[0]
    await asyncio.wait_for(request.ended.wait(), 20)
    assert request.closed_early


# -- without Redis, without a model


async def test_calls_are_taken_while_redis_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Redis a new call is answered, talks and uses a tool; readiness says degraded, with 200."""
    monkeypatch.setattr("handlers.app.FLUSH_DEADLINE", 0.1)
    agents = write_agent(tmp_path / "agents", AGENT)
    async with running(NOWHERE, tmp_path / "data", agents=agents) as relay:
        relay.model.script(
            Reply("Hello."),
            Reply(tools=[ToolUse("save_name", '{"first_name": "Ada", "last_name": "Byron"}')]),
            Reply("Not saved."),
        )
        async with Caller(relay.url, pace=FAST) as call:
            await call.greeting_played()
            await call.say("Hello?")
            assert await call.reply() == "Hello."
            await call.say("I am Ada.")
            assert await call.reply() == "Not saved."
        async with aiohttp.ClientSession() as http, http.get(f"{relay.url}/health/ready") as answer:
            assert answer.status == 200
            assert await answer.json() == {"status": "degraded", "redis": "away", "model": "ok"}


async def test_a_start_without_model_or_redis(tmp_path: Path) -> None:
    """An endpoint nobody listens at and no Redis do not stop the start; readiness names both and answers 200."""
    settings = load_settings(None, {"DATA_DIR": str(tmp_path), "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"})
    endpoint = endpoint_of(settings)
    assert endpoint is not None
    app = await build_app(settings, redis_url=NOWHERE, endpoint=endpoint)
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/health/ready")
        assert answer.status == 200
        assert await answer.json() == {"status": "degraded", "redis": "away", "model": "away"}
        live = await client.get("/health/live")
        assert (await live.json())["version"]


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({}, None),
        ({"OPENAI_API_KEY": "sk-1"}, Endpoint("", "sk-1")),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"}, Endpoint("http://127.0.0.1:11434/v1", "")),
    ],
    ids=["nothing: a rehearsal", "a key", "a base URL"],
)
def test_which_endpoint(variables: dict[str, str], endpoint: Endpoint | None) -> None:
    """A key or a base URL names the endpoint; with neither there is to be a rehearsal."""
    assert endpoint_of(load_settings(None, variables)) == endpoint


async def test_everything_wrong_in_the_agents_is_told(tmp_path: Path) -> None:
    """A tool nobody has and a default agent nobody wrote stop the start together."""
    agents = write_agent(tmp_path / "agents", AGENT.replace("save_name", "make_coffee"), name="barista")
    settings = load_settings(None, {"AGENTS_DIR": str(agents), "DATA_DIR": str(tmp_path / "data")})
    with pytest.raises(ConfigError) as wrong:
        await build_app(settings, redis_url=NOWHERE, endpoint=Endpoint("http://127.0.0.1:9/v1"))
    tool, default = wrong.value.problems
    assert "make_coffee" in tool and "agent.toml" in tool
    assert "DEFAULT_AGENT" in default


async def test_websocket_needs_the_responses_api(tmp_path: Path) -> None:
    """With Chat Completions the start is refused by a sentence that names both settings; with Responses it is not."""
    values = {"AGENTS_DIR": str(write_agent(tmp_path / "agents")), "OPENAI_TRANSPORT": "websocket"}
    nobody = Endpoint("http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match=r"OPENAI_TRANSPORT.*OPENAI_API=responses"):
        await build_app(load_settings(None, values), redis_url=NOWHERE, endpoint=nobody)
    model = make_model(load_settings(None, {**values, "OPENAI_API": "responses"}), nobody, Telemetry())
    await model.close()


# -- what is measured

NAMES = {
    "relay_turn_segment_seconds",
    "relay_first_text_seconds",
    "relay_interrupt_seconds",
    "relay_interrupts_total",
    "relay_ghost_frames_total",
    "relay_calls_active",
    "relay_calls_ended_total",
    "relay_tool_seconds",
    "relay_frames_rejected_total",
    "relay_tokens_total",
    "relay_event_loop_lag_seconds",
}


async def test_a_call_is_measured(relay: Running) -> None:
    """A call of three turns, one with a tool and one cut off, leaves every metric with counts that fit it."""
    relay.model.script(
        Reply("The sky is blue.", usage=(100, 40, 7)),
        Reply(tools=[ToolUse("save_name", '{"first_name": "Ada", "last_name": "Byron"}')], usage=(120, 100, 9)),
        Reply("Saved.", usage=(150, 120, 3)),
        Reply(["I ", "could ", "go ", "on ", "and ", "on."], usage=(160, 150, 8)),
    )
    async with Caller(relay.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("What colour is the sky?")
        assert await call.reply() == "The sky is blue."
        await call.say("I am Ada.")
        assert await call.reply() == "Saved."
        cut = call.interrupt_after(2)
        await call.say("Go on.")
        assert await cut
        assert (await measured(relay))["relay_calls_active"] == 1
    found = await until(relay, "relay_calls_active", 0)

    for name in NAMES - {"relay_frames_rejected_total"}:
        assert any(sample.startswith(name) for sample in found), name
    assert found["relay_calls_ended_total{reason=completed}"] == 1
    assert found["relay_interrupts_total"] == found["relay_interrupt_seconds_count"] == 1
    assert found["relay_ghost_frames_total"] == 0
    assert found["relay_tool_seconds_count{outcome=ok,tool=save_name}"] == 1
    assert found["relay_first_text_seconds_count{channel=voice}"] == 3
    assert {kind: found[f"relay_tokens_total{{kind={kind}}}"] for kind in ("input", "cached", "output")} == {
        "input": 530,
        "cached": 410,
        "output": 27,
    }
    async with asyncio.timeout(20):
        while not (await measured(relay)).get("relay_event_loop_lag_seconds_count"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_segments_of_a_turn_sum_to_its_first_text(relay: Running) -> None:
    """The contiguous segments add up to the time to the first text, each counted once."""
    async with Caller(relay.url, pace=FAST) as call:
        await call.greeting_played()
        for number in range(3):
            relay.model.script(Reply(["Slow", "ly. ", "Done."], first=0.03, pace=0.03))
            await call.say(f"Turn {number}.")
            await call.reply()
    found = await until(relay, "relay_calls_active", 0)
    counts = [found[f"relay_turn_segment_seconds_count{{segment={name}}}"] for name in SEGMENTS]
    assert counts == [3] * len(SEGMENTS)
    seconds = {name: found[f"relay_turn_segment_seconds_sum{{segment={name}}}"] for name in SEGMENTS}
    assert sum(seconds.values()) == pytest.approx(found["relay_first_text_seconds_sum{channel=voice}"], abs=1e-9)
    assert seconds["model"] > 0.06
    assert seconds["holdback"] > 0.03


async def test_a_turn_that_failed_does_not_count_for_the_next(relay: Running) -> None:
    """The time to the first text is a turn's own: what a failed turn took is not added to a key press after it."""
    relay.model.script(Reply(first=0.5, fault=Fault("status", at=-1, status=400), late_headers=True), Reply("Better."))
    async with Caller(relay.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("One.")
        assert await call.reply()
        await call.press("1#")
        await call.until(lambda: call.record.turn.heard == "Better.")
    found = await until(relay, "relay_calls_active", 0)
    assert found["relay_first_text_seconds_count{channel=voice}"] == 1
    assert found["relay_first_text_seconds_sum{channel=voice}"] < 0.5


async def test_every_metric_has_its_name(relay: Running) -> None:
    """Before the first call /metrics lists all names, with their help."""
    async with aiohttp.ClientSession() as http, http.get(f"{relay.url}/metrics") as answer:
        text = await answer.text()
        assert answer.content_type == "text/plain"
    assert set(re.findall(r"^# HELP (\w+) \w", text, re.MULTILINE)) >= NAMES


async def test_the_providers_model_is_asked_rarely(relay: Running) -> None:
    """However often readiness is probed, the model's endpoint is not asked each time."""
    before = relay.model.total
    async with aiohttp.ClientSession() as http:
        for _ in range(20):
            async with http.get(f"{relay.url}/health/ready") as answer:
                assert (await answer.json())["model"] == "ok"
    assert relay.model.total == before


# -- leaving


async def test_leaving_in_the_middle_of_a_call(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """A process that leaves ends its calls and writes what was heard before it goes; no task is left behind."""
    tasks = asyncio.all_tasks()
    gate = Gate()
    agents = write_agent(tmp_path / "agents", AGENT)
    async with running(redis_url, tmp_path / "data", agents=agents) as relay:
        relay.model.script(Reply(["It was a dark night. ", "And ", "then "], gate=gate, gate_at=2))
        call = Caller(relay.url, pace=FAST)
        await call.__aenter__()
        await call.greeting_played()
        await call.say("Tell me a story.")
        await gate.reached.wait()
        await call.until(lambda: call.record.turn.heard == "It was a dark night.")
    await call._close()
    raw = await redis.zrange(f"conversation:{{{call.record.call_sid}}}:items", 0, -1)
    assert len(raw) == 3
    async with running(redis_url, tmp_path / "data", agents=agents) as again:
        greeting, user, reply = await again.history(call.record.call_sid)
    assert isinstance(greeting, AssistantItem)
    assert user == UserItem("Tell me a story.", "en-US")
    assert isinstance(reply, AssistantItem)
    assert (reply.text.strip(), reply.status) == ("It was a dark night.", "interrupted")
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks


async def test_a_failed_turn_is_counted_and_the_call_ends_well(relay: Running) -> None:
    """A model that fails costs an apology and a count, not the call."""
    relay.model.script(Reply(fault=Fault("status", at=-1, status=400)), Reply("Better."))
    async with Caller(relay.url, pace=FAST) as call:
        await call.greeting_played()
        await call.say("One.")
        assert await call.reply()
        await call.say("Two.")
        assert await call.reply() == "Better."
    found = await until(relay, "relay_calls_active", 0)
    assert found["relay_turn_failures_total{code=model_rejected}"] == 1
    assert found["relay_calls_ended_total{reason=completed}"] == 1


def test_what_the_settings_provide_is_told() -> None:
    """Each way of sending and handing over is on, or names the setting that is missing."""
    nothing = {
        "text messages": "off: TWILIO_ACCOUNT_SID",
        "mail": "off: SMTP_URL",
        "handing over": "nobody: TRANSFER_TO",
    }
    assert dict(provided(load_settings(None, {}))) == {**nothing, "reports": "off: REPORT_URL"}
    values = {
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "t",
        "SMTP_URL": "smtp://localhost",
        "MAIL_FROM": "a@example.com",
        "TRANSFER_TO": "+15550100200",
        "REPORT_URL": "https://crm.example.com/calls",
    }
    everything = dict(provided(load_settings(None, values)))
    assert everything == {"text messages": "on", "mail": "on", "handing over": "on", "reports": "off: REPORT_SECRET"}
    assert dict(provided(load_settings(None, {**values, "TRANSFER_STUDIO_FLOW": "FW" + "0" * 32})))["handing over"] == (
        "Studio flow"
    )
