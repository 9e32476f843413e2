"""A written call, one line a turn; the same lines are what a person types.

hello, who is this?      says it
#5   #12*                presses keys
! wait, stop             interrupts the reply to the line before in the middle
/quit                    hangs up
// a remark              is skipped, as are blank lines
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_KEYS = re.compile(r"#([0-9*#]+)")


@dataclass(frozen=True, slots=True)
class Speak:
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BreakIn:
    """Words said over the agent's."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Press:
    keys: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Quit:
    pass


Step = Speak | BreakIn | Press | Quit


def parse_line(line: str) -> Step | None:
    """What one line asks for, None for nothing."""
    line = line.strip()
    if not line or line.startswith("//"):
        return None
    if line == "/quit":
        return Quit()
    if keys := _KEYS.fullmatch(line):
        return Press(keys[1])
    if line.startswith("!"):
        text = line[1:].strip()
        return BreakIn(text) if text else None
    return Speak(line)


def parse_script(text: str) -> list[Step]:
    """The steps of a script, up to the first ``/quit``."""
    steps: list[Step] = []
    for line in text.removeprefix("\ufeff").splitlines():
        step = parse_line(line)
        if isinstance(step, Quit):
            break
        if step is not None:
            steps.append(step)
    return steps
