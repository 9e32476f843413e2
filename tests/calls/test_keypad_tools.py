"""Keys for a tool and tones of a tool, in a call: what the tools get, what the caller hears, and what is not stored."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from phone.caller import FAST, Caller
from phone.model import Gate, Reply, ToolUse
from relay.frames import SendDigits, Text, TokensPlayed
from relay.items import AssistantItem, NoteItem, ToolItem
from relay.masks import MASK, NOT_KEPT
from relay.replay import HIDDEN_KEY, Told
from relay.store.effects import effects_key
from relay.store.history import state_key
from relay.toolbox import ToolContext
from relay.turns import CUT_NOTE
from tests.calls.checks import Ear, eventually, heard, in_order, remembered, remembers, shown, shutting, told, whole
from tests.calls.house import PROCESSES, House, open_house
from tests.running import Running, running, write_agent
from tools.registry import ToolRegistry

ASK = "Please key in your account number."
ACCOUNT = "12345678"
CUT_OFF = "We were cut off. Please go on."
TOOLS = '["collect_digits", "send_digits", "pay", "transfer_to_human", "end_call"]'


def agent(relay: str = "") -> str:
    """Nothing here waits for the usual pauses: what does not happen at once does not happen in a test."""
    return f"""
title = "Test"
tools = {TOOLS}
[relay]
events = "speaker-events tokens-played"
{relay}
[says]
fillers = []
[limits]
interdigit = 60.0
after_interrupt = 60.0
[keys."1"]
say = "We open at nine."
"""


class Bank:
    """A tool that is given what was keyed in."""

    def __init__(self) -> None:
        self.paid: list[str] = []

    def add(self, registry: ToolRegistry) -> None:
        async def pay(context: ToolContext, account: str) -> dict[str, Any]:
            """Pays."""
            self.paid.append(account)
            return {"paid": True, "account": account}

        registry.add(pay, side_effect=True)


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
async def line(bank: Bank, redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """The application; the agent ``lasting`` has its sessions go on on another socket, and no key stops it."""
    agents = write_agent(tmp_path / "agents", agent())
    lasting = 'applicationReconnect = true\ninterruptible = "speech"\nreportInputDuringAgentSpeech = "dtmf"'
    write_agent(agents, agent(lasting), "lasting")
    async with running(redis_url, tmp_path / "data", agents=agents, extra_tools=bank.add) as app:
        yield app


def collect(count: int, terminator: str = "#", timeout: float = 30.0) -> ToolUse:
    arguments = {"count": count, "terminator": terminator, "timeout": timeout}
    return ToolUse("collect_digits", orjson.dumps(arguments).decode())


def pay(account: str) -> ToolUse:
    return ToolUse("pay", orjson.dumps({"account": account}).decode())


async def results(line: Running, request: int) -> list[dict[str, Any]]:
    """What this request shows the model of its tools."""
    return [orjson.loads(text) for kind, text in shown(await line.model.received(request)) if kind == "result"]


async def asked(call: Caller, words: str = "I want to pay") -> None:
    """The caller has said what they want, and has heard the question to its end."""
    await call.say(words)
    await call.until(lambda: heard(call) == [ASK] and call.session.player.silent)


_CHANCE = re.compile(rb"\d+\.\d+|\d{12,}|(?:CA|VX)[0-9a-f]{32}")


async def all_stored(redis: Redis) -> bytes:
    """Every value Redis holds, without what may have any digits by chance: fractions, moments, ids."""
    values: list[bytes] = []
    async for key in redis.scan_iter():
        match await redis.type(key):
            case b"zset":
                values += await redis.zrange(key, 0, -1)
            case b"hash":
                values += [part for pair in (await redis.hgetall(key)).items() for part in pair]
            case b"string":
                values.append(await redis.get(key) or b"")
            case b"stream":
                values += [part for _, fields in await redis.xrange(key) for part in fields.values()]
            case other:
                raise AssertionError(f"nobody has looked into a {other!r}")
    return _CHANCE.sub(b"", b"\n".join(values))


async def marked(line: Running, call: Caller, keys: list[str]) -> None:
    """These marks stand in Redis behind that of the first prompt."""
    marks: list[str] = []
    async with asyncio.timeout(20):
        while len(marks) < 1 + len(keys):
            text: bytes | None = await line.redis.hget(state_key(call.record.call_sid), "told")
            marks = Told((text or b"").decode()).marks()
            await asyncio.sleep(0.005)
    assert marks[1:] == keys


# -- collect_digits


async def test_keys_in_the_summary_of_a_hand_over(bank: Bank, redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Twilio, the person who is told of the call, and what is stored of it get the mask."""
    agents, environ = write_agent(tmp_path / "agents", agent()), {"TRANSFER_TO": "+15555550111"}
    summary = {"reason": "other", "summary": f"Account {ACCOUNT} is locked, that is 1 2 3 4 5 6 7 8."}
    async with running(redis_url, tmp_path / "data", agents=agents, environ=environ, extra_tools=bank.add) as line:
        line.model.script(
            Reply(ASK, [collect(len(ACCOUNT))]),
            Reply("I connect you.", [ToolUse("transfer_to_human", orjson.dumps(summary).decode())]),
        )
        async with Caller(line.url, pace=FAST) as call:
            await asked(call)
            await call.press(ACCOUNT)
            await call.ended()
        (action,) = call.record.actions
        assert orjson.loads(action["HandoffData"])["summary"] == f"Account {MASK} is locked, that is {MASK}."
        assert call.record.whispers == [f"other. Account {MASK} is locked, that is {MASK}."]
        assert ACCOUNT.encode() not in await all_stored(redis)


