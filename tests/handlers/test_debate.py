"""``/api/chat`` over a real port: the contract, who is admitted, and what is refused, always as JSON and with CORS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from relay.store.embedded import EmbeddedRedis
from tests.handlers.debates import STANCE, TOPIC, Debating, debating, texts

CALL = "CA" + "7" * 32
KEY, TOKEN = "key-of-the-debate", "token-of-the-operator"
NOBODY = "00000000-0000-4000-8000-000000000000"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Content-Type, Authorization, Idempotency-Key",
    "Access-Control-Expose-Headers": "Retry-After",
}


@pytest.fixture
async def debate(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Debating]:
    async with debating(redis_url, tmp_path, API_TOKEN=TOKEN) as made:
        yield made


async def test_a_debate_begins_and_goes_on(debate: Debating) -> None:
    """An answer has the id and the latest messages of both sides, five of them, the latest last."""
    status, answer = await debate.say("The Earth is round")
    conversation = answer["conversation_id"]
    assert status == 200 and answer.keys() == {"conversation_id", "message"}
    assert answer["message"] == [
        {"role": "user", "message": "The Earth is round"},
        {"role": "bot", "message": "You say: The Earth is round"},
    ]
    await debate.say("Second", conversation)
    status, answer = await debate.say("Third", conversation)
    assert answer["conversation_id"] == conversation
    said = ["bot: You say: The Earth is round", "user: Second", "bot: You say: Second"]
    assert texts(answer) == [*said, "user: Third", "bot: You say: Third"]
    status, history = await debate.get(f"/{conversation}")
    assert status == 200 and len(history["message"]) == 6
    assert (history["conversation_id"], history["topic"], history["stance"]) == (conversation, TOPIC, STANCE)
    status, answer = await debate.post({"message": "The Earth, again"})
    assert status == 200 and answer["conversation_id"] != conversation


async def test_what_is_no_request(debate: Debating) -> None:
    """Refused with a status, a code and a sentence that repeats nothing; no model is asked, nothing is stored."""
    long = "é" * 4001
    refused: list[tuple[Any, int, str]] = [
        (b"{", 400, "bad_json"),
        (b"", 400, "bad_json"),
        (b"\xff\xfe", 400, "bad_json"),
        (b'{"message": "\\ud800"}', 400, "bad_json"),
        ([], 400, "bad_json"),
        ("hello", 400, "bad_json"),
        ({}, 400, "bad_field"),
        ({"message": None}, 400, "bad_field"),
        ({"message": 3}, 400, "bad_field"),
        ({"message": ["hello"]}, 400, "bad_field"),
        ({"message": ""}, 400, "blank"),
        ({"message": " \t\r\n\u00a0\u2003\u200b\ufeff\u0000"}, 400, "blank"),
        ({"message": long}, 400, "too_long"),
        ({"message": "hello", "conversation_id": 7}, 400, "bad_field"),
        ({"message": "hello", "conversation_id": {}}, 400, "bad_field"),
        ({"message": "hello", "topic": 1}, 400, "bad_field"),
        ({"message": "hello", "topic": " "}, 400, "blank"),
        ({"message": "hello", "stance": "s" * 301}, 400, "too_long"),
        ({"message": "hello", "mesage": "hello"}, 400, "unknown_field"),
        ({"message": "x" * 60_000}, 413, "too_large"),
        ({"message": "hello", "conversation_id": NOBODY}, 404, "unknown_conversation"),
        ({"message": "hello", "conversation_id": ""}, 404, "unknown_conversation"),
        ({"message": "hello", "conversation_id": CALL}, 404, "unknown_conversation"),
        ({"message": "hello", "conversation_id": "}x{"}, 404, "unknown_conversation"),
    ]
    for body, status, code in refused:
        got, answer = await debate.post(body)
        assert (got, answer["code"], answer.keys()) == (status, code, {"code", "message"}), body
        assert "hello" not in answer["message"]
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert (await debate.post({"message": "hello"}, Content_Type=kind))[0] == 415
    for coding in ("gzip", "br", "zstd", "x"):
        status, answer = await debate.post({"message": "hello"}, Content_Encoding=coding)
        assert (status, answer["code"]) == (415, "compressed")
    assert (await debate.say("hello", key="a key"))[1]["code"] == "bad_key"
    assert debate.model.asked == [] and await debate.stored() == set()


async def test_the_longest_message_is_taken_however_it_is_written(debate: Debating) -> None:
    """4,000 characters are counted as such, not as the bytes of their escapes."""
    body = b'{"message": "' + b"\\ud83d\\ude00" * 4000 + b'"}'
    status, answer = await debate.post(body)
    assert status == 200 and answer["message"][0]["message"] == "\U0001f600" * 4000


async def test_a_body_that_says_how_large_it_is_is_not_waited_for(debate: Debating) -> None:
    """One that is too large is refused before it has come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(debate.relay.url.rpartition(":")[2]))
    head = b"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 999999\r\n\r\n{"
    writer.write(head)
    async with asyncio.timeout(4):  # a body may take 5 s
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()
    await writer.wait_closed()


