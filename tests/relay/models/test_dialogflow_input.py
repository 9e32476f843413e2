"""What Dialogflow is sent of a conversation."""

from __future__ import annotations

import pytest

from relay.items import MOVING, AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.models.dialogflow_input import Input, unanswered, unheard

KEYS = NoteItem("The caller pressed 1 2 on the keypad.")
MAPPED = NoteItem("The caller pressed 8.")
ANSWER = AssistantItem("Yes?")
SWITCH = ToolItem("call_1", "switch_agent", "{}", "{}")
OWN = ToolItem("dialogflow_1", "transfer_to_human", "{}", "{}")
CUT = NoteItem("Your last words were cut off.")


@pytest.mark.parametrize(
    ("items", "wanted"),
    [
        ([], None),
        ([UserItem("  ")], None),
        ([ANSWER], None),
        ([UserItem("Hi")], Input("Hi")),
        ([UserItem("Old"), ANSWER, UserItem(" Hi "), UserItem("there")], Input("Hi there")),
        ([UserItem("Hi"), AssistantItem("One moment.", origin="filler")], Input("Hi")),
        ([UserItem("Hi"), AssistantItem("A pause.", origin=MOVING), NoteItem("Late.")], Input("Hi")),
        ([UserItem("Hi"), AssistantItem("Sorry.", origin="apology"), UserItem("Hi!")], Input("Hi!")),
        ([ANSWER, KEYS], Input(keys="12")),
        ([ANSWER, KEYS, KEYS], Input(keys="1212")),
        ([ANSWER, UserItem("It is"), KEYS], Input("It is 12")),
        ([UserItem("Hi"), ANSWER, MAPPED], None),
        ([UserItem("Hi"), ANSWER, CUT], None),
        ([NoteItem("They were on hold.")], None),
        # another agent has handed over
        ([UserItem("Old"), ANSWER, UserItem("A table"), SWITCH], Input("A table")),
        ([UserItem("A table"), AssistantItem("One second."), SWITCH], Input("A table")),
        ([UserItem("A table"), ToolItem("c", "look", "{}", "{}"), AssistantItem("So."), SWITCH], Input("A table")),
        ([UserItem("A table"), SWITCH, SWITCH], Input("A table")),
        ([UserItem("Hi"), ANSWER, MAPPED, SWITCH], None),
        ([UserItem("Hi"), ANSWER, KEYS, SWITCH], Input(keys="12")),
        # Dialogflow has called a tool itself
        ([UserItem("Hi"), ANSWER, OWN], None),
        ([UserItem("Hi"), OWN, UserItem("Well?")], Input("Well?")),
    ],
)
def test_what_is_sent(items: list[Item], wanted: Input | None) -> None:
    """All that nobody has answered, and nothing else."""
    assert unanswered(items) == wanted


@pytest.mark.parametrize(
    ("text", "most", "wanted"),
    [
        ("one two", 7, "one two"),
        ("one two", 6, "one"),
        ("one two", 3, "one"),
        ("one  two", 5, "one"),
        ("onetwo", 4, "onet"),
        ("one\ntwo", 5, "one"),
    ],
)
def test_a_text_that_is_cut(text: str, most: int, wanted: str) -> None:
    """At white space where there is any."""
    assert Input(text).cut(most) == Input(wanted)


def test_nothing_of_it_is_shown() -> None:
    """Words and keys are in no representation, which may reach a log."""
    assert "secret" not in repr(Input("secret")) and "12" not in repr(Input(keys="12"))


@pytest.mark.parametrize(
    ("items", "wanted"),
    [
        ([UserItem("Hi"), AssistantItem("At nine. There", sent="At nine. There is room."), CUT], "There is room."),
        ([UserItem("Hi"), AssistantItem("At", sent="At nine."), CUT, NoteItem("Late.")], "At nine."),
        ([UserItem("Hi"), AssistantItem("At nine."), CUT], ""),
        ([UserItem("Hi"), AssistantItem("Else", sent="At nine."), CUT], ""),
        ([UserItem("Hi"), AssistantItem("At", sent="At nine."), UserItem("Go on"), CUT], ""),
        ([UserItem("Hi"), AssistantItem("At", sent="At nine.")], ""),
        ([CUT], ""),
        ([], ""),
    ],
)
def test_what_was_cut(items: list[Item], wanted: str) -> None:
    """Is gone on with where nobody has said anything since, from the beginning of the sentence."""
    assert unheard(items) == wanted