async def test_keys_reach_the_next_tool_and_no_store_and_no_log(line: Running, bank: Bank) -> None:
    """The model sees them and hands them on; what is stored holds masks, also of the words in which they were said."""
    line.model.script(
        Reply(ASK, [collect(len(ACCOUNT))]),
        Reply(tools=[pay(ACCOUNT)]),
        Reply("I paid from 1 2 3 4 5 6 7 8. Anything else?"),
        Reply("Yes, 1234-5678."),
    )
    with capture_logs() as logs:
        async with Caller(line.url, pace=FAST) as call:
            await asked(call)
            await call.press(ACCOUNT)
            await call.until(lambda: heard(call)[-1] == "I paid from 1 2 3 4 5 6 7 8. Anything else?")
            await in_order(call)
            assert bank.paid == [ACCOUNT]
            assert (await results(line, 2))[0] == {
                "digits": ACCOUNT,
                "complete": True,
                "message": "The caller has keyed in all of it.",
            }
            assert (await results(line, 3))[1] == {"paid": True, "account": ACCOUNT}
            assert ("call", f"pay({pay(ACCOUNT).arguments})") in shown(await line.model.received(3))
            await call.say("Was that 12345678?")
            await call.until(lambda: heard(call)[-1] == "Yes, 1234-5678.")
            await in_order(call)
            items = await remembered(line, call.record.call_sid, whole(7))
            tools = [item for item in items if isinstance(item, ToolItem)]
            assert [orjson.loads(item.arguments) for item in tools][1] == {"account": MASK}
            assert orjson.loads(tools[0].output)["not_kept"] == NOT_KEPT
            said = [item.text for item in items if isinstance(item, AssistantItem)]
            assert said == [ASK, f"I paid from {MASK}. Anything else?", f"Yes, {MASK}."]
            await eventually(lambda: line.model.asked[-1].complete)
            stored = await all_stored(line.redis)
    assert MASK.encode() in stored
    for written in (ACCOUNT, "1 2 3 4", "1234-5678", "1234"):
        assert written not in stored.decode(), "digits in Redis"
        assert written not in repr(logs), "digits in a log"


async def test_the_record_of_a_side_effect_holds_no_digits(line: Running, bank: Bank) -> None:
    """Neither in its result nor in a digest of its arguments that could be made again without our key."""
    gate = Gate()
    line.model.script(Reply(ASK, [collect(4)]), Reply(tools=[pay("1234")]), Reply("Never heard.", gate=gate))
    async with Caller(line.url, pace=FAST) as call:
        await asked(call)
        await call.press("1234")
        await gate.reached.wait()

        async def record() -> dict[bytes, bytes]:
            found: dict[bytes, bytes] = await line.redis.hgetall(effects_key(call.record.call_sid))
            return found

        async with asyncio.timeout(20):
            while not any(b"done" in value for value in (await record()).values()):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        ((name, value),) = (await record()).items()
        assert b"1234" not in name
        assert orjson.loads(orjson.loads(value)["output"]) == {"paid": True, "account": MASK}
        gate.set()


