"""What is known of a caller, as far as the model may change it."""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable
from typing import Any, Protocol

from relay.errors import StoreError, ToolError, ToolRetry
from relay.store.people import is_known
from relay.toolbox import PersonChanged, ToolContext
from tools.registry import ToolFunction, ToolRegistry, ToolResult

MAX_NAME = 80
"""Characters of a first or a last name."""

_JOINERS = "\u200c\u200d"  # control characters to Unicode, but part of names in Persian and Indian scripts


class People(Protocol):
    """Where what is known of people is kept (``relay/store/people.py``)."""

    def update(self, person: str, /, **changes: str) -> Awaitable[Any]:
        """Sets these fields of a person and no others. Raises StoreError."""
        ...


def profile(people: People) -> ToolFunction:
    """``save_name``, for these people."""

    async def save_name(context: ToolContext, first_name: str, last_name: str) -> ToolResult:
        """Save the caller's first and last name, once the caller has said both.

        Args:
            first_name: The first name, spelled as the caller wants it.
            last_name: The last name, spelled as the caller wants it.
        """
        first, last = _name("first_name", first_name), _name("last_name", last_name)
        if not context.person:
            return ToolResult({"saved": False, "message": f"{first} {last} is noted for this conversation only."})
        try:
            await people.update(context.person, first_name=first, last_name=last)
        except StoreError as error:
            raise ToolError(
                "The name could not be saved just now. Go on with the conversation and use the name all the same."
            ) from error
        message = f"The name {first} {last} is saved."
        if not is_known(context.person):
            message = f"The name {first} {last} is saved for this call; the caller's number is withheld."
        return ToolResult({"saved": True, "message": message}, (PersonChanged(),))

    return save_name


def add_profile(registry: ToolRegistry, people: People) -> None:
    registry.add(profile(people), side_effect=True)


def _name(argument: str, value: str) -> str:
    """The name with single spaces. Raises ToolRetry for what cannot be one."""
    name = " ".join(value.split())
    if not name:
        raise ToolRetry(f"{argument} is empty: ask the caller for it.")
    if len(name) > MAX_NAME:
        raise ToolRetry(f"{argument} is longer than {MAX_NAME} characters.")
    if any(unicodedata.category(each)[0] == "C" and each not in _JOINERS for each in name):
        raise ToolRetry(f"{argument} holds characters that cannot be part of a name.")
    return name
