"""The three programs that are compared, each in its own process: our relay, the peer, the floor.

All get the same environment, the same endpoint, and in their requests the same instructions and the same eight tools:
ours from its agent (``agents/bench``), the others from a file made of that agent.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import orjson

from benchmarks.processes import START_SECONDS, BenchError, Child, child
from benchmarks.serve import add_bench_tools
from channels.twilio.speaking import with_voice_guidelines
from config.agents import load_agents
from config.prompts import render_prompt
from phone.load import Entrance, LoadCall
from phone.twiml import ConversationRelay, parse_twiml
from relay.frames import Text
from tools.call_control import add_call_control
from tools.profile import add_profile
from tools.registry import ToolRegistry

HERE = Path(__file__).resolve().parent
AGENTS = HERE / "agents"
PEER = HERE / "peer"
PEER_VENV = HERE / ".peer-venv"
PEER_TOKEN = "a-token-of-no-account"
OPEN_AT_ONCE = 10


@dataclass(slots=True)
class System:
    """A program that is running. ``whole_words``: it sends no part of a word, so its first frame is a whole one."""

    name: str
    child: Child
    whole_words: bool
    base: str
    data_dir: Path | None = None
    http: aiohttp.ClientSession | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)

    async def entrance(self, call_sid: str, agent: str = "bench") -> Entrance:
        """Where a call gets in; ours asks the webhook, as Twilio does. Only ours has agents."""
        if self.http is None:
            return Entrance(f"ws://{self.base}/ws", self.token)
        fields = {"CallSid": call_sid, "AccountSid": "AC" + "0" * 32, "From": "+15555550100", "To": "+15555550199"}
        webhook = f"http://{self.base}/voice/incoming?agent={agent}"
        async with self.http.post(webhook, data=fields) as response:
            document = await response.read()
            if response.status != 200:
                raise BenchError(f"POST /voice/incoming answered {response.status}")
        relay = next(verb for verb in parse_twiml(document) if isinstance(verb, ConversationRelay))
        return Entrance(relay.url, parameters=relay.parameters)

    async def metrics(self) -> str:
        """Our relay's ``/metrics``; "" of the others."""
        if self.http is None:
            return ""
        async with self.http.get(f"http://{self.base}/metrics") as response:
            return await response.text()


Start = Callable[[str, int | None, Path], Any]
"""(endpoint's URL, core, folder for files) -> a context that yields the running ``System``."""


def call_sid() -> str:
    return "CA" + uuid4().hex


async def ring(system: System, *, hear: Callable[[Text, float], None] | None = None, agent: str = "bench") -> LoadCall:
    """A new call, connected. Raises CallLost."""
    sid = call_sid()
    return await LoadCall.open(await system.entrance(sid, agent), call_sid=sid, hear=hear)


async def ring_all(system: System, count: int, *, agent: str = "bench") -> list[LoadCall]:
    """So many calls, a few at a time. Raises CallLost, and then none is left open."""
    gate = asyncio.Semaphore(OPEN_AT_ONCE)

    async def one() -> LoadCall:
        async with gate:
            return await ring(system, agent=agent)

    opened = await asyncio.gather(*(one() for _ in range(count)), return_exceptions=True)
    calls = [call for call in opened if isinstance(call, LoadCall)]
    if failure := next((each for each in opened if isinstance(each, BaseException)), None):
        await asyncio.gather(*(call.close() for call in calls))
        raise failure
    return calls


@asynccontextmanager
async def ours(
    endpoint: str,
    core: int | None,
    folder: Path,
    *,
    agents: Path = AGENTS,
    variables: Mapping[str, str] | None = None,
) -> AsyncIterator[System]:
    """``variables``: of its environment, beside those all get."""
    port = free_port()
    env = {
        "PORT": str(port),
        "DATA_DIR": str(folder / "data"),
        "AGENTS_DIR": str(agents),
        "DEFAULT_AGENT": "bench",
        "OPENAI_BASE_URL": endpoint,
        "OPENAI_API_KEY": "bench",
        "OPENAI_API": "auto",
        "OPENAI_MODEL": "bench",
        "HOST": "127.0.0.1",
        "SILENCE_AFTER": "86400",  # callers that say nothing are what is measured
        "MEMORY": "off",  # the summary of a call would be one more request to the endpoint
        **({"BENCH_PROFILE": os.environ["BENCH_PROFILE"]} if "BENCH_PROFILE" in os.environ else {}),
        **(variables or {}),
    }
    command = [sys.executable, "-m", "benchmarks.serve"]
    async with (
        child("the relay", command, core=core, env=env, log=folder / "ours.log") as running,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=START_SECONDS)) as http,
    ):
        await listens(running, port)
        yield System("ours", running, True, f"127.0.0.1:{port}", folder / "data", http)


