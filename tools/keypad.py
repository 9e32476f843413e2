"""Keys in both directions: what the caller keys in, and tones for the other end of the line."""

from __future__ import annotations

from typing import Any

from relay.collecting import LONGEST
from relay.errors import ToolRetry
from relay.toolbox import DigitsWanted, SendDigits, ToolContext
from tools.registry import ToolRegistry, ToolResult

MOST_KEYS = 32
MOST_SECONDS = 60.0
TERMINATORS = ("#", "*", "")
MOST_TONES = 64
TONES = frozenset("0123456789w#*")
DEADLINE = LONGEST + 10.0
"""Seconds of ``collect_digits``: more than its keys are ever waited for."""


async def collect_digits(
    context: ToolContext, count: int, terminator: str = "#", timeout: float = 10.0
) -> dict[str, Any]:
    """Let the caller key in digits on the telephone, such as an account number or a PIN: safer than saying them aloud.
    Say what to key in, and how to end it, in the same answer, before you use this. Never say a PIN aloud.

    Args:
        count: How many keys there are; at most, where the caller may end them earlier.
        terminator: The key that ends the input: "#", "*", or "" if only the number of keys does.
        timeout: Seconds without a key after which no more are waited for, from 1 to 60.
    """
    if not 1 <= count <= MOST_KEYS:
        raise ToolRetry(f"count must be a number from 1 to {MOST_KEYS}.")
    if terminator not in TERMINATORS:
        raise ToolRetry('terminator must be "#", "*" or "".')
    if not 1 <= timeout <= MOST_SECONDS:
        raise ToolRetry(f"timeout must be a number of seconds from 1 to {MOST_SECONDS:g}.")
    keyed = await context.collect(DigitsWanted(count, terminator, timeout))
    got = len(keyed.digits)
    if keyed.complete and got == count:
        message = "The caller has keyed in all of it."
    elif keyed.complete:
        message = f"The caller has ended the input with {terminator} after {got} of at most {count} keys."
    elif got:
        message = f"Only {got} of {count} keys came. Ask the caller to key in all of it again, or offer another way."
    else:
        message = "The caller has keyed in nothing. Ask them to try again, or offer another way."
    return {"digits": keyed.digits, "complete": keyed.complete, "message": message}


async def send_digits(context: ToolContext, digits: str) -> ToolResult:
    """Press keys on this line: for a machine at the other end that asks for them. The caller hears the tones.

    Args:
        digits: The keys in order: 0-9, # and *; a w is a pause of half a second.
    """
    digits = "".join(digits.split())
    if not digits or not TONES.issuperset(digits):
        raise ToolRetry("digits may hold 0-9, #, * and w alone, at least one of them.")
    if len(digits) > MOST_TONES:
        raise ToolRetry(f"digits may be {MOST_TONES} at most; send the rest with another call.")
    message = "The tones are sent behind the words said so far. Wait for the other end's answer."
    return ToolResult({"message": message}, (SendDigits(digits),))


def add_keypad(registry: ToolRegistry) -> None:
    registry.add(collect_digits, deadline=DEADLINE)
    registry.add(send_digits)
