"""Restless callers, for as long as RELAY_SCALE says: the relay neither grows nor keeps anything of them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from benchmarks import figures
from benchmarks.processes import Cores
from benchmarks.soak import FORGETS, Plan, soak
from tests.scale import scaled

CALLS = scaled(20_000, 40)


async def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whenever and however callers hang up: no task, no socket, no key without an end, nothing overdue, no bug. With as
    many calls as fill the relay's memories, it does not grow by more than its share either."""
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    monkeypatch.setattr(Cores, "choose", lambda: Cores(None, None, "a test pins nothing"))
    long = CALLS / 25.0 > FORGETS
    reached = await soak(Plan(CALLS, rate=25.0, settle=150.0 if long else 10.0))
    saved = orjson.loads((tmp_path / "soak.json").read_bytes())
    assert saved["wrong"] == {}
    assert saved["calls"] == CALLS
    assert saved["after"]["tasks"] <= saved["before"]["tasks"]
    assert reached
