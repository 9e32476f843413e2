"""A caller who makes noise, as a process of its own, until it is told to end: ``python -m benchmarks.noise KIND``.

Standard input is one line of JSON: where the call gets in. What is sent is made once and written again and again, as
fast as the other side reads; in between it is nice to whoever shares its core.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping

import orjson

from phone.load import CallLost, Entrance, LoadCall
from relay.frames import ClientSpeaking, Dtmf, Incoming, Interrupt, Prompt

KINDS: Mapping[str, list[Incoming]] = {
    "frames": [ClientSpeaking(True), ClientSpeaking(False)],
    "interrupts": [Interrupt("and so on", 100)],
    "keys": [Dtmf("1")],
    "prompts": [Prompt("Please tell me about number 7", "en-US")],
    "huge prompts": [Prompt("word " * 12_000, "en-US")],
    "deaf": [Prompt("Please tell me about number 7", "en-US")],
}
"""What each kind sends. ``deaf`` reads nothing of what it is answered."""

BLOB = 256 * 1024  # bytes, about, of one write
UNREAD = 1024 * 1024  # bytes that wait to be read, at most


async def make_noise(kind: str, entrance: Entrance, call_sid: str) -> None:
    """Returns when the other side has had enough; then it waits for its end without a word."""
    call = await LoadCall.open(entrance, call_sid=call_sid)
    if kind == "deaf":
        call.stop_reading()
    blob = call.encoded(KINDS[kind], BLOB)
    try:
        while True:
            if call.unread() < UNREAD:
                call.write(blob)
            await asyncio.sleep(0.001)
    except CallLost:
        print("closed", flush=True)


def main() -> None:
    os.nice(10)
    order = orjson.loads(sys.stdin.readline())
    entrance = Entrance(order["url"], parameters=order["parameters"])
    asyncio.run(make_noise(sys.argv[1], entrance, order["call_sid"]))
    sys.stdin.read()


if __name__ == "__main__":
    main()
