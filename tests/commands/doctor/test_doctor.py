"""``relay doctor`` as an operator meets it: what it prints, its exit status, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from commands.doctor.plan import NAMES
from handlers.health import AWAY, READY
from phone.model import ModelServer
from tests.calls.front import Front
from tests.commands.invoking import invoke
from tests.commands.serving import DEADLINE, INHERITED, RELAY, serving
from tests.fakes.dialogflow_server import DialogflowServer
from tests.fakes.twilio_rest import NUMBER, SECRET, TOKEN, TwilioRestServer, twilio_rest
from tests.running import running, write_agent

KEY = "sk-the-models-key"
MODEL = "gpt-5.4-mini"


@dataclass
class House:
    """Everybody a relay has to do with, and the settings with which all is well. ``environ`` may be changed."""

    front: Front
    model: ModelServer
    twilio: TwilioRestServer
    environ: dict[str, str]

    async def look(self) -> tuple[int, dict[str, dict[str, str]]]:
        """Exit status and the findings by name."""
        status, output, errors = await invoke(self.environ, "doctor", "--json")
        assert errors == ""
        return status, findings(output, good=status == 0)


def findings(output: str, *, good: bool) -> dict[str, dict[str, str]]:
    told = json.loads(output)
    assert told["ok"] is good
    assert [each.keys() for each in told["checks"]] == [{"name", "status", "detail", "fix"}] * len(NAMES)
    assert tuple(each["name"] for each in told["checks"]) == NAMES
    return {each.pop("name"): each for each in told["checks"]}


def seconds(detail: str) -> int:
    """Those by which a clock is behind; 0 for none."""
    told = re.search(r"(\d+) s behind Twilio", detail)
    return int(told[1]) if told else 0


def of(found: dict[str, dict[str, str]], status: str) -> list[str]:
    return [name for name, each in found.items() if each["status"] == status]


@asynccontextmanager
async def in_order(
    redis_url: str, folder: Path, server_tls: ssl.SSLContext, authority_file: Path
) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        front = await stack.enter_async_context(Front(tls=server_tls))
        model = await stack.enter_async_context(ModelServer(key=KEY, models={MODEL, "gpt-6"}))
        twilio = await stack.enter_async_context(twilio_rest())
        dialogflow = await stack.enter_async_context(DialogflowServer())
        agents = write_agent(folder / "agents", 'greeting = "Hi"\nengine = "dialogflow"', "bot")
        twilio.numbers.add(
            NUMBER,
            voice_url=f"{front.url}/voice/incoming",
            voice_fallback_url=f"{front.url}/voice/fallback",
            status_callback=f"{front.url}/voice/status",
        )
        environ = {
            **twilio.environ,
            "TWILIO_AUTH_TOKEN": TOKEN,
            "PUBLIC_URL": front.url,
            "HOST": "127.0.0.1",
            "SSL_CERT_FILE": str(authority_file),
            "REDIS_URL": redis_url,
            "DATA_DIR": str(folder / "data"),
            "AGENTS_DIR": str(write_agent(agents, 'greeting = "Hi"\ntools = ["end_call"]')),
            "DIALOGFLOW_PROJECT": "proj",
            "DIALOGFLOW_ENDPOINT": dialogflow.endpoint,
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": model.url,
            "OPENAI_MODEL": MODEL,
            "OPENAI_FALLBACK_MODEL": "gpt-6",
        }
        yield House(front, model, twilio, environ)


@pytest.fixture
async def house(
    redis_url: str, redis: Redis, tmp_path: Path, server_tls: ssl.SSLContext, authority_file: Path
) -> AsyncIterator[House]:
    """With a relay in this process behind the proxy."""
    async with in_order(redis_url, tmp_path, server_tls, authority_file) as house:
        environ = {name: value for name, value in house.environ.items() if not name.startswith(("OPENAI", "REDIS"))}
        agents = Path(environ["AGENTS_DIR"])
        async with running(redis_url, tmp_path / "data", agents=agents, environ=environ) as relay:
            house.front.fail_over(relay.url)
            yield house


WARNED = ["public URL", "addendum"]
"""What a house on loopback is told where all is well."""


async def reaches_all(url: str) -> None:
    """The relay at this address has found its model and its Redis: on a busy machine not before it listens."""
    async with asyncio.timeout(DEADLINE), aiohttp.ClientSession() as http:
        while True:
            async with http.get(url + READY) as answer:
                if AWAY not in (await answer.json()).values():
                    return
            await asyncio.sleep(0.05)


async def test_a_relay_in_order(
    redis_url: str,
    redis: Redis,
    tmp_path: Path,
    server_tls: ssl.SSLContext,
    authority_file: Path,
) -> None:
    """Both as processes. Nothing has failed, the status is 0, nothing is left in Redis, and no secret is shown."""
    async with in_order(redis_url, tmp_path, server_tls, authority_file) as house:
        async with serving(tmp_path / "data", cwd=tmp_path, **house.environ) as server:
            house.front.fail_over(server.url)
            await reaches_all(server.url)
            process = await asyncio.create_subprocess_exec(
                RELAY, "doctor", "--json", cwd=tmp_path, env=INHERITED | house.environ, stdout=-1, stderr=-1
            )
            async with asyncio.timeout(DEADLINE):
                output, errors = await process.communicate()
            assert (process.returncode, errors) == (0, b"")
            found = findings(output.decode(), good=True)
            assert of(found, "warning") == WARNED
            assert of(found, "ok") == [name for name in NAMES if name not in WARNED]
            assert await redis.keys("conversation*") == []
            await server.stop(signal.SIGTERM)
            assert "Traceback" not in server.output
        for secret in (KEY, TOKEN, SECRET, NUMBER, NUMBER[1:]):
            assert secret not in output.decode()


async def test_the_same_in_this_process(house: House) -> None:
    """As the following tests look."""
    status, found = await house.look()
    assert (status, of(found, "warning"), of(found, "failed"), of(found, "skipped")) == (0, WARNED, [], [])


async def test_a_relay_that_does_not_run(house: House, unused_tcp_port: int) -> None:
    """What depends on it is skipped, and everything else looked at."""
    house.front.fail_over(f"http://127.0.0.1:{unused_tcp_port}")
    status, found = await house.look()
    assert (status, of(found, "failed"), of(found, "skipped")) == (1, ["relay"], ["signature", "websocket"])
    assert found["websocket"]["detail"] == "It needs: signature."
    assert "relay serve" in found["relay"]["fix"]


@pytest.mark.parametrize(
    ("changed", "failed", "skipped", "words"),
    [
        ({"TWILIO_AUTH_TOKEN": ""}, ["signature"], ["websocket"], "Set TWILIO_AUTH_TOKEN."),
        ({"TWILIO_API_SECRET": "no"}, ["Twilio account"], ["number"], "TWILIO_API_KEY and TWILIO_API_SECRET"),
        ({"OPENAI_MODEL": "gpt-0"}, ["model"], [], "it has gpt-5.4-mini, gpt-6"),
        ({"OPENAI_FALLBACK_MODEL": "gpt-0"}, ["fallback model"], [], "OPENAI_FALLBACK_MODEL"),
        ({"OPENAI_FALLBACK_API_KEY": "no"}, ["fallback model"], [], "OPENAI_FALLBACK_API_KEY"),
        ({"OPENAI_API": "chat", "OPENAI_TRANSPORT": "websocket"}, ["model"], [], "OPENAI_API=responses"),
        ({"DEFAULT_AGENT": "nobody"}, ["agents"], [], "DEFAULT_AGENT: there is no agent nobody"),
        ({"CHAT_AGENT": "nobody"}, ["agents"], [], "CHAT_AGENT: there is no agent nobody"),
        (
            {"DIALOGFLOW_ENDPOINT": "http://127.0.0.1:1"},
            ["Dialogflow"],
            [],
            "127.0.0.1:1 cannot be reached (UNAVAILABLE)",
        ),
        ({"AGENTS_DIR": "/nowhere"}, ["agents"], ["Dialogflow"], "/nowhere is not a folder"),
        ({"SSL_CERT_FILE": ""}, ["TLS"], ["relay", "signature", "websocket"], "known authority"),
    ],
)
async def test_one_thing_is_wrong(
    house: House, changed: dict[str, str], failed: list[str], skipped: list[str], words: str
) -> None:
    """It alone fails, and what needs it is skipped."""
    house.environ.update(changed)
    status, found = await house.look()
    assert (status, of(found, "failed"), of(found, "skipped")) == (1, failed, skipped)
    told = found[failed[0]]
    assert words in told["detail"] + told["fix"]


async def test_an_agents_own_model(house: House) -> None:
    """It is looked for as well; OPENAI_MODEL is not where nobody uses it."""
    write_agent(Path(house.environ["AGENTS_DIR"]), 'greeting = "Hi"\nmodel = "gpt-0"')
    house.environ["OPENAI_MODEL"] = "gpt-1"
    _, found = await house.look()
    assert "has no model gpt-0" in found["model"]["detail"] and "agent's model" in found["model"]["fix"]
    write_agent(Path(house.environ["AGENTS_DIR"]), 'greeting = "Hi"\nmodel = "gpt-6"')
    assert (await house.look())[1]["model"]["status"] == "ok"


async def test_an_agent_that_is_wrong(house: House) -> None:
    """Its mistakes are those of ``relay agents check``."""
    write_agent(Path(house.environ["AGENTS_DIR"]), 'tools = ["fly"]')
    status, found = await house.look()
    assert (status, of(found, "failed"), found["agents"]["fix"]) == (1, ["agents"], "relay agents check")
    assert "there is no tool named 'fly'" in found["agents"]["detail"]


async def test_a_wrong_clock(house: House) -> None:
    """Twilio's answers tell."""
    house.twilio.ahead = 3600.0
    status, found = await house.look()
    assert (status, of(found, "failed")) == (1, ["clock"])
    assert 3500 < seconds(found["clock"]["detail"]) <= 3601


