"""Ending a call, and handing it to a person."""

from __future__ import annotations

from collections.abc import Callable

from relay.toolbox import EndCall, ToolContext, Transfer
from tools.registry import ToolFunction, ToolRegistry, ToolResult

MAX_REASON = 100
MAX_SUMMARY = 1000
"""Characters. Both travel through Twilio to whoever takes the call."""


def call_control(
    can_transfer: bool, closed: Callable[[str], bool] = lambda agent: False
) -> tuple[ToolFunction, ToolFunction]:
    """``end_call`` and ``transfer_to_human``. ``can_transfer`` False: nobody can be reached. ``closed``: nor at this
    hour, for the agent of that name."""

    async def end_call(context: ToolContext) -> ToolResult:
        """End the phone call. Say goodbye in the same answer, before you use this. Use it only when the caller has said
        goodbye or has nothing more to ask."""
        return ToolResult({"message": "The call ends as soon as your goodbye has been heard."}, (EndCall(),))

    async def transfer_to_human(context: ToolContext, reason: str, summary: str) -> ToolResult:
        """Hand the call over to a person. Use it when the caller asks for one, or when the matter is legal, financial
        or otherwise too sensitive for you.

        Args:
            reason: Why, in a word or two: user-requested, legal, liability, financial, other.
            summary: What the person should know before they take the call, in one or two sentences.
        """
        if not can_transfer:
            return ToolResult(
                {
                    "transferred": False,
                    "message": "Nobody can be reached right now. Tell the caller, and offer what you can do yourself.",
                }
            )
        if closed(context.agent):
            return ToolResult(
                {
                    "transferred": False,
                    "message": "The business is closed at this hour and nobody can be reached. Tell the caller, and "
                    "offer what you can do yourself.",
                }
            )
        message = "The caller is being connected to a person. Do not promise anything more."
        transfer = Transfer(_one_line(reason, MAX_REASON), _one_line(summary, MAX_SUMMARY))
        return ToolResult({"transferred": True, "message": message}, (transfer,))

    return end_call, transfer_to_human


def add_call_control(
    registry: ToolRegistry, *, can_transfer: bool, closed: Callable[[str], bool] = lambda agent: False
) -> None:
    for function in call_control(can_transfer, closed):
        registry.add(function, terminal=True)


def _one_line(text: str, limit: int) -> str:
    return " ".join(text.split())[:limit]
