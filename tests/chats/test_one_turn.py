"""A chat from the ticket to the history, over real sockets."""

from __future__ import annotations

import orjson
import pytest

from phone.model import Fault, Reply, ToolUse
from relay.items import AssistantItem, ToolItem, UserItem
from tests.chats.visitor import socket, visiting
from tests.running import Running


async def test_an_answer_comes_in_pieces_and_is_remembered(relay: Running) -> None:
    """ack, deltas, done; counted one by one; and Redis holds what was said."""
    relay.model.script(Reply(["The ", "sky ", "is ", "blue."]))
    async with visiting(relay.url) as ada:
        assert ada.seq == 0
        done = await ada.ask("What colour is the sky?", "m1")
        assert [frame["type"] for frame in ada.frames] == ["ready", "ack", *["delta"] * 4, "done"]
        turn = ada.frames[1]["turn"]
        assert ada.frames[1] == {"type": "ack", "client_id": "m1", "turn": turn}
        assert done == {"type": "done", "turn": turn, "seq": 5, "text": "The sky is blue."}
        assert ada.numbers() == [1, 2, 3, 4, 5] and ada.text(turn) == "The sky is blue."
        assert {frame["turn"] for frame in ada.frames[1:]} == {turn}
        items = await relay.history(ada.conversation)
    assert items == [UserItem("What colour is the sky?"), AssistantItem("The sky is blue.")]


async def test_the_model_knows_what_was_said_before(relay: Running) -> None:
    """Turns of one conversation build on each other, and the frames count on."""
    relay.model.script(Reply("Hello, Ada."), Reply("Ada."))
    async with visiting(relay.url) as ada:
        await ada.ask("I am Ada")
        done = await ada.ask("Who am I?")
    assert done["text"] == "Ada." and ada.numbers() == [*range(1, done["seq"] + 1)]
    assert "I am Ada" in str(relay.model.asked[1].body)


async def test_each_agent_has_a_conversation_of_its_own(relay: Running) -> None:
    """With the same visitor, who is found again in either."""
    relay.model.script(Reply("One."), Reply("Two."))
    async with visiting(relay.url) as ada:
        await ada.ask("Hi")
    async with visiting(relay.url, ada.name, "sales") as sales:
        assert sales.conversation != ada.conversation and sales.seq == 0
        await sales.ask("Hi")
    async with visiting(relay.url, ada.name) as again, visiting(relay.url, ada.name, "sales") as other:
        assert (again.conversation, again.seq) == (ada.conversation, ada.seq)
        assert (other.conversation, other.seq) == (sales.conversation, sales.seq)
    state = await relay.redis.hgetall(f"conversation:{{{sales.conversation}}}:state")
    assert (state[b"agent"], state[b"channel"]) == (b"sales", b"chat")
    assert state[b"person"] == f"chat:{ada.name}".encode()


async def test_a_tool_is_used(relay: Running) -> None:
    """What it does is remembered with the visitor."""
    relay.model.script(
        Reply(tools=[ToolUse("save_name", '{"first_name": "Ada", "last_name": "Lovelace"}')]), Reply("Hello, Ada.")
    )
    async with visiting(relay.url) as ada:
        assert (await ada.ask("I am Ada"))["text"] == "Hello, Ada."
        items = await relay.history(ada.conversation)
    assert [type(item) for item in items] == [UserItem, ToolItem, AssistantItem]
    person = await relay.redis.hgetall(f"person:{{chat:{ada.name}}}")
    assert person[b"first_name"] == b"Ada"


@pytest.mark.parametrize(("languages", "line"), [("es-MX,es;q=0.9", "No ha funcionado, lo siento."), ("", "")])
async def test_a_failed_answer_is_an_error_and_leaves_no_trace(relay: Running, languages: str, line: str) -> None:
    """It is told in the visitor's language, and the same message may be sent again."""
    relay.model.script(*[Reply(fault=Fault("status", status=500))] * 2)
    headers = {"Accept-Language": languages} if languages else {}
    async with visiting(relay.url, additional_headers=headers) as ada:
        error = await ada.ask("Hi", "m1")
        assert (error["code"], error["retryable"], error["client_id"]) == ("model_unavailable", True, "m1")
        assert error["message"] == (line or "That did not work, sorry.") and error["seq"] == 1
        assert error["turn"] == ada.frames[1]["turn"]
        assert await relay.history(ada.conversation, until=lambda items: True) == []
        relay.model.script(Reply("Hello."))
        done = await ada.ask("Hi", "m1")
        assert done["text"] == "Hello." and done["turn"] != error["turn"]


async def test_no_key_is_retryable(relay: Running) -> None:
    """What fails again until somebody mends it is not to be tried again."""
    relay.model.script(Reply(fault=Fault("status", status=401, code="invalid_api_key")))
    async with visiting(relay.url) as ada:
        error = await ada.ask("Hi")
    assert (error["code"], error["retryable"]) == ("model_rejected", False)


async def test_the_plain_contract(relay: Running) -> None:
    """One answer a message, in a conversation that belongs to the socket and is kept."""
    relay.model.script(Reply("Hello."), Reply("Ada."), Reply("Hi."))
    async with socket(relay.url, plain=True) as ws, socket(relay.url, plain=True) as other:
        assert ws.subprotocol is None
        for message, answer in (("I am Ada", "Hello."), ("Who am I?", "Ada.")):
            await ws.send(orjson.dumps({"message": message}).decode())
            assert orjson.loads(await ws.recv()) == {"message": answer}
        await other.send('{"message": "Who am I?"}')
        assert orjson.loads(await other.recv()) == {"message": "Hi."}
    assert "I am Ada" in str(relay.model.asked[1].body)
    assert "I am Ada" not in str(relay.model.asked[2].body)
    states = [key async for key in relay.redis.scan_iter("conversation:*:state")]
    assert len(states) == 2


async def test_errors_of_the_plain_contract(relay: Running) -> None:
    """Are frames, and the socket goes on."""
    relay.model.script(*[Reply(fault=Fault("status", status=500))] * 2, Reply("Hello."))
    async with socket(relay.url, plain=True) as ws:
        for frame, code in (
            ("hello", "bad_frame"),
            ('{"text": "hello"}', "bad_frame"),
            ('{"message": " "}', "empty"),
            (orjson.dumps({"message": "x" * 4001}).decode(), "too_long"),
            ('{"message": "hello"}', "model_unavailable"),
        ):
            await ws.send(frame)
            error = orjson.loads(await ws.recv())["error"]
            assert error["code"] == code and error["message"]
        await ws.send('{"message": "hello"}')
        assert orjson.loads(await ws.recv()) == {"message": "Hello."}
