"""What a check finds, and how checks are run: at once, but for those that need what another one finds."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

DEADLINE = 30.0
"""Seconds for a check. Its requests have shorter ones of their own and tell more when they end."""

Status = Literal["ok", "warning", "failed", "skipped"]

_NUMBER = re.compile(r"\+[1-9]\d{2,10}(\d{4})\b", re.ASCII)


@dataclass(frozen=True, slots=True)
class Finding:
    """``fix``: the command, or the setting, that mends it; "" where nothing is to be mended."""

    status: Status
    detail: str
    fix: str = ""


def ok(detail: str) -> Finding:
    return Finding("ok", detail)


def warning(detail: str, fix: str = "") -> Finding:
    return Finding("warning", detail, fix)


def failed(detail: str, fix: str) -> Finding:
    return Finding("failed", detail, fix)


def skipped(detail: str) -> Finding:
    return Finding("skipped", detail)


@dataclass(frozen=True, slots=True)
class Check:
    """``needs``: checks without which this one means nothing, and is skipped. ``after``: those that only come first."""

    name: str
    look: Callable[[], Awaitable[Finding]]
    needs: Sequence[str] = ()
    after: Sequence[str] = ()
    deadline: float = DEADLINE


News = Callable[[str, Finding | None], object]
"""Told the name of a check that begins (None), and again of one that is over."""


async def examine(checks: Sequence[Check], news: News = lambda name, finding: None) -> dict[str, Finding]:
    """The findings by name, in the order of the checks. A check that raises has failed. A cancel ends them all."""
    tasks: dict[str, asyncio.Task[Finding]] = {}

    async def run(check: Check) -> Finding:
        if first := [tasks[name] for name in (*check.needs, *check.after)]:
            await asyncio.wait(first)
        finding = _missing(check, tasks)
        if finding is None:
            news(check.name, None)
            finding = await _look(check)
        news(check.name, finding)
        return finding

    async with asyncio.TaskGroup() as group:
        for check in checks:
            tasks[check.name] = group.create_task(run(check), name=f"check {check.name}")
    return {name: task.result() for name, task in tasks.items()}


def _missing(check: Check, tasks: dict[str, asyncio.Task[Finding]]) -> Finding | None:
    lacking = [name for name in check.needs if tasks[name].result().status in ("failed", "skipped")]
    return skipped(f"It needs: {', '.join(lacking)}.") if lacking else None


async def _look(check: Check) -> Finding:
    try:
        async with asyncio.timeout(check.deadline):
            return masked(await check.look())
    except TimeoutError:
        return failed(f"It took longer than {check.deadline:g} s.", "Try again; look at the machine's load.")
    except Exception as error:  # one that is wrong itself must not hide what the others find
        return failed(f"The check itself failed ({type(error).__name__}).", "It is a fault of relay doctor: report it.")


def masked(finding: Finding) -> Finding:
    """Of a telephone number only the end: what is found is shown to others, and sent to them."""
    hide = r"…\1"
    return replace(finding, detail=_NUMBER.sub(hide, finding.detail), fix=_NUMBER.sub(hide, finding.fix))
