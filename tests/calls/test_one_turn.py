"""A call from the webhook to the history, over real sockets."""

from __future__ import annotations

import pytest

from phone.caller import FAST, Caller
from phone.model import Reply, ToolUse
from relay.items import AssistantItem, UserItem
from tests.calls.checks import whole
from tests.running import Running, running, write_agent


async def test_one_turn_is_heard_and_remembered(relay: Running) -> None:
    """What the model writes is heard by the caller, and Redis holds greeting, words and reply."""
    relay.model.script(Reply(["The ", "sky ", "is ", "blue."]))
    async with Caller(relay.url, pace=FAST) as call:
        assert await call.greeting_played() == "Hello from the test."
        await call.say("What colour is the sky?")
        assert await call.reply() == "The sky is blue."
        await call.hang_up()
    history = await relay.history(call.record.call_sid, until=whole(3))
    assert [type(item) for item in history] == [AssistantItem, UserItem, AssistantItem]
    assert [getattr(item, "text", "") for item in history] == [
        "Hello from the test.",
        "What colour is the sky?",
        "The sky is blue.",
    ]
    assert relay.model.asked[0].ask is not None


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_both_apis_carry_a_tool_call_and_its_result(api: str, redis_url: str, tmp_path, redis) -> None:  # type: ignore[no-untyped-def]
    """The model calls a tool, gets its result, and the words after it are heard, on either API."""
    agents = write_agent(tmp_path / "agents")
    async with running(redis_url, tmp_path / "data", agents=agents, api=api) as relay:
        name = ToolUse("save_name", '{"first_name": "Ada", "last_name": "Lovelace"}')
        relay.model.script(Reply(["One moment. "], [name]), Reply(["Saved, ", "Ada."]))
        async with Caller(relay.url, pace=FAST) as call:
            await call.greeting_played()
            await call.say("I am Ada Lovelace")
            await call.until(lambda: "Saved, Ada." in " ".join(turn.heard for turn in call.record.turns))
            await call.hang_up()
    person = await redis.hgetall("person:{phone:+15555550100}")
    assert person[b"first_name"] == b"Ada"
