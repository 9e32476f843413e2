"""``relay call``: a terminal phone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TextIO

import click

from commands.local_server import server_at
from config.settings import Settings, load_settings
from phone.caller import BadTwiml, Caller, CallRefused, Pace
from phone.keyboard import Keyboard
from phone.screen import Screen
from phone.script_file import Step, parse_script
from phone.terminal import describe, play, talk

SCRIPT_SPEED = 10.0
HINTS = {
    403: "Are PUBLIC_URL and TWILIO_AUTH_TOKEN here the same as the server's?",
    404: "Is there an agent of that name, and does the server have TWILIO_AUTH_TOKEN when it has PUBLIC_URL?",
}


@click.command()
@click.option("--agent", default="", metavar="NAME", help="The agent to call; the server's default one if left out.")
@click.option("--url", default="", help="Where the server listens; http://127.0.0.1:$PORT if left out.")
@click.option("--from", "from_", default="+15555550100", metavar="NUMBER", help="The caller's number.")
@click.option(
    "--script",
    type=click.File(encoding="utf-8"),
    help="A written call, one line a turn; - reads it from standard input.",
)
@click.option("--pace", is_flag=True, help="Play a written call at the speed of speech.")
def call(agent: str, url: str, from_: str, script: TextIO | None, pace: bool) -> None:
    """Call an agent and talk to it by typing.

    Enter with text while it speaks interrupts it. #5 presses a key, #12* several. /quit or Ctrl-D hangs up. If no
    server answers, one is started for the call.

    In a script, "! text" interrupts the reply to the line before and lines that begin with // are skipped. The exit
    status is 1 when a line brought no words. Standard input that is not a terminal is read as a script.
    """
    settings = load_settings()
    if script is None and not sys.stdin.isatty():
        script = sys.stdin
    steps = None if script is None else parse_script(script.read())
    speed = SCRIPT_SPEED if steps is not None and not pace else 1.0
    try:
        status = asyncio.run(dial(settings, agent, url, from_, steps, Pace(speed=speed)))
    except KeyboardInterrupt:
        status = 130
    except asyncio.CancelledError:
        status = 143
    sys.exit(status)


async def dial(settings: Settings, agent: str, url: str, from_: str, steps: list[Step] | None, pace: Pace) -> int:
    """Returns the exit status. A cancel (Ctrl-C, SIGTERM, the terminal closed) hangs up before it goes on its way."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    base = url.rstrip("/") or f"http://127.0.0.1:{settings.port}"
    terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    live = terminal and steps is None
    screen = Screen(sys.stdout, live=live, colour=terminal and not os.environ.get("NO_COLOR"))
    async with server_at(base) as started:
        if started:
            screen.note("no server was running: one was started for this call")
        phone = Caller(
            base,
            agent=agent,
            public_url=settings.public_url or "",
            token=settings.twilio_auth_token[0].get_secret_value() if settings.twilio_auth_token else "",
            account_sid=settings.twilio_account_sid or "AC" + "0" * 32,
            from_=from_,
            to=settings.twilio_phone_number or "+15555550199",
            pace=pace,
            listen=screen.show,
        )
        try:
            async with phone:
                if agent and phone.answering not in ("", agent):
                    screen.note(f"there is no agent {agent} there: {phone.answering} answers")
                good = await _conduct(phone, screen, steps, live)
        except (CallRefused, BadTwiml) as error:
            status = error.status if isinstance(error, CallRefused) else 0
            hint = f" {HINTS[status]}" if status in HINTS else ""
            raise CallRefused(f"The server did not take the call: {error}.{hint}", status) from error
        return 0 if good else 1


async def _conduct(phone: Caller, screen: Screen, steps: list[Step] | None, live: bool) -> bool:
    try:
        if steps is not None:
            good = await play(phone, screen, steps)
        else:
            with Keyboard(sys.stdin.fileno(), screen, live=live) as keyboard:
                good = (await talk(phone, screen, keyboard)).how != "lost"
    except asyncio.CancelledError:
        try:
            await phone.hang_up(timeout=3)
        except (TimeoutError, ConnectionError):
            pass
        raise
    if phone.outcome is not None:
        screen.note(describe(phone.outcome))
    return good
