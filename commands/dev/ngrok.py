"""What ngrok says, and how it is started: the program on PATH, or else the ``ngrok`` package.

Read are its log lines (``--log-format=json``), not its local API: port 4040 may be another ngrok's.
Source: ngrok.com/docs/errors, ngrok.com/docs/agent/cli.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from dataclasses import dataclass

from config.values import CHECKOUT

DASHBOARD = "https://dashboard.ngrok.com"
GET_ONE = (
    "no tunnel, for there is no ngrok: get it from https://ngrok.com/download, or its package with "
    f".venv/bin/pip install -e '.[dev-tunnel]', and a token from {DASHBOARD}/get-started/your-authtoken"
)
OR_YOUR_OWN = "with an address of your own (another tunnel, a proxy) start it so: relay dev --public-url https://..."

# ngrok itself would go on when we are killed, and keep the account's one agent from the next.
_LEASH = (sys.executable, "-I", "-S", str(CHECKOUT / "commands" / "under_make.py"))
_TOKEN = (
    f"take it from {DASHBOARD}/get-started/your-authtoken and set NGROK_AUTHTOKEN, or run: ngrok config add-authtoken "
    "TOKEN"
)
_UPDATE = "ngrok is too old for your account: run: ngrok update"
_CODE = re.compile(r"ERR_NGROK_(\d+)")
ADVICE = {
    105: f"your ngrok authtoken is none: {_TOKEN}",
    106: f"your ngrok authtoken is one of ngrok 1: {_TOKEN}",
    107: f"your ngrok authtoken is not valid any more: {_TOKEN}",
    108: f"your ngrok account has as many agents running as it may: stop another one, see {DASHBOARD}/agents",
    120: _UPDATE,
    121: _UPDATE,
    300: f"your ngrok authtoken was revoked: {_TOKEN}",
    334: f"your ngrok address is in use by another agent: stop that one, see {DASHBOARD}/endpoints",
    4018: f"ngrok has no authtoken: {_TOKEN}",
    8014: "ngrok has blocked your agent: ask support@ngrok.com",
    9040: "ngrok takes no agents from your IP address: ask support@ngrok.com, or use another tunnel",
}
"""What to do, by the numbers of ngrok's errors."""
PASSING = {108, 334}  # ngrok takes a while to notice that an agent was killed


@dataclass(frozen=True, slots=True)
class Opened:
    """The tunnel is there: ``url`` leads here."""

    url: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """``final``: it is of no use to try again. ``sentence``: never ngrok's own of an error that has a number, for it
    repeats the authtoken."""

    sentence: str
    final: bool = False


def command(target: str) -> list[str] | None:
    """What to run for a tunnel to ``target``, host:port. None: there is no ngrok."""
    if program := shutil.which("ngrok"):
        return [*_LEASH, program, "http", target, "--log=stdout", "--log-format=json"]
    if importlib.util.find_spec("ngrok"):
        return [sys.executable, "-P", "-m", "commands.dev.ngrok_package", target]
    return None


def read(line: str) -> Opened | Trouble | None:
    """One line of its output; None for one that does not matter."""
    if number := _CODE.search(line):
        code = int(number[1])
        more = f"see https://ngrok.com/docs/errors/err_ngrok_{code}"
        return Trouble(f"{ADVICE.get(code, more)} (ERR_NGROK_{code})", final=code in ADVICE and code not in PASSING)
    try:
        said = json.loads(line)
    except ValueError:
        return None
    match said:
        case {"msg": "started tunnel", "url": str(url)} if re.fullmatch(r"https://\S+", url):
            return Opened(url.rstrip("/"))
        case {"lvl": "eror" | "crit", "err": str(error)} if "authtoken" not in error.lower():
            return Trouble(error.strip().partition("\n")[0][:200])
    return None
