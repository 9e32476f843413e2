"""``relay call`` as a command: options, settings, exit status, and a real terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
from pathlib import Path

import pytest
from twilio.request_validator import RequestValidator

from commands.call import dial
from config.settings import Settings, load_settings
from phone.caller import FAST, CallRefused
from phone.script_file import parse_script
from relay.frames import End, Incoming, Interrupt, Prompt
from tests.fakes.echo_app import EchoApp, Wire
from tests.running import running, write_agent

COMMAND = (sys.executable, "-m", "commands.main", "call")


def settings(**values: str) -> Settings:
    return load_settings(env_file=None, environ=values)


async def run(*options: str, given: str = "") -> tuple[int | None, str, str]:
    """The command in a process of its own, in pipes: (exit status, output, errors)."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *options, stdin=-1, stdout=-1, stderr=-1, env=os.environ | {"TERM": "xterm"}
    )
    async with asyncio.timeout(30):
        out, errors = await process.communicate(given.encode())
    return process.returncode, out.decode(), errors.decode()


async def test_a_script_in_a_pipe() -> None:
    """The transcript on standard output, nothing else, no control codes, status 0."""
    async with EchoApp(welcomeGreeting="Hello.") as app:
        status, out, errors = await run("--url", app.url + "/", "--script", "-", given="one\n\n// remark\ntwo\n")
    lines = [line.split(" (")[0] for line in out.splitlines()]
    assert lines == [
        "agent> Hello.",
        "you> one",
        "agent> You said: one.",
        "you> two",
        "agent> You said: two.",
        "* you hung up",
    ]
    assert (status, errors) == (0, "")
    assert "\x1b" not in out and "\r" not in out
    assert app.actions[0]["SessionStatus"] == "completed"


async def test_a_script_file_and_a_turn_without_words(tmp_path: Path) -> None:
    """A script can be a file; status 1 when a line brought no words. Options reach the app."""

    async def leave(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt):
            await wire.send(End())

    script = tmp_path / "script.txt"
    script.write_text("hello\n")
    async with EchoApp(leave, answers=("<Dial>+15550009</Dial>",)) as app:
        options = ("--url", app.url, "--script", str(script), "--agent", "spa", "--from", "+15550123")
        status, out, errors = await run(*options)
    assert (status, errors) == (1, "")
    assert out.splitlines() == ["you> hello", "* no words came", "* transferred to +15550009"]
    path, _, fields = app.requests[0]
    assert (path, fields["From"]) == ("/voice/incoming?agent=spa", "+15550123")


async def test_a_refused_call_is_one_sentence() -> None:
    """A 403 says what to compare; no traceback, status 1."""
    async with EchoApp(voice_status=403) as app:
        status, out, errors = await run("--url", app.url, given="hello\n")
    assert (status, out) == (1, "")
    assert errors == (
        "relay: The server did not take the call: /voice/incoming answered 403. "
        "Are PUBLIC_URL and TWILIO_AUTH_TOKEN here the same as the server's?\n"
    )


async def test_calls_are_signed_by_the_settings() -> None:
    """PUBLIC_URL and the first token sign; account and number are those of the settings."""
    public, account = "https://relay.example.com", "AC" + "a" * 32
    values = settings(
        PUBLIC_URL=public,
        TWILIO_AUTH_TOKEN="first,second",
        TWILIO_ACCOUNT_SID=account,
        TWILIO_PHONE_NUMBER="+15550100200",
    )
    async with EchoApp(public=public) as app:
        assert await dial(values, "", app.url, "+15550123", parse_script("hello\n"), FAST) == 0
    for path, headers, fields in app.requests:
        scheme = "wss://" if path == "/voice/relay" else "https://"
        signature = {name.lower(): value for name, value in headers.items()}["x-twilio-signature"]
        assert RequestValidator("first").validate(f"{scheme}relay.example.com{path}", fields, signature)
    fields = app.requests[0][2]
    assert (fields["AccountSid"], fields["To"]) == (account, "+15550100200")