async def test_settings_that_cannot_be_read(house: House) -> None:
    """All that is wrong at once; nothing else is looked at, but for what is never looked at."""
    house.environ |= {"PORT": "many", "PUBLIC_URL": "http://relay.example.com"}
    status, found = await house.look()
    assert (status, of(found, "failed")) == (1, ["settings"])
    assert of(found, "skipped") == list(NAMES[1:-1])
    assert "PORT must be" in found["settings"]["detail"] and "PUBLIC_URL must" in found["settings"]["detail"]


async def test_the_embedded_server_on_a_platform(house: House) -> None:
    """There may be more machines than this one."""
    del house.environ["REDIS_URL"]
    house.environ |= {"FLY_APP_NAME": "relay"}
    status, found = await house.look()
    assert (status, found["Redis"]["status"]) == (0, "warning") and "Fly" in found["Redis"]["detail"]


async def test_nothing_is_set_up(tmp_path: Path) -> None:
    """A fresh checkout: nothing has failed, and what is to be set is said."""
    agents = str(write_agent(tmp_path / "agents", 'greeting = "Hi"'))
    status, output, _ = await invoke({"DATA_DIR": str(tmp_path / "data"), "AGENTS_DIR": agents}, "doctor")
    assert status == 0 and "failed" not in output and "\x1b" not in output
    for name in ("OPENAI_API_KEY", "PUBLIC_URL", "TWILIO_ACCOUNT_SID", "Addendum"):
        assert re.search(rf"fix: .*{name}", output), name
    assert output.splitlines()[-1] == "  4 ok, 4 warning, 9 skipped."


