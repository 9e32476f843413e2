"""How single items of a conversation are shown, where a real call would hardly bring them about."""

from __future__ import annotations

from typing import Any

import pytest

from handlers.conversations import Views
from handlers.masking import Masking
from relay.items import AssistantItem, Item, NoteItem, ToolItem
from relay.masks import MASK
from relay.toolbox import ToolContext
from tools.registry import ToolRegistry


async def greet(context: ToolContext, first_name: str) -> dict[str, str]:
    """Greet."""
    return {"status": "done"}


def shown(item: Item, *, show: bool = True) -> dict[str, Any]:
    tools = ToolRegistry()
    tools.add(greet)
    return Views(Masking(show=show), tools, b"key", lambda: 0).item(7, item)


@pytest.mark.parametrize(
    ("item", "text", "heard", "unheard"),
    [
        (AssistantItem("One two three", "open", heard=2), "One two three", "One two", ""),
        (AssistantItem("One two three", "open"), "One two three", "", ""),
        (AssistantItem("One two three"), "One two three", "One two three", ""),
        (
            AssistantItem("One two", "interrupted", sent="One two three four"),
            "One two three four",
            "One two",
            " three four",
        ),
        (AssistantItem("One two three", "interrupted"), "One two three", "One two three", ""),
        (
            # The keys are masked where they are whole in one, and stand broken off in the other.
            AssistantItem(f"It is {MASK}", "interrupted", sent="It is 12345 and more"),
            *("It is 12345 and more", f"It is {MASK}", " 12345 and more"),
        ),
    ],
    ids=["being heard", "not heard yet", "heard", "cut", "cut at its end", "keys masked"],
)
def test_what_was_heard(item: AssistantItem, text: str, heard: str, unheard: str) -> None:
    """Of a reply that is still played what is known; nothing counts as unheard before it is over."""
    found = shown(item)
    assert (found["text"], found["heard"], found["unheard"]) == (text, heard, unheard)


def test_a_tool_that_a_model_made_up() -> None:
    """Its name may be anybody's words, and the names of its arguments too; those of ours are shown."""
    ours = shown(
        ToolItem("t", "greet", '{"first_name": "Ann", "Lee": 1}', '{"status": "done", "who": "Ann"}'), show=False
    )
    assert (ours["name"], ours["arguments"]) == ("greet", '{"first_name":"•••","••• 2":"•"}')
    assert ours["output"] == '{"status":"••••","••• 2":"•••"}'
    theirs = shown(ToolItem("t", "call_ann", '{"first_name": "Ann"}', "oops"), show=False)
    assert (theirs["name"], theirs["arguments"], theirs["output"]) == ("••••••••", '{"•••••••• 1":"•••"}', "••••")


def test_every_item_has_every_field() -> None:
    """So a page needs to ask for none."""
    note, said = shown(NoteItem("pressed 1")), shown(AssistantItem("Hello.", started=5))
    assert note.keys() == said.keys()
    assert (note["kind"], note["position"], note["at"], note["name"]) == ("note", 7, None, "")
    assert said["at"] == 5