async def test_the_default_address_is_the_port_of_the_settings() -> None:
    """Without --url the server on 127.0.0.1:$PORT is called."""
    async with EchoApp() as app:
        values = settings(PORT=str(app.server.port))
        assert await dial(values, "", "", "+15550123", parse_script("hello\n"), FAST) == 0


async def test_another_agent_than_the_one_asked_for_is_told(
    redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name nobody bears is answered by the default agent; the caller learns why."""
    async with running(redis_url, tmp_path / "data", agents=write_agent(tmp_path / "agents")) as relay:
        assert await dial(settings(), "nobody", relay.url, "+15550123", [], FAST) == 0
        assert "* there is no agent nobody there: default answers" in capsys.readouterr().out
        assert await dial(settings(), "default", relay.url, "+15550123", [], FAST) == 0
        assert "no agent" not in capsys.readouterr().out


async def test_refusal_from_a_document() -> None:
    """A document Twilio would refuse is told with Twilio's code."""
    async with EchoApp(interruptible="perhaps") as app:
        with pytest.raises(CallRefused, match="64101"):
            await dial(settings(), "", app.url, "+15550123", [], FAST)


class Terminal:
    """The command at a real terminal."""

    def __init__(self, main: int, process: asyncio.subprocess.Process) -> None:
        self._main = main
        self.process = process
        self.seen = ""
        self._more = asyncio.Event()

    @classmethod
    async def open(cls, *options: str, **environ: str) -> Terminal:
        main, terminal = pty.openpty()
        env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm", "COLUMNS": "30"} | environ
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *options, stdin=terminal, stdout=terminal, stderr=terminal, env=env, start_new_session=True
        )
        os.close(terminal)
        self = cls(main, process)
        asyncio.get_running_loop().add_reader(main, self._read)
        return self

    def _read(self) -> None:
        try:
            data = os.read(self._main, 4096)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._main)
        self.seen += data.decode()
        self._more.set()

    def type(self, text: str) -> None:
        os.write(self._main, text.encode())

    async def see(self, text: str) -> None:
        async with asyncio.timeout(20):
            while text not in self.seen:
                self._more.clear()
                await self._more.wait()

    async def end(self) -> int:
        async with asyncio.timeout(20):
            status = await self.process.wait()
        asyncio.get_running_loop().remove_reader(self._main)
        os.close(self._main)
        return status


async def test_talking_at_a_terminal() -> None:
    """Typed words are said, typing over speech interrupts it, Ctrl-D hangs up with status 0; the prompt is redrawn."""
    async with EchoApp() as app:
        terminal = await Terminal.open("--url", app.url)
        await terminal.see("you> ")
        terminal.type("a rather long sentence to say again\n")
        await terminal.see("said:")
        terminal.type("stop\n")
        await terminal.see("stop.")
        await terminal.see(" s)")
        terminal.type("\x04")
        await terminal.see("hung")
        assert await terminal.end() == 0
    assert [f.voice_prompt for f in app.frames if isinstance(f, Prompt)] == [
        "a rather long sentence to say again",
        "stop",
    ]
    assert sum(isinstance(f, Interrupt) for f in app.frames) == 1
    assert "\x1b[1m" in terminal.seen and "Traceback" not in terminal.seen


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_hangs_up(number: int, status: int) -> None:
    """Ctrl-C and SIGTERM in the middle of speech hang up in order, without a traceback; NO_COLOR is honoured."""
    async with EchoApp(welcomeGreeting="A greeting that goes on for quite some time, as they do.") as app:
        terminal = await Terminal.open("--url", app.url, NO_COLOR="1")
        await terminal.see("greeting")
        terminal.process.send_signal(number)
        assert await terminal.end() == status
        assert app.actions[0]["SessionStatus"] == "completed"
    assert "Traceback" not in terminal.seen and "\x1b[1m" not in terminal.seen
