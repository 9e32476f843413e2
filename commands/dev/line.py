"""The telephone number of ``relay dev``: pointed at an address for a while, and put back in the end.

    python -m commands.dev.line

Each line of standard input is the address (PUBLIC_URL) the number is to lead to from now on. At its end the number is
put back, however ``relay dev`` came to its own: that is why this is a process of its own, in a session of its own.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace

from channels.twilio.numbers import ROUTING, Change, Numbers
from commands.dev.saying import say
from commands.number import goes_to, our_routing, undo_line
from commands.twilio_account import twilio_of
from config.settings import Settings, load_settings
from relay.errors import RelayError


class Line:
    """The settings' number, or the account's only one. ``changes``: those to be taken back, the first one first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.changes: list[Change] = []

    async def lead_to(self, public_url: str) -> None:
        """Raises RelayError. What may have been done in spite of that is taken back in the end."""
        ours = our_routing(public_url, fallback_url=self._settings.voice_fallback_url or "")
        async with twilio_of(self._settings) as rest:
            numbers = Numbers(rest)
            number = await numbers.choose(self._settings.twilio_phone_number or "")
            self.changes.append(Change(number, ours))  # before it is asked for, since an answer may get lost
            change = await numbers.route(number, {name: getattr(ours, name) for name in ROUTING})
        self.changes = [Change(self.changes[0].number, change.after)]
        before = f" (before: {goes_to(number)})" if change.new else ""
        say(f"{number.number} now leads to {change.after.voice_url}{before}")

    async def put_back(self) -> None:
        """Raises RelayError. What somebody has set anew meanwhile stays."""
        async with twilio_of(self._settings) as rest:
            while self.changes:
                change = self.changes[-1]
                after = (await Numbers(rest).undo(change)).after
                self.changes.pop()
                stays = "again" if after == change.number.routing else "as somebody has set it meanwhile"
                if change.new:
                    say(f"{change.number.number} leads to {goes_to(replace(change.number, routing=after))} {stays}")


async def keep(settings: Settings) -> None:
    line = Line(settings)
    async for public_url in _lines():
        try:
            await line.lead_to(public_url)
        except RelayError as error:
            say(f"the number is not connected: {error}")
    try:
        await line.put_back()
    except RelayError as error:
        say(f"the number could not be put back: {error}")
        for change in reversed(line.changes):
            say(f"put it back with: {undo_line(change)}")


async def _lines() -> AsyncIterator[str]:
    """Of standard input, until it ends or somebody tells this process to."""
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, reader.feed_eof)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while line := await reader.readline():
            yield line.decode().strip()
    finally:
        transport.close()


if __name__ == "__main__":
    asyncio.run(keep(load_settings()))
