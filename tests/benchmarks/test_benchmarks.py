"""The benchmarks at a tiny size, over real processes and sockets: that they run and count, not how fast."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import orjson
import pytest
from click.testing import CliRunner
from redis.asyncio import Redis

from benchmarks import figures, latency
from benchmarks.__main__ import main
from benchmarks.comparison import Load
from benchmarks.debate import Plan as Debates
from benchmarks.debate import debate
from benchmarks.distance import distance
from benchmarks.endpoint import Script
from benchmarks.faults import Heard, faults
from benchmarks.faults import Plan as Faults
from benchmarks.idle import idle
from benchmarks.interrupts import Plan, Tally, _Caller, interrupts
from benchmarks.noisy import Plan as Noise
from benchmarks.noisy import noisy
from benchmarks.processes import BenchError, Cores, Endpoint, child
from benchmarks.speculation import Plan as Speaking
from benchmarks.speculation import speculation
from benchmarks.systems import SYSTEMS, ours, request_parts, ring
from benchmarks.telemetry import telemetry
from benchmarks.transport import transport
from benchmarks.warm import FIRST, QUIET, TENTH, UNTOLD, warm
from benchmarks.warm import Plan as Warm
from phone.bench.words import asked, word
from phone.endpoint.dialog import Entry
from phone.load import Answer
from relay.frames import Text
from relay.store.embedded import EmbeddedRedis

UNPINNED = Cores(None, None, "a test pins nothing")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Results go to a folder of the test's, nothing is pinned, and nobody waits long."""
    monkeypatch.setattr(figures, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(Cores, "choose", lambda: UNPINNED)
    monkeypatch.setattr(latency, "PAUSE", (0.0, 0.01))
    monkeypatch.setattr("benchmarks.idle.QUIET_SECONDS", 0.05)
    monkeypatch.setattr("benchmarks.faults.PAUSE", (0.0, 0.01))
    for name in ("PICKED_UP", "SPEECH", "RECOGNISED", "BREATH"):
        monkeypatch.setattr(f"benchmarks.warm.{name}", 0.02)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with Endpoint.start(None) as endpoint:
        yield endpoint


async def test_latency_compares_what_asked_the_model_for_the_same(tmp_path: Path) -> None:
    """Ours and the floor send the same history and tools, byte for byte as long, and every turn is counted."""
    await latency.latency(Load(calls=2, turns=2, runs=1, first="0.01", pace="0.001", tokens=5), ["ours", "floor"])
    saved = orjson.loads((tmp_path / "results" / "latency.json").read_bytes())
    ours, floor = saved["runs"]
    assert (ours["system"], floor["system"]) == ("ours", "floor")
    for run in (ours, floor):
        assert (run["turns"], run["lost"], run["tokens"]) == (4, 0, 20)
        assert run["history_items"] == [21, 23]
        assert run["tools"] == [8, 8]
        assert run["added_to_first_word_ms"]["p50"] > 0
    assert ours["request_bytes_median"] == floor["request_bytes_median"]
    assert set(ours["segments_ms"]) == {"queue", "history", "request", "tools", "model", "holdback", "send"}
    assert {"first_token_p50", "first_word_p50", "cpu"} <= set(saved["ratios"]["floor"])


async def test_transports_are_compared(tmp_path: Path) -> None:
    """Both are asked for the same; all of one goes by HTTP, all of the other by few websockets."""
    await transport(Load(turns=2, runs=1, first="0.01", pace="0.001", tokens=5), [3])
    saved = orjson.loads((tmp_path / "results" / "transport.json").read_bytes())
    http, websocket = saved["runs"]
    assert (http["system"], http["requests_by_websocket"]) == ("http", 0)
    assert (websocket["system"], websocket["requests_by_websocket"]) == ("websocket", websocket["turns"])
    assert websocket["connections"] <= 2
    assert http["history_items"] == websocket["history_items"]
    assert http["turns"] == websocket["turns"] == 6
    assert set(saved["ratios"]["3"]) >= {"first_word_p50", "first_word_p99", "cpu"}


async def test_what_telemetry_costs(tmp_path: Path) -> None:
    """The relay with and without it has the same calls at the same time; only the one with it leaves traces."""
    await telemetry(Load(calls=2, turns=2, runs=1, first="0.01", pace="0.001", tokens=5))
    saved = orjson.loads((tmp_path / "results" / "telemetry.json").read_bytes())
    assert [(run["system"], run["turns"], run["lost"], run["tokens"]) for run in saved["runs"]] == [
        ("with", 4, 0, 20),
        ("without", 4, 0, 20),
    ]
    assert set(saved["cpu_us_a_token"]) == {"with", "without"}
    assert len(saved["more_run_by_run"]) == 1


async def test_a_relay_without_telemetry_leaves_no_trace(endpoint: Endpoint, tmp_path: Path) -> None:
    """Otherwise nothing would be compared."""
    await endpoint.script(Script(whole=True))
    async with ours(endpoint.url, None, tmp_path, variables={"BENCH_TELEMETRY": "off"}) as system:
        call = await ring(system)
        await call.prompt("Hello").ended(within=10)
        await call.close()
    store = EmbeddedRedis.start(tmp_path / "data")
    async with Redis.from_url(store.url) as redis:
        assert len(await redis.keys("*:items")) == 1
        assert await redis.keys("*:trace") == []
    store.close()


async def test_interrupts_hear_no_ghost(tmp_path: Path) -> None:
    """A few random interrupts go through, and none is followed by words of an old turn."""
    plan = Plan(count=12, calls=3, script=Script("0.002", "0.002", tokens=20, numbered=True))
    await interrupts(plan)
    saved = orjson.loads((tmp_path / "results" / "interrupts.json").read_bytes())
    assert saved["interrupts"] == 12
    assert (saved["ghosts"], saved["calls_lost"], saved["turns_without_a_word"]) == (0, 0, 0)


async def test_a_ghost_is_heard() -> None:
    """A word of a turn that is over is counted; a word of the turn in progress is not."""
    tally = Tally()
    caller = _Caller(system=None, tally=tally, rng=None, markers=range(1, 9))  # type: ignore[arg-type]
    caller._turn = 6
    caller._forbid(5)
    caller._hear(Text(" " + word(6, 0)), 0.0)
    assert not tally.ghosts
    caller._hear(Text(f" {word(6, 1)} {word(5, 9)}"), 0.0)
    assert len(tally.ghosts) == 1


async def test_faults_are_met(tmp_path: Path) -> None:
    """Many replies break off or fail; the caller hears every word once, and the further requests are counted."""
    script = Script("0.002", "0.001", tokens=12, numbered=True, faults={"cut": 0.4, "errors": 0.2})
    await faults(Faults(turns=12, calls=3, varying="0.002", script=script))
    saved = orjson.loads((tmp_path / "results" / "faults.json").read_bytes())
    for run in (saved["with_faults"], saved["without_faults"]):
        assert run["turns"] == 12 == run["whole"] + run["sorry"]
        assert (run["twice"], run["left_out"], run["strange"], run["half"], run["silent"], run["lost"]) == (0,) * 6
    assert saved["with_faults"]["requests"] > 12
    assert saved["with_faults"]["faults"].keys() <= {"cut", "500"}
    assert saved["without_faults"]["whole"] == saved["without_faults"]["requests"] == 12
    assert saved["further_a_turn_without_faults"] == 0


async def test_noise_is_compared_with_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who talk are answered with and without it, and what the relay takes of the core is told of both."""
    monkeypatch.setattr("benchmarks.noisy.PAUSE", (0.05, 0.1))
    await noisy(Noise(calls=2, seconds=0.5, kinds=("flood",), script=Script("0.002", "0.001", tokens=3)))
    saved = orjson.loads((tmp_path / "results" / "noisy.json").read_bytes())
    assert saved["quiet_ms"]["flood"]["p50"] > 0
    assert saved["noisy_ms"]["flood"]["p50"] > 0
    assert len(saved["core_busy"]["flood"]) == len(saved["no_core"]["flood"]) == 2
    assert saved["times"]["flood"].keys() == {"p50", "p99"}


async def test_what_the_debate_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns, first turns whose topic is given or read, and the endpoint itself, each by the model's own record."""
    monkeypatch.setattr("benchmarks.debate.PAUSE", (0.0, 0.01))
    await debate(Debates(debates=2, turns=2, first="0.002", pace="0.001", tokens=5, direct=1))
    saved = orjson.loads((tmp_path / "results" / "debate.json").read_bytes())["of"]
    assert {name: each["turns"] for name, each in saved.items()} == {
        "turn": 4,
        "topic given": 2,
        "topic read": 2,
        "endpoint itself": 2,
    }
    assert all(each["failed"] == {} and each["added_ms"]["p50"] > 0 for each in saved.values())
    assert saved["turn"]["first_words_added_ms"]["p50"] > 0 and saved["topic read"]["first_words_added_ms"] == {}


SORRY = "I am sorry."


@pytest.mark.parametrize(
    ("text", "open_", "found"),
    [
        ("t7w0 t7w1 t7w2", False, {"whole": 1}),
        ("t7w0 t7w1 t7w1 t7w2", False, {"twice": 1}),
        ("t7w0 t7w1 t7w0 t7w1 t7w2", False, {"twice": 2}),
        ("t7w0 t7w2", False, {"left_out": 1}),
        ("t7w0 t7w1", False, {"half": 1}),
        ("t7w0 t7w1" + SORRY, False, {"sorry": 1}),
        (SORRY, False, {"sorry": 1}),
        ("t7w0 t6w1 t7w1 t7w2", False, {"whole": 1, "strange": 1}),
        ("t7w0 t7w2 t7w1", False, {}),  # none of these, but not whole either, and listed as wrong
        ("t7w0 t7w1 t7w2", True, {"whole": 1, "silent": 1}),
        ("", False, {"silent": 1}),
    ],
)
async def test_what_was_heard_is_compared_word_by_word(text: str, open_: bool, found: dict[str, int]) -> None:
    """Words said twice, left out, of another turn, half a reply, an apology and silence are told apart."""
    answer, heard = Answer(0.0), Heard()
    answer.text, answer.frames, answer.open = text, len(text), open_
    heard.take(7, answer, SORRY, 3)
    counts = ("whole", "sorry", "half", "silent", "twice", "left_out", "strange")
    assert {name: getattr(heard, name) for name in counts if getattr(heard, name)} == found
    assert bool(heard.wrong) == (found not in ({"whole": 1}, {"sorry": 1}))


async def test_warm_sees_who_waited_for_a_connection(tmp_path: Path) -> None:
    """Over TLS and a distance every situation is measured; a turn after the endpoint closed all had to open one."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    script = Script("0.001", "0.001", tokens=3)
    await warm(Warm(relays=1, rounds=1, one_way=0.002, keep_alive=0.3, quiet=0.6, script=script))
    saved = orjson.loads((tmp_path / "results" / "warm.json").read_bytes())
    found = saved["to_the_tenth"]
    assert len(found) == 7
    assert (found[FIRST]["turns"], found[QUIET]["turns"]) == (1, 1)
    assert (found[TENTH]["waited"], found[UNTOLD]["waited"]) == (0, 1)
    assert found[UNTOLD]["p50_ms"] > 0


async def test_idle_calls_stay(tmp_path: Path) -> None:
    """Calls that have had a turn are all there while nobody speaks."""
    await idle(10)
    saved = orjson.loads((tmp_path / "results" / "idle.json").read_bytes())
    assert saved["calls"] == 10


async def test_speculation_has_its_baseline_in_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same turns with and without: one request where the final prompt confirms, two where it does not."""
    monkeypatch.setattr("benchmarks.speculation.PAUSE", (0.0, 0.01))
    await speculation(Speaking(calls=2, turns=2, first="0.05", pace="0.001", tokens=3, gap=0.25))
    saved = orjson.loads((tmp_path / "results" / "speculation.json").read_bytes())
    turns = ("confirmed_without", "confirmed_ahead", "changed_without", "changed_ahead")
    assert [saved[each]["turns"] for each in turns] == [4, 4, 4, 4]
    assert [saved[each]["requests_a_turn"] for each in turns[:3]] == [1, 1, 1]
    assert 1 < saved["changed_ahead"]["requests_a_turn"] <= 2
    assert saved["asked_ahead"] == {"used": 4, "discarded": 4}
    assert saved["wasted_tokens"] > 0
    assert saved["calls_lost"] == 0


async def test_endpoint_tells_what_it_answered(endpoint: Endpoint, tmp_path: Path) -> None:
    """A request is found by the number the caller said, with its times in order and every word carrying the number."""
    await endpoint.script(Script("0.001", "0.001", tokens=3, numbered=True))
    async with SYSTEMS["floor"](endpoint.url, None, tmp_path) as floor:
        call = await ring(floor)
        answer = await call.prompt("I said 4 and now I say 17").ended(within=5)
        await call.close()
    (record,) = await endpoint.take()
    assert answer.text == f"{word(17, 0)} {word(17, 1)} {word(17, 2)}"
    assert record.marker == 17
    assert answer.sent < record.at < record.first < record.second < record.ended
    assert (record.sent, record.messages, record.tools, record.closed_early) == (3, 1, 8, False)
    assert await endpoint.take() == []


async def test_a_child_ends_when_its_parent_is_gone(endpoint: Endpoint, tmp_path: Path) -> None:
    """What is measured ends by itself when nobody holds its standard input any more."""
    async with SYSTEMS["floor"](endpoint.url, None, tmp_path) as floor:
        assert floor.child.process.stdin is not None
        floor.child.process.stdin.close()
        await floor.child.process.wait()


async def test_a_child_that_failed_is_told_with_its_log(tmp_path: Path) -> None:
    """The end of a child's log stands in the error, so that nobody has to look for it."""
    log = tmp_path / "log"
    async with child("the thing", ["sh", "-c", "echo it broke; exit 3"], core=None, env={}, log=log) as broken:
        await broken.process.wait()
        with pytest.raises(BenchError, match=r"(?s)status 3.*it broke"):
            broken.check()


def test_peers_and_floors_tools_are_ours() -> None:
    """The request the others make holds eight tools and the rules of speaking."""
    parts = request_parts()
    assert len(parts["tools"]) == 8
    assert "on the phone" in parts["instructions"]


def test_the_last_number_is_the_marker() -> None:
    """Two prompts in one are known by the later; what the agent said of it is counted where it comes behind."""
    both = Entry("user", "number 12 and number 345, please")
    assert asked([Entry("user", "no number")]) == (0, 0)
    assert asked([Entry("user", "1"), Entry("assistant", word(1, 0)), both]) == (345, 0)
    spoken = Entry("assistant", f"{word(345, 0)} {word(345, 1)}")
    assert asked([both, spoken]) == (345, 2)
    assert asked([both, spoken, Entry("note", "Go on."), Entry("user", "Go on!")]) == (345, 2)


async def test_a_continuation_is_one_of_three(endpoint: Endpoint) -> None:
    """Told what is spoken, the endpoint begins anew, a few words back, or with the next word, and says which it was."""
    await endpoint.script(Script(tokens=30, numbered=True))
    messages = [
        {"role": "user", "content": "number 5"},
        {"role": "assistant", "content": " ".join(word(5, n) for n in range(20))},
        {"role": "system", "content": "Go on."},
    ]
    begun: Counter[int] = Counter()
    async with aiohttp.ClientSession() as http:
        for _ in range(60):
            body = {"model": "m", "messages": messages}
            async with http.post(f"{endpoint.url}/chat/completions", json=body) as response:
                text = (await response.json())["choices"][0]["message"]["content"]
            words = text.split()
            first = int(words[0].partition("w")[2])
            assert words == [word(5, n) for n in range(first, 30)]
            begun[first] += 1
    assert begun.keys() == {0, 16, 17, 18, 19, 20}
    assert min(begun[0], begun[20], begun.total() - begun[0] - begun[20]) > 5
    assert {record.spoken for record in await endpoint.take()} == {20}


async def test_bytes_take_their_time_and_keep_their_order() -> None:
    """Over the distance they arrive in order and not before their time, the first ones after TCP's round trip; and the
    end of the connection behind them."""
    loop, one_way = asyncio.get_running_loop(), 0.02

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            writer.write(await reader.readexactly(200))
        writer.close()

    async with (
        await asyncio.start_server(echo, "127.0.0.1", 0) as server,
        distance(server.sockets[0].getsockname()[1], one_way) as port,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for earliest in (4 * one_way, 2 * one_way):
            sent = loop.time()
            for number in range(50):
                writer.write(b"%03d," % number)
                await asyncio.sleep(0)
            assert await reader.readexactly(200) == b"".join(b"%03d," % number for number in range(50))
            assert loop.time() - sent >= earliest - 0.002
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "name", ["", "latency", "interrupts", "speculation", "faults", "warm", "noisy", "idle", "transport", "soak"]
)
def test_every_benchmark_has_help(name: str) -> None:
    """The command says what there is, and nothing is measured by asking."""
    done = CliRunner().invoke(main, [*name.split(), "--help"])
    assert done.exit_code == 0
    assert done.output.startswith("Usage:")
