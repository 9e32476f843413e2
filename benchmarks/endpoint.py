"""The model's side: ``phone/model.py`` with a clock at the first words, driven by lines of JSON on standard input.

    {"script": {"first": "0.25:0.5", "pace": "0.02", "tokens": 60}}    how it answers from now on
    {"take": true}                                                     what it answered since it was last asked

Each line is answered by one line. A request is known by the last number in the last thing the caller said, its
*marker*; with ``numbered`` every word of the answer carries it, so that one can tell whose words a frame holds. With
``whole`` the answer is one piece, sent at once. It ends when standard input does.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from phone.model import Ask, Delay, ModelServer, Recorded, Reply

KEEP = 100_000
SWEEP_SECONDS = 0.5

_SENTENCE = (
    "Certainly the apartment by the river has two bright rooms and a balcony which looks over the water and it is free "
    "from Monday on so would you like to see it this week or shall I tell you a little more about the house and the "
    "street and what is near it"
)
WORDS = tuple(_SENTENCE.split())
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Script:
    """How the endpoint answers. ``first``, ``pace``: seconds, MEDIAN or MEDIAN:P95."""

    first: str = "0"
    pace: str = "0"
    tokens: int = 20
    whole: bool = False
    numbered: bool = False


@dataclass(slots=True)
class Answered:
    """One request. Times are ``time.monotonic`` of this machine, in seconds; 0 is not reached.

    at: the request was read. first, second: the moment before these words were written. messages: without the
    instructions. size: bytes of the request. sent: pieces written.
    """

    marker: int
    at: float
    first: float
    second: float
    ended: float
    sent: int
    closed_early: bool
    messages: int
    tools: int
    size: int
    connection: int


class _Mark(asyncio.Event):
    """A gate nobody waits at: it notes when the reply came by."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0.0

    async def wait(self) -> bool:  # type: ignore[override]
        self.at = time.monotonic()
        return True


class Behaviour:
    """Makes the replies and keeps their marks until the request is over."""

    def __init__(self, seed: int = 1) -> None:
        self.script = Script()
        self._rng = random.Random(seed)
        self._marks: dict[int, tuple[_Mark, _Mark, int]] = {}

    def __call__(self, ask: Ask) -> Reply:
        script, rng = self.script, self._rng
        marker = marker_of(next((entry.text for entry in reversed(ask.entries) if entry.kind == "user"), ""))
        words = _words(script, marker)
        pace = Delay.parse(script.pace)
        first, second = _Mark(), _Mark()
        self._marks[id(ask)] = first, second, marker
        return Reply(
            text=("".join(words),) if script.whole else words,
            first=Delay.parse(script.first).sample(rng),
            pace=pace.median if pace.p95 <= pace.median else lambda: pace.sample(rng),
            gates={0: first, 1: second},
        )

    def answered(self, record: Recorded) -> Answered | None:
        """What became of a request that is over; None if it never was one for an answer."""
        if record.ask is None or (marks := self._marks.pop(id(record.ask), None)) is None:
            return None
        first, second, marker = marks
        return Answered(
            marker=marker,
            at=record.at,
            first=first.at,
            second=second.at,
            ended=record.ended_at,
            sent=record.sent,
            closed_early=record.closed_early,
            messages=sum(1 for message in record.body["messages"] if message["role"] != "system"),
            tools=len(record.body.get("tools", ())),
            size=record.ask.size,
            connection=record.connection,
        )


def marker_of(text: str) -> int:
    """The last number in the text, 0 if there is none."""
    numbers = _NUMBER.findall(text)
    return int(numbers[-1]) if numbers else 0


def word(marker: int, index: int) -> str:
    """A word of a numbered answer."""
    return f"t{marker}w{index}"


def _words(script: Script, marker: int) -> tuple[str, ...]:
    names = [word(marker, n) if script.numbered else WORDS[n % len(WORDS)] for n in range(script.tokens)]
    return tuple((" " if n else "") + name for n, name in enumerate(names))


async def serve(port: int) -> None:
    behaviour = Behaviour()
    finished: deque[Answered] = deque(maxlen=KEEP)
    async with ModelServer(behaviour, port=port, keep=KEEP) as server:

        def sweep() -> None:
            """Bodies are large; of a request that is over only the row is kept."""
            waiting = [record for record in server.requests if not record.ended.is_set()]
            for record in server.requests:
                if record.ended.is_set() and (row := behaviour.answered(record)) is not None:
                    finished.append(row)
            server.requests.clear()
            server.requests.extend(waiting)

        async def sweeping() -> None:
            while True:
                await asyncio.sleep(SWEEP_SECONDS)
                sweep()

        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        sweeper = asyncio.create_task(sweeping(), name="sweep")
        _say({"url": server.url})
        while line := await reader.readline():
            order = orjson.loads(line)
            if "script" in order:
                behaviour.script = Script(**order["script"])
                _say({"script": asdict(behaviour.script)})
            else:
                sweep()
                _say({"answered": [asdict(row) for row in finished]})
                finished.clear()
        sweeper.cancel()
        await asyncio.wait([sweeper])


def _say(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(message) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    import uvloop

    # Callers interrupt, relays hang up in the middle of an answer: here that is no error.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve(port))
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
