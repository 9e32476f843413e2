"""The parts of ``relay dev`` that need no server: what ngrok says, a tunnel's life, edits, what the parent imports."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from commands.dev.ngrok import Opened, Trouble, read
from commands.dev.tunnel import Tunnel
from commands.dev.watch import Watch
from tests.commands.developing import World
from tests.commands.serving import INHERITED
from tests.fakes import ngrok

TOKEN = "2abcDEFghiJKLmnoPQRstuVWXyz_1234567890abcdefg"
BAD_TOKEN = (
    "The authtoken you specified does not look like a proper ngrok authtoken.\n"
    f"Your authtoken: {TOKEN}\nInstructions are on your ngrok dashboard.\r\n\r\nERR_NGROK_105\r\n"
)


def line(**words: object) -> str:
    return json.dumps({"t": "2026-11-30T12:00:00+0000", **words})


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (line(lvl="info", msg="started tunnel", url="https://a.ngrok.app"), Opened("https://a.ngrok.app")),
        (line(lvl="info", msg="started tunnel", url="http://a.ngrok.app"), None),
        (line(lvl="info", msg="starting web service", obj="web", addr="127.0.0.1:4040"), None),
        (line(lvl="warn", msg="failed to check for update", err="Post ...: EOF"), None),
        (
            line(lvl="eror", msg="failed to reconnect session", err="dial tcp: i/o timeout"),
            Trouble("dial tcp: i/o timeout"),
        ),
        (line(lvl="eror", msg="session closing", err="<nil> authtoken: 2abc"), None),
        ("not JSON at all", None),
        ("[1]", None),
    ],
)
def test_what_ngrok_says(said: str, meant: Opened | Trouble | None) -> None:
    """An https address, and errors in one line; the rest does not matter."""
    assert read(said) == meant


@pytest.mark.parametrize(
    ("said", "wanted", "final"),
    [
        (line(lvl="eror", msg="failed to auth", err=BAD_TOKEN), "NGROK_AUTHTOKEN", True),
        ("ERROR:  ERR_NGROK_4018", "NGROK_AUTHTOKEN", True),
        ("ERROR:  ERR_NGROK_108", "dashboard.ngrok.com/agents", False),
        ("ERROR:  ERR_NGROK_334", "dashboard.ngrok.com/endpoints", False),
        ("ERROR:  ERR_NGROK_121", "ngrok update", True),
        ("ERROR:  ERR_NGROK_8012", "ngrok.com/docs/errors/err_ngrok_8012", False),
    ],
)
def test_errors_with_a_number(said: str, wanted: str, final: bool) -> None:
    """They are answered with what mends them, or where it is told; never with ngrok's words, which have the token."""
    trouble = read(said)
    assert isinstance(trouble, Trouble)
    assert wanted in trouble.sentence and trouble.final is final
    assert TOKEN not in trouble.sentence


class Heard:
    """What a tunnel tells."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.sentences: list[str] = []
        self._news = asyncio.Event()

    def url(self, url: str) -> None:
        self.urls.append(url)
        self._news.set()

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)
        self._news.set()

    async def until(self, urls: int = 0, sentences: int = 0) -> None:
        async with asyncio.timeout(20):
            while len(self.urls) < urls or len(self.sentences) < sentences:
                self._news.clear()
                await self._news.wait()


async def test_a_token_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not mend itself is said once, with what to do, and is not tried again."""
    world, heard = World(tmp_path), Heard()
    (world.ngrok / "fail").write_text(BAD_TOKEN)
    monkeypatch.setenv("FAKE_NGROK", str(world.ngrok))
    async with Tunnel((sys.executable, ngrok.__file__, "http", "127.0.0.1:1"), heard.url, heard.say) as tunnel:
        async with asyncio.timeout(20):
            await tunnel.ended.wait()
    [sentence] = heard.sentences
    assert "is given up" in sentence and TOKEN not in sentence


async def test_trouble_that_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may mend itself is said once, however often it is met, and tried again until the tunnel is there."""
    world, heard = World(tmp_path), Heard()
    failure = world.ngrok / "fail"
    failure.write_text("dial tcp: i/o timeout")
    world.address("https://late.ngrok.app")
    monkeypatch.setenv("FAKE_NGROK", str(world.ngrok))
    async with Tunnel((sys.executable, ngrok.__file__, "http", "127.0.0.1:1"), heard.url, heard.say):
        await heard.until(sentences=1)
        failure.unlink()
        await heard.until(urls=1)
        pid, _ = world.tunnel()
    assert heard.urls == ["https://late.ngrok.app"]
    assert heard.sentences == ["the tunnel has trouble: dial tcp: i/o timeout"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_program_that_cannot_be_run(tmp_path: Path) -> None:
    """An ngrok that is no program is a sentence."""
    heard = Heard()
    async with Tunnel((str(tmp_path / "ngrok"),), heard.url, heard.say) as tunnel:
        async with asyncio.timeout(20):
            await tunnel.ended.wait()
    assert "cannot be run" in heard.sentences[0]


def test_the_package_ends_with_us(tmp_path: Path) -> None:
    """The program made of the package says what ngrok would, and ends when its standard input does."""
    world = World(tmp_path)
    world.package()
    world.address("https://packed.ngrok.app")
    environ = {**INHERITED, **world.environ}
    command = [sys.executable, "-m", "commands.dev.ngrok_package", "127.0.0.1:1"]
    done = subprocess.run(command, env=environ, input="", capture_output=True, text=True, timeout=30)
    assert (done.returncode, read(done.stdout)) == (0, Opened("https://packed.ngrok.app"))
    del environ["NGROK_AUTHTOKEN"]
    done = subprocess.run(command, env=environ, input="", capture_output=True, text=True, timeout=30)
    trouble = read(done.stdout)
    assert done.returncode == 1 and isinstance(trouble, Trouble) and "4018" in trouble.sentence


async def test_edits_are_told_in_bursts(tmp_path: Path) -> None:
    """Files that change together are told once, by name, and so are new and removed ones; what a running server reads
    by itself is not."""
    room = tmp_path / "relay"
    room.mkdir()
    for name in ("one.py", "two.lua", "notes.md"):
        (room / name).write_text("1")
    bursts: asyncio.Queue[list[Path]] = asyncio.Queue()
    watch = Watch(tmp_path, (tmp_path / ".env",), bursts.put_nowait, every=0.05)
    running = asyncio.create_task(watch.run())

    async def burst() -> list[str]:
        async with asyncio.timeout(20):
            return [file.name for file in await bursts.get()]

    for name in ("one.py", "two.lua", "notes.md"):
        (room / name).write_text("22")
    assert await burst() == ["one.py", "two.lua"]
    (room / "one.py").unlink()
    (tmp_path / ".env").write_text("PORT=1")
    assert await burst() == [".env", "one.py"]
    running.cancel()
    await asyncio.wait([running])
    assert bursts.empty()


def test_the_parent_outlives_what_is_edited() -> None:
    """It imports neither a web framework nor clients, nor the parts that are edited."""
    code = "import sys, commands.dev.command; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {"aiohttp", "redis", "openai", "twilio", "handlers", "tools", "channels", "phone"} & set(loaded)
