from __future__ import annotations

import orjson

from relay.toolbox import EndCall, ToolContext, Transfer
from tools.call_control import MAX_REASON, MAX_SUMMARY, add_call_control
from tools.registry import ToolRegistry

CONTEXT = ToolContext("CA1", "voice", "default")


def registry(transfer_to: str) -> ToolRegistry:
    made = ToolRegistry()
    add_call_control(made, can_transfer=bool(transfer_to))
    return made


async def test_end_call_asks_for_the_end() -> None:
    """The effect ends the call; the tool itself ends nothing and runs after its siblings."""
    tools = registry("")
    outcome = await tools.run("end_call", "", CONTEXT)
    assert outcome.ok
    assert outcome.effects == (EndCall(),)
    assert tools.policy("end_call").terminal
    assert not tools.policy("end_call").side_effect


async def test_a_transfer_carries_reason_and_summary() -> None:
    """Reason and summary reach the effect on one line each, cut to what is passed on."""
    tools = registry("+15550100")
    arguments = orjson.dumps({"reason": "legal\n", "summary": "Wants  a\nlawyer. " + "x" * 2000}).decode()
    outcome = await tools.run("transfer_to_human", arguments, CONTEXT)
    assert outcome.ok
    (effect,) = outcome.effects
    assert isinstance(effect, Transfer)
    assert effect.reason == "legal"
    assert effect.summary.startswith("Wants a lawyer. xxx")
    assert len(effect.summary) == MAX_SUMMARY
    assert len(effect.reason) <= MAX_REASON
    assert "lawyer" not in repr(outcome)
    assert tools.policy("transfer_to_human").terminal


async def test_nobody_can_be_reached_without_a_number() -> None:
    """Without TRANSFER_TO the call is not handed over, and the model is told what to say."""
    outcome = await registry("").run("transfer_to_human", '{"reason":"user-requested","summary":"-"}', CONTEXT)
    assert outcome.ok
    assert outcome.effects == ()
    assert orjson.loads(outcome.output)["transferred"] is False
    assert "Nobody can be reached" in outcome.output


async def test_nobody_can_be_reached_outside_business_hours() -> None:
    """The agent whose business is closed is told so; another's calls are handed over."""
    tools = ToolRegistry()
    add_call_control(tools, can_transfer=True, closed=lambda agent: agent == "default")
    arguments = '{"reason":"user-requested","summary":"-"}'
    outcome = await tools.run("transfer_to_human", arguments, CONTEXT)
    assert (outcome.ok, outcome.effects) == (True, ())
    assert orjson.loads(outcome.output)["transferred"] is False and "closed" in outcome.output
    outcome = await tools.run("transfer_to_human", arguments, ToolContext("CA1", "voice", "open"))
    assert len(outcome.effects) == 1


def test_both_are_shown_to_the_model() -> None:
    """The model sees end_call without arguments and transfer_to_human(reason, summary), both required."""
    end, transfer = registry("").specs(["end_call", "transfer_to_human"])
    assert end.parameters["properties"] == {}
    assert transfer.parameters["required"] == ["reason", "summary"]
    assert all(each["description"] for each in transfer.parameters["properties"].values())
