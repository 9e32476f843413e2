"""A caller who makes noise, as a process of its own, until it is ended: ``python -m benchmarks.noise KIND``.

Standard input is one line of JSON: where the call gets in. What is sent is made once and written again and again; in
between the process is nice to whoever shares its core.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from phone.load import CallLost, Entrance, LoadCall
from relay.frames import ClientSpeaking, Dtmf, Incoming, Interrupt, Prompt

EVERY = 0.01  # seconds between two writes
UNREAD = 4 * 1024 * 1024  # bytes that wait to be read, at most


@dataclass(frozen=True, slots=True)
class Noise:
    """``at_once``: frames of one write. ``reads``: it takes what it is answered."""

    frame: Incoming
    at_once: int = 10
    reads: bool = True


SAID = Prompt("Please tell me about number 7", "en-US")
KINDS: Mapping[str, Noise] = {
    "frames": Noise(ClientSpeaking(True)),
    "interrupts": Noise(Interrupt("and so on", 100)),
    "keys": Noise(Dtmf("1")),
    "prompts": Noise(SAID),
    "huge prompts": Noise(Prompt("word " * 12_000, "en-US")),
    "unread": Noise(SAID, reads=False),
    "flood": Noise(ClientSpeaking(True), at_once=2000),
}
"""A thousand frames a second, which the relay bears; and more than it does (``relay/flood.py``)."""


async def make_noise(noise: Noise, entrance: Entrance, call_sid: str) -> None:
    """Says that it begins; returns when the other side has had enough."""
    call = await LoadCall.open(entrance, call_sid=call_sid)
    print("begun", flush=True)
    if not noise.reads:
        call.stop_reading()
    encoded = call.encoded([noise.frame] * noise.at_once)
    loop = asyncio.get_running_loop()
    due = loop.time()
    try:
        while True:
            if call.unread() < UNREAD:
                call.write(encoded)
            due += EVERY
            await asyncio.sleep(max(0.0, due - loop.time()))
    except CallLost:
        pass


def main() -> None:
    os.nice(10)
    order = orjson.loads(sys.stdin.readline())
    entrance = Entrance(order["url"], parameters=order["parameters"])
    asyncio.run(make_noise(KINDS[sys.argv[1]], entrance, order["call_sid"]))
    sys.stdin.read()  # whoever started it ends it


if __name__ == "__main__":
    main()
