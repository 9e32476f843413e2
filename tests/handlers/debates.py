"""A debate's other side: a client of ``/api/chat``, and a model that takes down topics and answers what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from phone.model import Ask, ModelServer, Reply, ToolUse
from tests.running import Running, running, write_agent

TOPIC, STANCE = "The Earth's shape", "The Earth is flat."
SET = ToolUse("set_debate", orjson.dumps({"topic": TOPIC, "stance": STANCE}).decode())
UNSET = ToolUse("set_debate", '{"topic": "", "stance": ""}')
STATE = "conversation:{%s}:state"
Answer = tuple[int, dict[str, Any]]


def told(ask: Ask) -> Reply:
    """A topic is found in what has the word Earth; replies repeat what was said last."""
    said = [entry.text for entry in ask.entries if entry.kind == "user"]
    if reads(ask):
        return Reply(tools=[SET if any("Earth" in each for each in said) else UNSET])
    return Reply(f"You say: {said[-1]}")


def reads(ask: Ask) -> bool:
    """Whether the topic is to be taken down."""
    return "set_debate" in ask.tools


@dataclass
class Debating:
    relay: Running
    http: aiohttp.ClientSession = field(repr=False)

    @property
    def model(self) -> ModelServer:
        return self.relay.model

    @property
    def url(self) -> str:
        return f"{self.relay.url}/api/chat"

    async def post(self, body: Any, **headers: str) -> Answer:
        """A request with any body; bytes are sent as they are."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Content-Type": "application/json"} | named
        async with self.http.post(self.url, data=data, headers=sent) as response:
            return response.status, await response.json()

    async def say(self, message: str, conversation: str | None = None, key: str = "", **fields: Any) -> Answer:
        headers = {"Idempotency-Key": key} if key else {}
        return await self.post({"conversation_id": conversation, "message": message, **fields}, **headers)

    async def begun(self, message: str = "The Earth is round", **fields: Any) -> str:
        """The id of a new debate."""
        status, answer = await self.say(message, **fields)
        assert status == 200, answer
        return str(answer["conversation_id"])

    async def get(self, path: str = "", token: str = "") -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.http.get(self.url + path, headers=headers) as response:
            return response.status, await response.json()

    async def events(self, body: Mapping[str, Any], **headers: str) -> list[tuple[str, dict[str, Any]]]:
        """The events of a streamed answer, to its end."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.post(self.url, json=body, headers={"Accept": "text/event-stream"} | named) as response:
            assert response.status == 200 and response.content_type == "text/event-stream"
            return parse_events(await response.read())

    async def state(self, conversation: str) -> dict[str, str]:
        found: Mapping[bytes, bytes] = await self.relay.redis.hgetall(STATE % conversation)  # type: ignore[misc]
        return {name.decode(): value.decode() for name, value in found.items()}

    async def stored(self) -> set[str]:
        """Names of what is stored of any conversation, but for who has a turn and how turns went."""
        keys = [key.decode() async for key in self.relay.redis.scan_iter("conversation*")]
        return {key for key in keys if not key.endswith((":lease", ":trace"))}


def parse_events(raw: bytes) -> list[tuple[str, dict[str, Any]]]:
    events = []
    for block in raw.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        events.append((name.removeprefix("event: "), orjson.loads(data.removeprefix("data: "))))
    return events


def texts(answer: Mapping[str, Any]) -> list[str]:
    return [f"{each['role']}: {each['message']}" for each in answer["message"]]


@asynccontextmanager
async def debating(redis_url: str, folder: Path, engine: str = "openai", **environ: str) -> AsyncIterator[Debating]:
    """A running process whose agent ``debate`` has a prompt of one line."""
    agents = write_agent(folder / "agents")
    write_agent(agents, f'title = "Debate"\nunlisted = true\nengine = "{engine}"\n', "debate", "You debate.")
    async with (
        running(redis_url, folder / "data", agents=agents, environ=environ, model=ModelServer(told)) as relay,
        aiohttp.ClientSession() as http,
    ):
        yield Debating(relay, http)
