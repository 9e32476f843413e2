"""``relay dev`` as a process of its own, with a tunnel and an account that are fakes."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from commands.dev.watch import ROOMS
from config.values import CHECKOUT
from phone.caller import FAST, Caller
from tests.commands.serving import INHERITED, RELAY, Serving, launch
from tests.fakes import ngrok
from tests.fakes.twilio_rest import ACCOUNT, TOKEN, TwilioRestServer

OLD_URL = "https://old.example.com/voice"


class World:
    """What is around ``relay dev``: programs on PATH, and the folder by which the fake ngrok is led."""

    def __init__(self, folder: Path) -> None:
        self._programs = folder / "bin"
        self._programs.mkdir()
        self.ngrok = folder / "ngrok"
        self.ngrok.mkdir()
        self.environ = {
            "FAKE_NGROK": str(self.ngrok),
            # Not the ngrok of whoever runs the tests.
            "PATH": os.pathsep.join([str(self._programs), *_without_ngrok(INHERITED.get("PATH", ""))]),
        }

    def program(self) -> None:
        """There is an ngrok on PATH."""
        file = self._programs / "ngrok"
        file.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {ngrok.__file__} "$@"\n')
        file.chmod(0o755)

    def package(self) -> None:
        """There is an ngrok to be imported."""
        folder = self._programs / "site"
        folder.mkdir()
        shutil.copy(ngrok.__file__, folder / "ngrok.py")
        self.environ |= {"PYTHONPATH": str(folder), "NGROK_AUTHTOKEN": "a-token-of-ngroks"}

    def address(self, url: str) -> None:
        """What the next tunnel is reached by."""
        (self.ngrok / "url").write_text(url)

    def tunnel(self, number: int = 0) -> tuple[int, str]:
        """Process id and entrance of a tunnel that was announced, the first one first."""
        word = json.loads((self.ngrok / f"tunnel-{number}.json").read_text())
        return word["pid"], f"http://127.0.0.1:{word['port']}"


def _without_ngrok(path: str) -> list[str]:
    return [each for each in path.split(os.pathsep) if not os.access(Path(each, "ngrok"), os.X_OK)]


def account(twilio: TwilioRestServer) -> dict[str, str]:
    """The settings of one whose account's number can be connected."""
    return {"TWILIO_API_BASE": twilio.url, "TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN}


def copy_of_checkout(folder: Path) -> Path:
    """The program, to be edited. What is compiled is copied too, and stays good."""
    for room in ROOMS:
        shutil.copytree(CHECKOUT / room, folder / room)
    return folder


@asynccontextmanager
async def developing(
    data_dir: Path, *options: str, cwd: Path, world: World, command: Sequence[str] = (RELAY,), **environ: str
) -> AsyncIterator[Serving]:
    """One that has not begun to serve yet; killed, should it still run afterwards, and its servers with it."""
    # What a killed one leaves behind goes with this folder, whose name is short enough for sockets.
    with TemporaryDirectory(prefix="relay-") as short:
        variables = {**world.environ, "TMPDIR": short, "DRAIN_SECONDS": "20", **environ}
        dev = await launch(data_dir, cwd=cwd, arguments=(*command, "dev", *options), **variables)
        try:
            yield dev
        finally:
            if dev.process.returncode is None:
                dev.process.kill()
            await dev.ended()


async def greeting(url: str, public_url: str = "") -> str:
    """What a call hears first."""
    token = TOKEN if public_url else ""
    async with Caller(url, public_url=public_url, token=token, account_sid=ACCOUNT, pace=FAST) as call:
        return await call.greeting_played()
