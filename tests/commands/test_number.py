"""``relay number``: what it changes at Twilio, what it says, and that its undo line works."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.commands.invoking import invoke
from tests.fakes.twilio_rest import NUMBER, TwilioRestServer, twilio_rest
from tests.running import write_agent

BASE = "https://relay.example.com"


@pytest.fixture
async def server() -> AsyncIterator[TwilioRestServer]:
    async with twilio_rest() as running:
        yield running


@pytest.fixture
def environ(server: TwilioRestServer, tmp_path: Path) -> dict[str, str]:
    """Everything that is needed."""
    agents = write_agent(write_agent(tmp_path / "agents"), name="sales")
    return {**server.environ, "PUBLIC_URL": BASE, "AGENTS_DIR": str(agents)}


async def test_a_number_is_pointed_here_and_back(
    server: TwilioRestServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """What is printed as the way back puts everything back, methods and the TwiML app too."""
    app = "AP" + "1" * 32
    record = server.numbers.add(
        NUMBER, voice_url="https://old/a b?c='d'", voice_method="GET", voice_application_sid=app
    )
    before = dict(record)
    status, output, errors = await invoke(environ, "number", "connect")
    assert (status, errors) == (0, "")
    assert (record["voice_url"], record["voice_method"]) == (f"{BASE}/voice/incoming", "POST")
    assert (record["status_callback"], record["status_callback_method"]) == (f"{BASE}/voice/status", "POST")
    assert (record["voice_fallback_url"], record["voice_fallback_method"]) == (f"{BASE}/voice/fallback", "POST")
    assert record["voice_application_sid"] is None
    assert f"https://old/a b?c='d' (GET) -> {BASE}/voice/incoming (POST)" in output
    assert f"status callback  none -> {BASE}/voice/status (POST)" in output
    assert f"{app} -> none, which had the number's calls until now" in output

    *_, undo = output.splitlines()
    words = shlex.split(undo)
    assert words[0] == "relay"
    status, output, errors = await invoke(environ, *words[1:])
    assert (status, errors) == (0, "")
    assert record == before
    assert f"{BASE}/voice/incoming (POST) -> https://old/a b?c='d' (GET)" in output


async def test_the_second_time_nothing_changes(
    server: TwilioRestServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """It says so, and sends nothing. A fallback of one's own is asked for by GET; the agent is in the voice URL."""
    environ["VOICE_FALLBACK_URL"] = "https://elsewhere.example.com/sorry.xml"
    record = server.numbers.add(NUMBER)
    assert (await invoke(environ, "number", "connect", "--agent", "sales"))[0] == 0
    assert record["voice_url"] == f"{BASE}/voice/incoming?agent=sales"
    assert record["voice_fallback_url"] == "https://elsewhere.example.com/sorry.xml"
    assert record["voice_fallback_method"] == "GET"
    sent = len([each for each in server.asked if each.method == "POST"])
    status, output, _ = await invoke(environ, "number", "connect", "+1 (555) 010-0999", "--agent", "sales")
    assert (status, output) == (0, f"{NUMBER} is set up like this already; nothing was changed.\n")
    assert len([each for each in server.asked if each.method == "POST"]) == sent == 1


async def test_numbers_are_listed(server: TwilioRestServer, environ: dict[str, str]) -> None:
    """Each with where its calls go, whoever has them."""
    server.numbers.add("+15550100001", voice_url=f"{BASE}/voice/incoming?agent=sales")
    server.numbers.add("+15550100002", trunk_sid="TK" + "1" * 32)
    server.numbers.add("+15550100003", voice=False)
    server.numbers.add("+15550100004", voice_url="")
    server.numbers.add("+15550100005", voice_url="https://other/x", voice_method="GET")
    status, output, errors = await invoke(environ, "number", "list")
    assert (status, errors) == (0, "")
    assert output.splitlines() == [
        f"+15550100001  {BASE}/voice/incoming?agent=sales (POST)  this relay",
        f"+15550100002  trunk TK{'1' * 32}",
        "+15550100003  takes no calls (no Voice capability)",
        "+15550100004  nowhere: no voice URL",
        "+15550100005  https://other/x (GET)",
    ]


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, 20003, "TWILIO_ACCOUNT_SID, TWILIO_API_KEY and TWILIO_API_SECRET"),
        (401, 70051, "permissions to read and update Phone Numbers"),
        (403, 20403, "suspended"),
        (403, 20005, "permissions to read and update Phone Numbers"),
        (404, 20404, "TWILIO_API_BASE"),
        (400, 21502, "21502"),
        (503, 0, "status.twilio.com"),
    ],
)
async def test_a_refusal_names_what_mends_it(
    server: TwilioRestServer, environ: dict[str, str], status: int, code: int, words: str
) -> None:
    """One sentence on standard error, status 1."""
    server.numbers.add(NUMBER)
    server.fail, server.for_good = [(status, code)], True
    exit_status, output, errors = await invoke(environ, "number", "connect")
    assert (exit_status, output, len(errors.splitlines())) == (1, "", 1)
    assert words in errors and NUMBER not in errors


async def test_twilio_is_not_there(environ: dict[str, str]) -> None:
    """The network, or the setting that points elsewhere."""
    environ["TWILIO_API_BASE"] = "http://127.0.0.1:1"
    status, _, errors = await invoke(environ, "number", "connect")
    assert status == 1
    assert errors == ("relay: Twilio was not reached (ClientConnectorError). Check the network and TWILIO_API_BASE.\n")


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("PUBLIC_URL", "PUBLIC_URL is missing"),
        ("TWILIO_ACCOUNT_SID", "TWILIO_ACCOUNT_SID is missing"),
        ("TWILIO_API_KEY TWILIO_API_SECRET", "TWILIO_AUTH_TOKEN (or TWILIO_API_KEY) is missing"),
        ("TWILIO_PHONE_NUMBER", "Which number? The account has +15550100001, +15550100002."),
    ],
)
async def test_what_is_missing_is_named(
    server: TwilioRestServer, environ: dict[str, str], missing: str, words: str
) -> None:
    """And nothing is changed."""
    server.numbers.add("+15550100001")
    server.numbers.add("+15550100002")
    for name in missing.split():
        del environ[name]
    status, _, errors = await invoke(environ, "number", "connect")
    assert status == 1 and words in errors
    assert all(each.method == "GET" for each in server.asked)


async def test_usage(environ: dict[str, str]) -> None:
    """Setting nothing is none; an agent there is not answers no number."""
    assert (await invoke(environ, "number", "set", NUMBER))[0] == 2
    status, _, errors = await invoke(environ, "number", "connect", "--agent", "nobody")
    assert status == 1 and "no agent nobody" in errors
