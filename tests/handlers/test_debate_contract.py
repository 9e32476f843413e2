"""What the debate promises in writing: its OpenAPI document, the Postman collection, and the curl lines of its page."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from redis.asyncio import Redis

from config.values import CHECKOUT
from phone.model import Reply
from tests.handlers.debates import SET, Debating, debating, reads

DOCS = CHECKOUT / "docs"
TOKEN = "token-of-the-operator"
EXAMPLES = "5"
RUN_SECONDS = 60


@pytest.fixture
async def debate(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Debating]:
    async with debating(redis_url, tmp_path, API_TOKEN=TOKEN) as made:
        yield made


async def test_the_server_keeps_to_its_document(debate: Debating, tmp_path: Path) -> None:
    """schemathesis finds nothing, in the same few hundred requests each time: right ones, wrong ones, other methods."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{debate.relay.url}/api/openapi.json"),
        *("--checks", "all", "--max-examples", EXAMPLES, "--seed", "1", "--generation-deterministic"),
        *("--phases", "examples,coverage,fuzzing", "--no-color", "-H", f"Authorization: Bearer {TOKEN}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=tmp_path,
    )
    try:
        async with asyncio.timeout(RUN_SECONDS):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, told.decode()
    passed = re.search(r"(\d+) generated, (\d+) passed", told.decode())
    assert passed is not None and int(passed[1]) > 100, told.decode()


async def test_the_document_is_this_server_s(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Its limits are those that are set, and it says whether a key is wanted."""
    limits = {"DEBATE_API_KEY": "key-of-the-debate", "DEBATE_MAX_CHARS": "12"}
    async with (
        debating(redis_url, tmp_path, **limits) as debate,
        debate.http.get(f"{debate.relay.url}/api/openapi.json") as response,
    ):
        assert response.status == 200 and response.content_type == "application/json"
        document = await response.json()
    assert document["openapi"] == "3.1.0"
    assert document["components"]["schemas"]["Post"]["properties"]["message"]["maxLength"] == 12
    assert document["paths"]["/api/chat"]["post"]["security"] == [{"debateKey": []}, {"operatorToken": []}]


async def test_the_postman_collection_works(debate: Debating) -> None:
    """Every request of it, from top to bottom, has the answer that its own test expects."""
    debate.model.behaviour = lambda ask: Reply(tools=[SET]) if reads(ask) else Reply("So it is.")
    collection = orjson.loads((DOCS / "debate.postman_collection.json").read_bytes())
    assert collection["info"]["schema"].endswith("/v2.1.0/collection.json")
    variables = {each["key"]: each["value"] for each in collection["variable"]}
    variables |= {"base_url": debate.relay.url, "api_token": TOKEN, "$guid": str(uuid4())}
    assert len(collection["item"]) > 10
    for item in collection["item"]:
        told = "\n".join(item["event"][0]["script"]["exec"])
        status, answer = await _send(debate, orjson.loads(_filled(orjson.dumps(item["request"]).decode(), variables)))
        assert f"pm.response.to.have.status({status})" in told, item["name"]
        if 'set("conversation_id"' in told:
            variables["conversation_id"] = answer["conversation_id"]


async def test_the_curl_lines_work(debate: Debating) -> None:
    """Those of docs/debate.md, as they stand there but for the address, the id and the token."""
    lines = re.findall(r"^curl .*$", (DOCS / "debate.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) > 5
    conversation = "ID"
    for line in lines:
        told = line.replace("http://127.0.0.1:8080", debate.relay.url).replace("API_TOKEN", TOKEN)
        status, answer = await _send(debate, _curl(re.sub(r"\bID\b", conversation, told)))
        assert status == 200, line
        conversation = answer.get("conversation_id", conversation)


def _curl(line: str) -> dict[str, Any]:
    """What curl would send, in the form of Postman's requests."""
    words = shlex.split(line)[1:]
    request: dict[str, Any] = {"method": "GET", "header": []}
    while words:
        match words.pop(0):
            case "-s" | "-sN":
                pass
            case "-H":
                name, _, value = words.pop(0).partition(": ")
                request["header"].append({"key": name, "value": value})
            case "-d":
                request |= {"method": "POST", "body": {"raw": words.pop(0)}}
            case url:
                request["url"] = url
    return request


def _filled(text: str, variables: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(.+?)\}\}", lambda found: variables[found[1]], text)


async def _send(debate: Debating, request: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    headers = {each["key"]: each["value"] for each in request["header"]}
    if "auth" in request:
        headers["Authorization"] = f"Bearer {request['auth']['bearer'][0]['value']}"
    body = request.get("body", {}).get("raw", "").encode()
    async with debate.http.request(request["method"], request["url"], headers=headers, data=body) as response:
        is_json = response.content_type == "application/json" and response.status != 204
        return response.status, await response.json() if is_json else {}