async def test_a_call_is_no_debate(debate: Debating) -> None:
    """What other channels have stored can neither be read nor gone on with, whatever its name looks like."""
    conversation = str(uuid4())
    await debate.relay.redis.hset(f"conversation:{{{conversation}}}:state", "channel", "voice")  # type: ignore[misc]
    for name in (CALL, conversation, NOBODY, "..%2f", "%7d"):
        assert (await debate.get(f"/{name}"))[0] == 404
    assert (await debate.say("Go on", conversation))[1]["code"] == "unknown_conversation"


async def test_any_page_may_ask(debate: Debating) -> None:
    """CORS headers stand on every answer and error; a preflight is 204; other methods and paths are 405 and 404."""
    async with debate.http.options(debate.url, headers={"Origin": "https://a.example"}) as response:
        assert response.status == 204 and await response.read() == b""
        assert response.headers["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
        assert response.headers["Access-Control-Max-Age"] == "86400"
        assert CORS.items() <= dict(response.headers).items()
    for method, path, status in (
        ("POST", "", 415),
        ("GET", "", 401),
        ("PUT", "", 405),
        ("DELETE", f"/{NOBODY}", 405),
        ("GET", f"/{NOBODY}", 404),
        ("GET", "/a/b", 404),
        ("GET", "/../openapi.json", 200),
        ("GET", "/..", 404),
        ("GET", "/../../api", 404),
    ):
        async with debate.http.request(method, debate.url + path) as response:
            assert (response.status, response.content_type) == (status, "application/json"), (method, path)
            assert CORS.items() <= dict(response.headers).items()
            data = await response.json()
            assert status == 200 or data.keys() == {"code", "message"}
            assert status != 405 or response.headers["Allow"]


async def test_the_operator_lists_debates(debate: Debating) -> None:
    """With API_TOKEN: newest first, page by page, with what each is about; calls are not among them."""
    first = await debate.begun()
    second = await debate.begun("Hello")
    assert (await debate.get())[0] == (await debate.get("", "wrong"))[0] == 401
    assert await debate.get("?limit=&after=", TOKEN) == await debate.get("", TOKEN)
    status, page = await debate.get("?limit=1", TOKEN)
    assert status == 200 and [each["conversation_id"] for each in page["conversations"]] == [second]
    assert page["conversations"][0]["topic"] is None
    status, rest = await debate.get(f"?limit=5&after={page['after']}", TOKEN)
    (only,) = rest["conversations"]
    assert (only["conversation_id"], only["topic"], only["stance"], only["turns"]) == (first, TOPIC, STANCE, 1)
    assert rest["after"] is None and only["started"] > 1_700_000_000_000
    for query in ("limit=0", "limit=201", "limit=one", "limit=007", "after=1.x", "after=MTp4"):
        status, answer = await debate.get(f"?{query}", TOKEN)
        assert status == 400 and answer["code"] in ("bad_limit", "bad_cursor")


async def test_without_tokens(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Without DEBATE_API_KEY anybody may debate; without API_TOKEN there is no list, whatever is brought."""
    async with debating(redis_url, tmp_path) as debate:
        conversation = await debate.begun()
        assert (await debate.get(f"/{conversation}"))[0] == 200
        for token in ("", "anything"):
            assert (await debate.get("", token))[1] == {"code": "not_found", "message": "There is nothing here."}


async def test_with_a_key(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """With DEBATE_API_KEY only who brings it, or the operator, debates and reads; the list is the operator's."""
    async with debating(redis_url, tmp_path, DEBATE_API_KEY=KEY, API_TOKEN=TOKEN) as debate:
        for given in ("", f"Bearer {KEY}x", f"Basic {KEY}", "Bearer ñ", f"Bearer {KEY[:-1]}"):
            status, answer = await debate.post({"message": "The Earth"}, Authorization=given)
            assert (status, answer["code"]) == (401, "unauthorized")
        assert debate.model.asked == []
        for token in (KEY, TOKEN):
            status, answer = await debate.post({"message": "The Earth"}, Authorization=f"Bearer {token}")
            assert status == 200
            assert (await debate.get(f"/{answer['conversation_id']}", token))[0] == 200
        assert (await debate.get(f"/{answer['conversation_id']}"))[0] == 401
        assert (await debate.get("", KEY))[0] == 401
        assert (await debate.get("", TOKEN))[0] == 200


async def test_strangers_are_limited(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """By address, as JSON with CORS; a bearer that the debate does not ask for is no way round, and costs no model."""
    public = {"PUBLIC_URL": "https://relay.example.com", "RATE_PER_MINUTE": "3", "API_TOKEN": TOKEN}
    async with debating(redis_url, tmp_path, **public) as debate:
        conversation = await debate.begun()
        asked = len(debate.model.asked)
        assert (await debate.get(f"/{conversation}", "anything"))[0] == 200
        assert (await debate.get(f"/{conversation}", TOKEN))[0] == 200
        for headers in ({}, {"Authorization": "Bearer anything"}, {"Authorization": f"Bearer {TOKEN}"}):
            async with debate.http.post(debate.url, json={"message": "More"}, headers=headers) as response:
                assert response.status == 429 and int(response.headers["Retry-After"]) > 0
                assert CORS.items() <= dict(response.headers).items()
                assert (await response.json())["code"] == "too_many_requests"
        assert len(debate.model.asked) == asked
        assert (await debate.get("", TOKEN))[0] == 200


async def test_who_has_the_key_is_no_stranger(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """They are not limited; a wrong key is, after its 401."""
    keyed = {"PUBLIC_URL": "https://relay.example.com", "RATE_PER_MINUTE": "2", "DEBATE_API_KEY": KEY}
    async with debating(redis_url, tmp_path, **keyed) as debate:
        statuses = [(await debate.post({"message": "Hi"}, Authorization="Bearer no"))[0] for _ in range(3)]
        assert statuses == [401, 401, 429]
        for _ in range(3):
            assert (await debate.post({"message": "Hi"}, Authorization=f"Bearer {KEY}"))[0] == 200


async def test_while_the_store_is_away(tmp_path: Path) -> None:
    """503 that says when to come again, for every route that needs it; no model is asked."""
    embedded = EmbeddedRedis.start(tmp_path / "store")
    async with debating(embedded.url, tmp_path, API_TOKEN=TOKEN) as debate:
        conversation = await debate.begun()
        asked = len(debate.model.asked)
        await asyncio.to_thread(embedded.close)
        for status, answer in (
            await debate.say("Go on", conversation),
            await debate.say("Anew", key="a-key"),
            await debate.get(f"/{conversation}"),
            await debate.get("", TOKEN),
        ):
            assert (status, answer["code"]) == (503, "store_away")
        assert len(debate.model.asked) == asked