@asynccontextmanager
async def floor(endpoint: str, core: int | None, folder: Path) -> AsyncIterator[System]:
    port = free_port()
    env = {"PORT": str(port), "OPENAI_BASE_URL": endpoint, "OPENAI_API_KEY": "bench"}
    command = [sys.executable, "-m", "benchmarks.floor"]
    log = folder / "floor.log"
    async with child("the floor", command, core=core, env=env | _request_file(folder), log=log) as running:
        await listens(running, port)
        yield System("floor", running, False, f"127.0.0.1:{port}")


@asynccontextmanager
async def peer(endpoint: str, core: int | None, folder: Path) -> AsyncIterator[System]:
    """Its account is invented; it reaches nothing but the endpoint."""
    port = free_port()
    env = {
        "TWILIO_SERVER_HOST": "127.0.0.1",
        "TWILIO_SERVER_PORT": str(port),
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": PEER_TOKEN,
        "TWILIO_API_KEY": "SK" + "0" * 32,
        "TWILIO_API_SECRET": "none",
        "TWILIO_PHONE_NUMBER": "+15555550199",
        "TWILIO_VOICE_PUBLIC_DOMAIN": f"127.0.0.1:{port}",
        "TAC_ANALYTICS_DISABLED": "true",
        "OPENAI_BASE_URL": endpoint,
        "OPENAI_API_KEY": "bench",
    }
    command = [str(PEER_VENV / "bin" / "python"), "-m", "benchmarks.peer.relay"]
    log = folder / "peer.log"
    async with child("the peer", command, core=core, env=env | _request_file(folder), log=log) as running:
        await listens(running, port)
        yield System("peer", running, False, f"127.0.0.1:{port}", token=PEER_TOKEN)


SYSTEMS: Mapping[str, Start] = {"ours": ours, "peer": peer, "floor": floor}


def install_peer(say: Callable[[str], None]) -> dict[str, str]:
    """Makes the peer's environment if it is not there, with plain pip from the ordinary index; returns the versions.

    Raises BenchError when pip fails; what it says goes to the terminal.
    """
    python = PEER_VENV / "bin" / "python"
    probe = "import importlib.metadata as m; print(m.version('twilio-agent-connect'), m.version('openai'))"
    for attempt in range(2):
        if python.exists():
            done = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                tac, openai = done.stdout.split()
                return {"twilio-agent-connect": tac, "openai": openai}
        if attempt:
            break
        say(f"installing the peer into {PEER_VENV.name} (once)")
        requirements = str(PEER / "requirements.txt")
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(PEER_VENV)],
            [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", requirements],
        ):
            if subprocess.run(command, check=False).returncode:
                break
    raise BenchError(f"the peer cannot be installed: pip install -r {PEER.name}/requirements.txt failed")


def request_parts() -> dict[str, Any]:
    """Instructions and tools of the bench agent, as our relay shows them to the model."""

    class _Nobody:
        async def update(self, person: str, /, **changes: str) -> None: ...

    registry = ToolRegistry()
    add_call_control(registry, can_transfer=False)
    add_profile(registry, _Nobody())
    agent = load_agents(AGENTS)["bench"]
    prompt = render_prompt(agent, person=None, demos=[], now=datetime.now(UTC))
    tools = [
        {
            "type": "function",
            "function": {"name": spec.name, "description": spec.description, "parameters": spec.parameters},
        }
        for spec in add_bench_tools(registry).specs(agent.tools)
    ]
    return {"instructions": with_voice_guidelines(prompt), "tools": tools}


def _request_file(folder: Path) -> dict[str, str]:
    path = folder / "request.json"
    path.write_bytes(orjson.dumps(request_parts()))
    return {"BENCH_REQUEST": str(path)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def listens(running: Child, port: int) -> None:
    """Waits until it accepts connections. Raises BenchError."""
    loop = asyncio.get_running_loop()
    until = loop.time() + START_SECONDS
    while loop.time() < until:
        running.check()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise BenchError(f"{running.name} does not listen after {START_SECONDS:g} s")