async def test_tokens_that_can_be_guessed(tmp_path: Path) -> None:
    """Each is named with why, and what makes a better one; neither is shown."""
    environ = {"DATA_DIR": str(tmp_path / "data"), "AGENTS_DIR": str(write_agent(tmp_path / "agents"))}
    weak = {"DASHBOARD_TOKEN": "sesame", "METRICS_TOKEN": "dashboard-dashboard"}
    status, output, _ = await invoke({**environ, **weak}, "doctor", "--json")
    (told,) = [each for each in json.loads(output)["checks"] if each["name"] == "tokens"]
    assert (status, told["status"]) == (0, "warning") and "openssl rand -hex 32" in told["fix"]
    for name, why in {"DASHBOARD_TOKEN": "is shorter than 16", "METRICS_TOKEN": "is easy to guess"}.items():
        assert f"{name} {why}" in told["detail"] and weak[name] not in told["detail"]


async def test_usage() -> None:
    """An option there is not is status 2."""
    assert (await invoke({}, "doctor", "--yaml"))[0] == 2


async def test_on_a_terminal(tmp_path: Path) -> None:
    """What is being looked at is shown while it is, and taken away; the table is coloured and keeps to the width."""
    environ = {
        **INHERITED,
        "DATA_DIR": str(tmp_path / "data"),
        "AGENTS_DIR": str(write_agent(tmp_path / "agents", 'greeting = "Hi"')),
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "TERM": "xterm",
        "COLUMNS": "80",
    }
    ours, theirs = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            RELAY, "doctor", cwd=tmp_path, env=environ, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        shown = await asyncio.wait_for(asyncio.to_thread(read_all, ours), DEADLINE)
        assert await process.wait() == 1
    finally:
        os.close(ours)
    assert "looking at: " in shown and "\x1b[31mfailed" in shown and "\x1b[32mok" in shown
    table = shown[shown.rindex("\r\x1b[K") :].replace("\r\x1b[K", "")
    assert "looking at" not in table
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in table.splitlines()]
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("  failed   Redis") for line in lines)


def read_all(terminal: int) -> str:
    data = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux says so that the other side is closed
            return data.decode()
        if not piece:
            return data.decode()
        data += piece
