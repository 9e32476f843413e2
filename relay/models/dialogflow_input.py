"""What Dialogflow is sent of a conversation: what the person said last. It keeps the rest itself. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from relay.heard import from_the_cut
from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.keypad import keys_of

OWN_CALL = "dialogflow_"
"""How the ids of calls begin that Dialogflow has led to."""


@dataclass(frozen=True, slots=True)
class Input:
    """``text``: what was said or written. ``keys``: what was pressed, where there are no words beside it."""

    text: str = field(default="", repr=False)
    keys: str = field(default="", repr=False)

    def cut(self, most: int) -> Input:
        """No longer than so many characters, and whole words where there are any."""
        if len(self.text) <= most:
            return self
        end = max(self.text.rfind(space, 0, most + 1) for space in " \n\t")
        return Input(self.text[: end if end > 0 else most].rstrip())


def unanswered(items: Sequence[Item]) -> Input | None:
    """The person's words and keys since they were last answered; None for none.

    Behind a tool's result there are none, unless another agent had the tool called: who takes a conversation over
    answers what it was handed over for.
    """
    items = [item for item in items if not (isinstance(item, AssistantItem) and item.aside)]
    last = items[-1] if items else None
    handed_over = isinstance(last, ToolItem)
    if isinstance(last, ToolItem) and last.call_id.startswith(OWN_CALL):
        return None
    texts: list[str] = []
    spoken = False
    for item in reversed(items):
        match item:
            case UserItem(text=text):
                spoken = spoken or bool(text.strip())
                texts.append(text.strip())
            case NoteItem(text=text) if keys := keys_of(text):
                texts.append(keys)
            case NoteItem() if not handed_over:
                continue  # what models are told of the conversation
            case AssistantItem() | ToolItem() if handed_over and not texts:
                continue  # what the other agent did and said
            case _:
                break
    said = " ".join(reversed([text for text in texts if text]))
    if not said:
        return None
    return Input(said) if spoken else Input(keys=said.replace(" ", ""))


def unheard(items: Sequence[Item]) -> str:
    """What the person did not hear of words that were cut, where they said nothing more: from the beginning of the
    sentence that was cut. "" where there is nothing of the kind."""
    if not items or not isinstance(items[-1], NoteItem):
        return ""
    for item in reversed(items):
        if isinstance(item, AssistantItem) and not item.aside:
            return from_the_cut(item.sent, item.text) if item.sent.startswith(item.text) else ""
        if not isinstance(item, NoteItem):
            break
    return ""
