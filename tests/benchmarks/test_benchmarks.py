"""The benchmarks at a tiny size, over real processes and sockets: that they run and count, not how fast."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from benchmarks import figures, latency
from benchmarks.__main__ import main
from benchmarks.comparison import Load
from benchmarks.endpoint import Script, marker_of, word
from benchmarks.idle import idle
from benchmarks.interrupts import Plan, Tally, _Caller, interrupts
from benchmarks.processes import BenchError, Cores, Endpoint, child
from benchmarks.speculation import Plan as Speaking
from benchmarks.speculation import speculation
from benchmarks.systems import SYSTEMS, request_parts, ring
from relay.frames import Text

UNPINNED = Cores(None, None, "a test pins nothing")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Results go to a folder of the test's, nothing is pinned, and nobody waits long."""
    monkeypatch.setattr(figures, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(Cores, "choose", lambda: UNPINNED)
    monkeypatch.setattr(latency, "PAUSE", (0.0, 0.01))
    monkeypatch.setattr("benchmarks.idle.QUIET_SECONDS", 0.05)


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
    assert set(ours["segments_ms"]) == {"queue", "history", "request", "model", "holdback", "send"}
    assert {"first_token_p50", "first_word_p50", "cpu"} <= set(saved["ratios"]["floor"])


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


async def test_idle_calls_stay(tmp_path: Path) -> None:
    """Calls that have had a turn are all there while nobody speaks."""
    await idle(10)
    saved = orjson.loads((tmp_path / "results" / "idle.json").read_bytes())
    assert saved["calls"] == 10


async def test_speculation_has_its_baseline_in_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same turns with and without: one request where the final prompt confirms, two where it does not."""
    monkeypatch.setattr("benchmarks.speculation.PAUSE", (0.0, 0.01))
    await speculation(Speaking(calls=2, turns=2, first="0.05", pace="0.001", tokens=3, gap=0.05))
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
    """Two prompts in one are known by the later."""
    assert marker_of("number 12 and number 345, please") == 345
    assert marker_of("no number") == 0


@pytest.mark.parametrize("arguments", [[], ["latency"], ["interrupts"], ["speculation"], ["idle"]])
def test_every_benchmark_has_help(arguments: list[str]) -> None:
    """The command says what there is, and nothing is measured by asking."""
    done = CliRunner().invoke(main, [*arguments, "--help"])
    assert done.exit_code == 0
    assert done.output.startswith("Usage:")
