"""The benchmarks of the live chat at a tiny size, over real processes and sockets: that they run and count, and that
what they look for would be seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from benchmarks import figures, live_chat, reconnects
from benchmarks.endpoint import Script
from benchmarks.processes import Cores
from benchmarks.reconnects import Tally
from benchmarks.systems import System
from phone.bench.words import clocked, stamp

UNPINNED = Cores(None, None, "a test pins nothing")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Results go to a folder of the test's, and nothing is pinned."""
    monkeypatch.setattr(figures, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(Cores, "choose", lambda: UNPINNED)
    yield


def saved(tmp_path: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((tmp_path / "results" / f"{name}.json").read_bytes())
    return found


async def test_what_is_added_to_a_delta(tmp_path: Path) -> None:
    """Ours and the floor are measured in one run, every delta by its own clock, and no word is lost."""
    plan = live_chat.Plan(3, 0.6, first="0.01", pace="0.002", tokens=5, pause=(0.01, 0.05), warm=0.1)
    await live_chat.live_chat(plan)
    systems = saved(tmp_path, "live_chat")["systems"]
    assert set(systems) == {"floor", "ours"}
    for each in systems.values():
        assert (each["deltas"], each["wrong"], each["failed"]) == (each["turns"] * 5, 0, {})
        assert 0 < each["added_ms"]["p50"] <= each["added_ms"]["p99"] <= each["added_ms"]["max"]
        assert each["turns"] and each["until_asked_ms"]["p50"] > 0


async def test_reconnects_to_two_processes(tmp_path: Path) -> None:
    """A few go through, and whatever was lost on the way is there afterwards, once."""
    script = Script("0.02", "0.01", tokens=30, numbered=True)
    plan = reconnects.Plan(reconnects=20, visitors=3, stay=(0.02, 0.1), pause=0.0, script=script)
    assert await reconnects.reconnects(plan)
    told = saved(tmp_path, "reconnects")
    assert told["reconnects"] >= 20 and told["processes"] == 2
    assert told["elsewhere"] and told["turns"] and not any(told["faults"].values())
    assert set(told["came_back"]) <= {*reconnects.MANNERS}


def word_of(turn: int, place: int) -> str:
    """As the endpoint writes it, just now."""
    return stamp(clocked(turn, place, 100.0).encode(), 0.5).decode() + " "


async def test_a_word_that_is_not_the_next_one_is_seen() -> None:
    """One that was left out, and one of another turn; the time of each is its own."""
    visitor = live_chat.Visitor(7, live_chat.Plan())
    for turn, place in ((7000, 0), (7000, 2), (6999, 2)):
        visitor.hear({"type": "delta", "text": word_of(turn, place)}, 100.75)
    assert visitor.seen.wrong == 2
    assert list(visitor.seen.added) == pytest.approx([0.25] * 3)


PLAN = reconnects.Plan(script=Script(tokens=3, numbered=True))
WHOLE = "t10001w0 t10001w1 t10001w2"


def delta(seq: int, text: str) -> dict[str, Any]:
    return {"type": "delta", "turn": "t_1", "seq": seq, "text": text}


def done(seq: int, text: str = WHOLE) -> dict[str, Any]:
    return {"type": "done", "turn": "t_1", "seq": seq, "text": text}


GOOD = (delta(1, "t10001w0 "), delta(2, "t10001w1 "), delta(3, "t10001w2"), done(4))


@pytest.mark.parametrize(
    ("frames", "counts"),
    [
        (GOOD, {}),
        ((*GOOD, GOOD[-1]), {"again": 1}),
        ((GOOD[0], *GOOD), {"twice": 1, "wrong": 1}),
        ((GOOD[0], *GOOD[2:]), {"missed": 1, "wrong": 1}),
        (GOOD[:3], {}),
        ((*GOOD[:3], done(4, "t10001w0 t10001w1")), {"wrong": 1}),
        ((*GOOD[:2], {"type": "error", "code": "lost"}), {"failed": 1}),
        ((GOOD[0], {"type": "reset"}, *GOOD[2:]), {"resets": 1}),
    ],
)
async def test_what_a_page_would_notice_is_counted(
    frames: Sequence[Mapping[str, Any]], counts: Mapping[str, int]
) -> None:
    """A frame twice, one left out, an answer that is not whole, an error; and nothing else."""
    tally = Tally()
    visitor = reconnects.Visitor(1, PLAN, [cast(System, None)], tally)
    visitor.begin()
    for frame in frames:
        visitor.hear(0, frame, 0.0)
    found = {name: getattr(tally, name) for name in ("again", "twice", "missed", "wrong", "resets")}
    found["failed"] = tally.failed.total()
    assert {name: count for name, count in found.items() if count} == counts