async def test_the_terminator_ends_them_early(line: Running) -> None:
    """The model is told that this is all the caller has."""
    line.model.script(Reply(ASK, [collect(12)]), Reply("Thank you."))
    async with Caller(line.url, pace=FAST) as call:
        await asked(call)
        await call.press("1234#")
        await call.until(lambda: heard(call)[-1] == "Thank you.")
        (result,) = await results(line, 2)
        assert (result["digits"], result["complete"]) == ("1234", True)
        assert result["message"] == "The caller has ended the input with # after 4 of at most 12 keys."
        await in_order(call)


@pytest.mark.parametrize("keys", ["", "12"])
async def test_too_few_keys_in_time(line: Running, keys: str) -> None:
    """The model is told to ask again, or to offer another way."""
    line.model.script(Reply(ASK, [collect(4, timeout=1.0)]), Reply("Let us try that again."))
    async with Caller(line.url, pace=FAST) as call:
        await asked(call)
        await call.press(keys)
        await call.until(lambda: heard(call)[-1] == "Let us try that again.")
        (result,) = await results(line, 2)
        assert (result["digits"], result["complete"]) == (keys, False)
        assert "sk" in result["message"]
        assert "another way" in result["message"]
        await in_order(call)


async def test_the_caller_speaks_instead(line: Running) -> None:
    """The words are answered; the tool has ended, and what was keyed is nowhere."""
    line.model.script(Reply(ASK, [collect(8)]), Reply("Then I send a letter."), Reply("Five and six?"))
    async with Caller(line.url, pace=FAST) as call:
        await asked(call)
        await call.press("9875318")
        await call.say("I have lost it")
        await call.until(lambda: heard(call)[-1] == "Then I send a letter.")
        (result,) = await results(line, 2)
        assert result["error"] == "interrupted"
        await call.press("56#")
        await call.until(lambda: heard(call)[-1] == "Five and six?")
        await in_order(call)
        await remembers(
            line,
            call,
            [
                ("user", "I want to pay"),
                ("assistant", ASK),
                ("collect_digits", "interrupted"),
                ("user", "I have lost it"),
                ("assistant", "Then I send a letter."),
                ("note", "The caller pressed 5 6 on the keypad."),
                ("assistant", "Five and six?"),
            ],
        )
        assert "9875318" not in (await all_stored(line.redis)).decode()


@pytest.mark.parametrize("key_first", [True, False], ids=["key, interrupt", "interrupt, key"])
async def test_the_first_key_stops_the_question(line: Running, key_first: bool) -> None:
    """And nothing else; it has no other meaning then."""
    ear = Ear()
    line.model.script(Reply(ASK, [collect(4)]), Reply("Thank you."))
    async with Caller(line.url, pace=ear.pace, key_first=key_first, listen=shutting(ear, 3)) as call:
        await call.say("I want to pay")
        await call.until(lambda: heard(call) == ["Please key in"])
        await remembered(line, call.record.call_sid, lambda items: any(isinstance(item, ToolItem) for item in items))
        pressing = asyncio.create_task(call.press("1234"))
        await call.until(lambda: call.record.interrupts)
        ear.open()
        await pressing
        await call.until(lambda: heard(call)[-1] == "Thank you.")
        await in_order(call)
        (result,) = await results(line, 2)
        assert (result["digits"], result["complete"]) == ("1234", True)
        lines = [("user", "I want to pay"), ("assistant", "Please key in"), ("collect_digits", "done")]
        await remembers(line, call, [*lines, ("assistant", "Thank you.")])


@pytest.mark.parametrize("key_first", [True, False], ids=["key, interrupt", "interrupt, key"])
async def test_a_late_end_is_no_interruption(line: Running, key_first: bool) -> None:
    """Twilio has stopped the reply for it: that is taken up again at once, and nobody is told of a key."""
    gate = Gate()
    line.model.script(
        Reply(ASK, [collect(4)]),
        Reply(["Thank you, ", "one ", "moment."], gate=gate, gate_at=2),
        Reply("Just a moment."),
    )
    async with Caller(line.url, pace=FAST, key_first=key_first) as call:
        await asked(call)
        await call.press("1234")
        await call.until(lambda: heard(call)[-1] == "Thank you,")
        await call.press("#")
        await call.until(lambda: heard(call)[-1] == "Just a moment.")
        await in_order(call)
        assert len(call.record.interrupts) == 1
        assert shown(await line.model.received(3))[-2:] == [("assistant", "Thank you,"), ("note", CUT_NOTE)]
        items = await remembered(line, call.record.call_sid, lambda items: len(items) == 6)
        assert [item.text for item in items if isinstance(item, NoteItem)] == [CUT_NOTE]
        gate.set()


