"""A call from the terminal: a person typing, or a written call played to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

from phone.caller import Caller
from phone.record import Outcome, Turn
from phone.screen import Screen
from phone.script_file import BreakIn, Press, Quit, Speak, Step, parse_line

LONGEST_CALL_S = 4 * 3600.0
"""Twilio ends a call after four hours."""

BREAK_IN_AFTER = 5
"""Words of a reply that a written call lets pass before it interrupts."""


class Lines(Protocol):
    async def line(self) -> str | None: ...


def describe(outcome: Outcome) -> str:
    """How the call ended, in words."""
    match outcome.how:
        case "transfer":
            return f"transferred to {outcome.number}"
        case "agent":
            return "the agent hung up"
        case "caller":
            return "you hung up"
        case "lost":
            return f"the call was lost: {outcome.error or 'no reason given'}"


async def talk(call: Caller, screen: Screen, keyboard: Lines) -> Outcome:
    """Says what is typed until the call is over or the input ends; then hangs up. A cancel leaves the call open."""
    over = asyncio.create_task(call.ended(LONGEST_CALL_S), name="call over")
    typed = asyncio.create_task(keyboard.line(), name="typed line")
    try:
        while True:
            await asyncio.wait({over, typed}, return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                return over.result()
            line = typed.result()
            step = parse_line(line) if line is not None else Quit()
            if isinstance(step, Quit):
                return await call.hang_up()
            if step is not None:
                try:
                    await _act(call, screen, step)
                except ConnectionError:
                    screen.note("nobody is on the line just now")
            typed = asyncio.create_task(keyboard.line(), name="typed line")
    finally:
        over.cancel()
        typed.cancel()
        await asyncio.wait({over, typed})


async def _act(call: Caller, screen: Screen, step: Speak | BreakIn | Press) -> bool:
    """Returns whether the app was told."""
    if isinstance(step, Press):
        told = await call.press(step.keys) > 0
        reason = "the agent takes no keys just now"
    else:
        told = await call.say(step.text)
        reason = "the agent does not listen while it says this"
    if not told:
        screen.note(reason)
    return told


async def play(
    call: Caller, screen: Screen, steps: Sequence[Step], *, settle: float = 1.0, patience: float = 25.0
) -> bool:
    """Plays a written call and hangs up. Returns whether every line was said and brought words.

    A line's turn is over when the agent has been silent for ``settle`` seconds of the clock; ``patience``: how long to
    wait for that. A cancel leaves the call open.
    """

    def break_in(number: int) -> asyncio.Task[bool] | None:
        """Set before the line it interrupts is said, so that no word of the reply is missed."""
        step = steps[number] if number < len(steps) else None
        if not isinstance(step, BreakIn) or call.outcome is not None:
            return None
        return call.interrupt_after(BREAK_IN_AFTER, step.text, timeout=patience)

    turns: list[Turn] = []
    pending = break_in(0)
    if pending is None:
        await _patiently(call.greeting_played(patience))
    for number, step in enumerate(steps):
        if call.outcome is not None or isinstance(step, Quit):
            break
        try:
            said = pending is not None and await _patiently(pending)
            pending = break_in(number + 1)
            if not said and not await _act(call, screen, step):
                continue
        except ConnectionError:
            await _patiently(call.ended(patience))
            break
        turns.append(call.record.turn)
        if pending is None:
            await _patiently(call.reply(patience, settle=settle))
            if not call.record.turn.heard:
                screen.note("no words came")
    await call.hang_up()
    if missing := len(steps) - len(turns):
        screen.note(f"{missing} of {len(steps)} lines were not heard by the agent")
    return not missing and all(turn.heard for turn in turns)


async def _patiently(waiting: Awaitable[object]) -> bool:
    """Waits; returns whether it came in time."""
    try:
        await waiting
    except TimeoutError:
        return False
    return True
