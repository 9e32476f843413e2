"""What a log record may say of an error."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Literal

import pytest
import structlog

from config.values import CHECKOUT
from relay.logs import Current

PROGRAM = """
import logging, sys
import structlog
from relay.logs import configure_logging

configure_logging(sys.argv[1], sys.argv[2])

def fail(words):
    try:
        raise KeyError(words)
    except KeyError as error:
        raise ExceptionGroup("together", [ValueError(words)]) from error

for log in (structlog.get_logger(), logging.getLogger("aiohttp.server")):
    try:
        fail("the caller's secret")
    except ExceptionGroup:
        log.error("went wrong", exc_info=True)
"""


def printed(level: str, fmt: Literal["json", "text"]) -> str:
    command = [sys.executable, "-W", "error", "-c", PROGRAM, level, fmt]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout


def records(level: str) -> list[str]:
    return [line for line in printed(level, "json").splitlines() if line.startswith("{")]


@pytest.mark.parametrize("fmt", ["json", "text"])
def test_an_error_is_logged_without_its_message(fmt: Literal["json", "text"]) -> None:
    """A record tells the kind of every error and where it happened, in ours and in libraries' logs; not its message,
    and not the values of variables."""
    text = printed("info", fmt)
    assert text.count("went wrong") == 2
    for name in ("KeyError", "ExceptionGroup", "ValueError"):
        assert text.count(name) >= 2
    assert "in fail" in text
    assert "secret" not in text


def test_what_a_client_offers_is_not_repeated() -> None:
    """A subprotocol that is not ours may be a ticket."""
    program = (
        "import logging; from relay.logs import configure_logging; configure_logging();"
        "logging.getLogger('aiohttp.websocket').warning('Client protocols %r', ['a ticket'])"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert (told.stdout, told.stderr) == ("", "")


@pytest.mark.parametrize("fmt", ["json", "text"])
def test_debug_shows_the_message(fmt: Literal["json", "text"]) -> None:
    """Who asks for debug gets the message too; not those of libraries, which repeat what they were sent."""
    ours, libraries = re.split("went wrong", printed("debug", fmt))[1:] if fmt == "text" else records("debug")
    assert "secret" in ours
    assert "secret" not in libraries and "KeyError" in libraries


@pytest.mark.parametrize(
    "render", [structlog.processors.JSONRenderer(), structlog.dev.ConsoleRenderer(colors=False)], ids=["json", "text"]
)
def test_a_name_that_changes(render: structlog.typing.Processor) -> None:
    """A record tells the name of its moment, whatever task has bound it before."""
    name = Current("desk")
    event = {"event": "told", "agent": name}
    before = str(render(None, "info", dict(event)))
    name.become("kitchen")
    after = str(render(None, "info", dict(event)))
    assert ("desk" in before, "kitchen" in after, "Current" in before + after) == (True, True, False)
