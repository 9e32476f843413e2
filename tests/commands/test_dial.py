"""``relay dial``: what it asks Twilio for, and what it says when it cannot. A process of its own where it succeeds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.commands.invoking import invoke
from tests.commands.serving import DEADLINE, INHERITED, RELAY
from tests.fakes.twilio_rest import TwilioRestServer, twilio_rest
from tests.running import write_agent


@pytest.fixture
async def server() -> AsyncIterator[TwilioRestServer]:
    async with twilio_rest() as running:
        yield running


@pytest.fixture
def environ(
    server: TwilioRestServer, redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Everything that is needed, in a folder without a .env file."""
    monkeypatch.chdir(tmp_path)
    return {
        **server.environ,
        "TWILIO_AUTH_TOKEN": "auth",
        "PUBLIC_URL": "https://relay.example.com",
        "OUTBOUND_COUNTRIES": "+1",
        "REDIS_URL": redis_url,
        "DATA_DIR": str(tmp_path / "data"),
        "AGENTS_DIR": str(write_agent(write_agent(tmp_path / "agents"), name="sales")),
    }


async def dial(environ: dict[str, str], cwd: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        RELAY,
        "dial",
        *arguments,
        cwd=cwd,
        env=INHERITED | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, output.decode(), errors.decode()


async def test_an_agent_calls_somebody(server: TwilioRestServer, environ: dict[str, str], tmp_path: Path) -> None:
    """The number may be written as people write it; the sid of the call is printed."""
    status, output, errors = await dial(environ, tmp_path, "+1 (555) 010-0207", "--agent", "sales")
    assert (status, output, errors) == (0, f"CA{1:032x}\n", "")
    (form,) = server.calls()
    assert (form["To"], form["From"]) == ("+15550100207", environ["TWILIO_PHONE_NUMBER"])
    assert form["Url"] == "https://relay.example.com/voice/incoming?agent=sales"


async def test_without_a_redis_of_ones_own(server: TwilioRestServer, environ: dict[str, str]) -> None:
    """The embedded one is used, and the default agent calls; the account's own token will do."""
    for name in ("REDIS_URL", "TWILIO_API_KEY", "TWILIO_API_SECRET"):
        del environ[name]
    status, _, errors = await invoke(environ, "dial", "+15550100207")
    # The server in Twilio's place knows the API key alone, and says so.
    assert (status, errors) == (1, "relay: Twilio did not place the call (its error 20003).\n")


@pytest.mark.parametrize(
    "name",
    ["PUBLIC_URL", "TWILIO_ACCOUNT_SID", "TWILIO_PHONE_NUMBER", "TWILIO_AUTH_TOKEN", "OUTBOUND_COUNTRIES"],
)
async def test_what_is_missing_is_named(server: TwilioRestServer, environ: dict[str, str], name: str) -> None:
    """Before anything is asked of Twilio."""
    del environ[name]
    status, output, errors = await invoke(environ, "dial", "+15550100207")
    assert (status, output) == (1, "")
    assert errors.startswith(f"relay: {name} is missing")
    assert server.asked == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("5550100207",), "E.164"),
        (("+4930123456",), "OUTBOUND_COUNTRIES"),
        (("+15550100207", "--agent", "nobody"), "no agent nobody"),
    ],
)
async def test_what_is_no_call(
    server: TwilioRestServer, environ: dict[str, str], arguments: tuple[str, ...], words: str
) -> None:
    """Said in one sentence."""
    status, output, errors = await invoke(environ, "dial", *arguments)
    assert (status, output, len(errors.splitlines())) == (1, "", 1)
    assert words in errors
    assert server.asked == []


async def test_the_rate_holds_here_too(server: TwilioRestServer, environ: dict[str, str]) -> None:
    """Calls of other processes count."""
    environ["OUTBOUND_PER_MINUTE"] = "1"
    assert (await invoke(environ, "dial", "+15550100207"))[0] == 0
    status, _, errors = await invoke(environ, "dial", "+15550100207")
    assert status == 1 and "OUTBOUND_PER_MINUTE" in errors
    assert len(server.calls()) == 1