async def test_a_late_end_in_silence(line: Running) -> None:
    """Nothing was being said: nothing happens."""
    line.model.script(Reply(ASK, [collect(4)]), Reply("Thank you."), Reply("Goodbye then."))
    async with Caller(line.url, pace=FAST) as call:
        await asked(call)
        await call.press("1234")
        await call.until(lambda: heard(call)[-1] == "Thank you." and call.session.player.silent)
        await call.press("#")
        await call.say("That is all")
        await call.until(lambda: heard(call)[-1] == "Goodbye then.")
        assert [kind for kind, _ in shown(line.model.asked[-1])] == [
            "user", "assistant", "call", "result", "assistant", "user",
        ]  # fmt: skip
        await in_order(call)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"count": 0}, "count must be"),
        ({"count": 33}, "count must be"),
        ({"count": 4, "terminator": "5"}, "terminator must be"),
        ({"count": 4, "timeout": 0.5}, "timeout must be"),
        ({"count": 4, "timeout": 61}, "timeout must be"),
    ],
)
async def test_what_cannot_be_collected(line: Running, arguments: dict[str, Any], wanted: str) -> None:
    """The model is told what would work."""
    use = ToolUse("collect_digits", orjson.dumps(arguments).decode())
    line.model.script(Reply(tools=[use]), Reply("Let me see."))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("I want to pay")
        assert await call.reply() == "Let me see."
        (result,) = await results(line, 2)
        assert result["error"] == "try_again"
        assert wanted in result["message"]


async def test_two_at_once(line: Running) -> None:
    """The keys are the first one's; the second is refused and may be tried again."""
    line.model.script(Reply(ASK, [collect(4), collect(2)]), Reply("And your PIN?"))
    async with Caller(line.url, pace=FAST) as call:
        await asked(call)
        await call.press("1234")
        await call.until(lambda: heard(call)[-1] == "And your PIN?")
        first, second = await results(line, 2)
        assert first["digits"] == "1234"
        assert second["error"] == "failed"
        assert "another tool already" in second["message"]


async def test_the_caller_hangs_up(line: Running) -> None:
    """Nothing of the keys is left, and the history can be gone on with."""
    line.model.script(Reply(ASK, [collect(8)]))
    async with Caller(line.url, pace=FAST) as call:
        await asked(call)
        await call.press("9875318")
        await call.hang_up()
        await remembers(line, call, [("user", "I want to pay"), ("assistant", ASK), ("collect_digits", "interrupted")])
        assert "9875318" not in (await all_stored(line.redis)).decode()


async def test_the_marks_of_events_tell_no_keys(line: Running) -> None:
    """A session that may go on on another socket notes what events it was told; of these keys, that there were some."""
    line.model.script(Reply(ASK, [collect(4)]), Reply("Thank you."))
    async with Caller(line.url, pace=FAST, agent="lasting") as call:
        await asked(call)
        await call.press("1234")
        await call.until(lambda: heard(call)[-1] == "Thank you.")
        await in_order(call)
        await marked(line, call, [HIDDEN_KEY] * 4)


async def test_keys_that_come_before_the_tool(line: Running) -> None:
    """The caller is quicker than the model's last words: those keys are the tool's too, and no mark tells them."""
    gate = Gate()
    line.model.script(Reply([f"{ASK} ", "So."], [collect(4)], gate=gate, gate_at=2), Reply("Thank you."))
    async with Caller(line.url, pace=FAST, agent="lasting") as call:
        await call.say("I want to pay")
        await call.until(lambda: heard(call) and heard(call)[0].startswith("Please key in your"))
        assert await call.press("98") == 2
        gate.set()
        await remembered(line, call.record.call_sid, lambda items: any(isinstance(item, ToolItem) for item in items))
        await call.press("76")
        await call.until(lambda: "Thank you." in heard(call))
        await in_order(call)
        (result,) = await results(line, 2)
        assert (result["digits"], result["complete"]) == ("9876", True)
        lines = [("user", "I want to pay"), ("assistant", f"{ASK} So."), ("collect_digits", "done")]
        items = await remembered(line, call.record.call_sid, lambda items: len(items) == 4)
        assert [line for line in told(items) if line[0] != "assistant"] == [lines[0], lines[2]]
        await marked(line, call, [HIDDEN_KEY] * 4)


# -- taken up again


