"""How checks are run, and what is made of what they find."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from commands.doctor.clock import Dates
from commands.doctor.finding import Check, Finding, examine, failed, masked, ok, warning


def finds(finding: Finding) -> Callable[[], Awaitable[Finding]]:
    async def look() -> Finding:
        return finding

    return look


async def test_what_needs_a_failed_check_is_skipped() -> None:
    """With the reason, and so is what needs that; a warning stops nothing, nor does a check that only comes first."""
    found = await examine(
        [
            Check("one", finds(failed("broken", "mend it"))),
            Check("two", finds(ok("fine")), needs=("one",)),
            Check("three", finds(ok("fine")), needs=("two",)),
            Check("four", finds(warning("odd"))),
            Check("five", finds(ok("fine")), needs=("four",), after=("one", "three")),
        ]
    )
    assert {name: finding.status for name, finding in found.items()} == {
        "one": "failed",
        "two": "skipped",
        "three": "skipped",
        "four": "warning",
        "five": "ok",
    }
    assert found["two"].detail == "It needs: one." and found["three"].detail == "It needs: two."


async def test_independent_checks_run_at_once() -> None:
    """Each of these ends only once the other has begun."""
    first, second = asyncio.Event(), asyncio.Event()

    async def meet(mine: asyncio.Event, other: asyncio.Event) -> Finding:
        mine.set()
        await asyncio.wait_for(other.wait(), 20)
        return ok("met")

    checks = [Check("one", lambda: meet(first, second)), Check("two", lambda: meet(second, first))]
    news: list[tuple[str, bool]] = []
    found = await examine(checks, lambda name, finding: news.append((name, finding is None)))
    assert [finding.status for finding in found.values()] == ["ok", "ok"]
    assert news[:2] == [("one", True), ("two", True)] and sorted(news[2:]) == [("one", False), ("two", False)]


async def test_a_check_has_a_deadline() -> None:
    """It has failed then, and the others are there."""

    async def never() -> Finding:
        await asyncio.Event().wait()
        return ok("never")

    found = await examine([Check("one", never, deadline=0.02), Check("two", finds(ok("fine")))])
    assert found["one"].status == "failed" and "longer than 0.02 s" in found["one"].detail
    assert found["two"].status == "ok"


async def test_a_check_that_is_wrong_itself() -> None:
    """It hides nothing of the others; what it raised is not shown, for that may be anything."""

    async def wrong() -> Finding:
        raise KeyError("a secret")

    found = await examine([Check("one", wrong), Check("two", finds(ok("fine")))])
    assert found["one"].status == "failed" and "(KeyError)" in found["one"].detail
    assert "secret" not in found["one"].detail and found["two"].status == "ok"


async def test_a_cancel_ends_all() -> None:
    """No task is left."""
    begun = asyncio.Event()

    async def never() -> Finding:
        begun.set()
        await asyncio.Event().wait()
        return ok("never")

    task = asyncio.create_task(examine([Check("one", never), Check("two", never, after=("one",))]))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert [each.get_name() for each in asyncio.all_tasks() if each.get_name().startswith("check ")] == []


def test_numbers_are_cut() -> None:
    """In what is found, and in what mends it."""
    shown = masked(failed("It is +15550100999, or +4930123456.", "relay number connect +15550100999"))
    assert shown == failed("It is …0999, or …3456.", "relay number connect …0999")


# -- the clock

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC


@pytest.mark.parametrize(
    ("date", "status", "words"),
    [
        ("Fri, 15 Jan 2027 08:00:01 GMT", "ok", "agrees with Twilio"),
        ("Fri, 15 Jan 2027 08:00:30 GMT", "ok", "agrees with Twilio"),
        ("Fri, 15 Jan 2027 08:00:31 GMT", "failed", "31 s behind Twilio"),
        ("Fri, 15 Jan 2027 07:58:00 GMT", "failed", "120 s ahead of Twilio"),
        ("today", "skipped", "Nobody has answered"),
        ("", "skipped", "Nobody has answered"),
    ],
)
def test_the_clock(date: str, status: str, words: str) -> None:
    """More than thirty seconds is wrong."""
    dates = Dates(now=lambda: NOW)
    dates.note("Twilio", date)
    finding = dates.look()
    assert finding.status == status and words in finding.detail
    assert ("timedatectl" in finding.fix) == (status == "failed")


def test_twilio_is_believed_first() -> None:
    """What answers at PUBLIC_URL may be this machine."""
    dates = Dates(now=lambda: NOW)
    dates.note("PUBLIC_URL", "Fri, 15 Jan 2027 08:00:00 GMT")
    dates.note("Twilio", "Fri, 15 Jan 2027 09:00:00 GMT")
    assert dates.look().status == "failed"
