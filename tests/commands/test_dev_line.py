"""The number of ``relay dev``: what is put back, whatever came between."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator

import pytest

from commands.dev.line import Line
from config.settings import load_settings
from relay.errors import RelayError
from tests.commands.developing import OLD_URL, account
from tests.commands.serving import INHERITED
from tests.fakes.twilio_rest import NUMBER, TwilioRestServer, twilio_rest

FIRST, SECOND = "https://first.ngrok.app", "https://second.ngrok.app"


@pytest.fixture
async def twilio() -> AsyncIterator[TwilioRestServer]:
    async with twilio_rest() as server:
        yield server


@pytest.fixture
def line(twilio: TwilioRestServer) -> Line:
    return Line(load_settings(None, account(twilio)))


async def test_an_answer_that_gets_lost(twilio: TwilioRestServer, line: Line) -> None:
    """The number was pointed here, though nobody told us: it is put back all the same."""
    record = twilio.numbers.add(NUMBER, voice_url=OLD_URL)
    before = dict(record)
    await line.lead_to(FIRST)
    leading = asyncio.create_task(line.lead_to(SECOND))
    await twilio.until(lambda: twilio.asked[-1].method == "GET" and len(twilio.asked) == 3)
    twilio.drops = 1
    with pytest.raises(RelayError):
        await leading
    assert record["voice_url"] == f"{SECOND}/voice/incoming"
    await line.put_back()
    assert record == before


async def test_what_was_set_anew_stays(
    twilio: TwilioRestServer, line: Line, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody has chosen another voice URL meanwhile; it stays, and the rest is put back."""
    record = twilio.numbers.add(NUMBER, voice_url=OLD_URL)
    await line.lead_to(FIRST)
    record["voice_url"] = "https://new.example.com/voice"
    await line.put_back()
    assert (record["voice_url"], record["status_callback"]) == ("https://new.example.com/voice", "")
    said = f"{NUMBER} leads to https://new.example.com/voice (POST) as somebody has set it meanwhile"
    assert said in capsys.readouterr().err


async def test_which_number(twilio: TwilioRestServer, line: Line) -> None:
    """Where nobody says which of several numbers is meant none is changed, and there is nothing to put back."""
    for number in (NUMBER, "+15550100998"):
        twilio.numbers.add(number, voice_url=OLD_URL)
    with pytest.raises(RelayError, match="Which number"):
        await line.lead_to(FIRST)
    await line.put_back()
    assert all(each.method == "GET" for each in twilio.asked)


async def test_twilio_away_at_the_end(twilio: TwilioRestServer) -> None:
    """What cannot be put back is told as the command that will do it."""
    twilio.numbers.add(NUMBER, voice_url=OLD_URL)
    keeper = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "commands.dev.line"), env={**INHERITED, **account(twilio)}, stdin=-1, stderr=-1
    )
    assert keeper.stdin is not None
    keeper.stdin.write(f"{FIRST}\n".encode())
    await twilio.until(lambda: any(each.method == "POST" for each in twilio.asked), within=30)
    twilio.fail, twilio.for_good = [(500, 20500)], True
    keeper.stdin.close()
    async with asyncio.timeout(30):
        _, said = await keeper.communicate()
    *_, undo = said.decode().splitlines()
    words = shlex.split(undo.partition("put it back with: ")[2])
    assert words[:4] == ["relay", "number", "set", NUMBER]
    assert words[words.index("--voice-url") + 1] == OLD_URL