@pytest.fixture(params=PROCESSES)
async def house(request: pytest.FixtureRequest, redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """The call's first process and the one after the drop."""
    plain = agent().replace('"pay", ', "")
    async with open_house(redis_url, tmp_path, plain, request.param) as made:
        yield made


async def test_dropped_in_the_middle_of_the_keys(house: House) -> None:
    """What was pressed is nowhere; the model sees that nothing was collected, and asks again."""
    house.first.model.script(Reply(ASK, [collect(8)]))
    async with Caller(house.front.url, pace=FAST) as call:
        await asked(call)
        await call.press("9875318")
        await remembered(house.first, call.record.call_sid, lambda items: len(items) == 3)
        house.then.model.script(Reply("Once more, please.", [collect(8)]), Reply("Thank you."))
        await house.drop(call)
        await call.until(lambda: "Once more, please." in heard(call) and call.session.player.silent)
        await call.press("98753186")
        await call.until(lambda: heard(call)[-1] == "Thank you.")
        await in_order(call)
        seen = [orjson.loads(text) for kind, text in shown(house.then.model.asked[-1]) if kind == "result"]
        assert "digits" not in seen[0]
        assert seen[1]["digits"] == "98753186"
        assert "9875318" not in (await all_stored(house.then.redis)).decode()


async def test_a_call_taken_up_again_has_no_digits(house: House) -> None:
    """Its model sees the mask, and is told to ask anew."""
    house.first.model.script(Reply(ASK, [collect(8)]), Reply("Is 13572468 right?"))
    async with Caller(house.front.url, pace=FAST) as call:
        await asked(call)
        await call.press("13572468")
        await call.until(lambda: heard(call)[-1] == "Is 13572468 right?")
        await in_order(call)
        await remembered(house.first, call.record.call_sid, lambda items: len(items) == 4)
        await house.drop(call)
        await call.until(lambda: heard(call)[-1] == CUT_OFF)
        house.then.model.script(Reply("Please key it in again."))
        await call.say("Yes, that is right")
        await call.until(lambda: heard(call)[-1] == "Please key it in again.")
        seen = shown(house.then.model.asked[-1])
        (result,) = [orjson.loads(text) for kind, text in seen if kind == "result"]
        assert (result["digits"], result["not_kept"]) == (MASK, NOT_KEPT)
        assert ("assistant", f"Is {MASK} right?") in seen
        assert "13572468" not in repr(house.then.model.asked[-1].body)
        assert "13572468" not in (await all_stored(house.then.redis)).decode()


# -- send_digits


async def test_tones_for_the_other_end(line: Running) -> None:
    """Sent behind the closed words; their report is no proof of words, and they are in no history."""
    press = ToolUse("send_digits", '{"digits": "1w 234#"}')
    line.model.script(Reply("I press the keys.", [press]), Reply("1w234# is sent. We wait."), Reply("Still waiting."))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Call the office")
        await call.until(lambda: "1w234# is sent. We wait." in heard(call))
        await in_order(call)
        at = next(n for n, frame in enumerate(call.frames) if isinstance(frame, SendDigits))
        assert call.frames[at] == SendDigits("1w234#")
        before = call.frames[at - 1]
        assert isinstance(before, Text)
        assert before.last
        assert TokensPlayed("1w234#") in [frame for _, frame in call.record.sent]
        assert [result for result in await results(line, 2)] == [
            {"message": "The tones are sent behind the words said so far. Wait for the other end's answer."}
        ]
        await call.say("And now?")
        await call.until(lambda: heard(call)[-1] == "Still waiting.")
        await in_order(call)
        await remembers(
            line,
            call,
            [
                ("user", "Call the office"),
                ("assistant", "I press the keys."),
                ("send_digits", "done"),
                ("assistant", "1w234# is sent. We wait."),
                ("user", "And now?"),
                ("assistant", "Still waiting."),
            ],
        )


@pytest.mark.parametrize("digits", ["", "12a", "1-2", "１", "1" * 65])
async def test_tones_that_do_not_exist(line: Running, digits: str) -> None:
    """The model is told which do; nothing is sent."""
    line.model.script(Reply(tools=[ToolUse("send_digits", orjson.dumps({"digits": digits}).decode())]), Reply("Hm."))
    async with Caller(line.url, pace=FAST) as call:
        await call.say("Call the office")
        assert await call.reply() == "Hm."
        (result,) = await results(line, 2)
        assert result["error"] == "try_again"
        assert not any(isinstance(frame, SendDigits) for frame in call.frames)
