"""What the tests of calls ask of a call: what its caller heard, what the model was shown, what Redis holds."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from phone.caller import Caller, Pace
from phone.endpoint.recorded import Recorded
from phone.record import Event, Word
from relay.frames import Interrupt, Text
from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from tests.running import Running

INFO = {"info": "speaker-events tokens-played", "no info": ""}
"""What an agent may subscribe to, by the name of the case."""


GREETING = "Hello from the test."
CUT = "Your last words were cut off, and the caller said nothing more."
TALE = ["Once ", "there ", "was ", "a ", "fox ", "in ", "a ", "wood ", "and ", "so ", "on. "]


class Ear:
    """A pace at which nothing waits, and nothing new is heard while the ear is held shut."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.opened.set()
        self.pace = Pace(speed=math.inf, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        await self.opened.wait()

    def shut(self) -> None:
        self.opened.clear()

    def open(self) -> None:
        self.opened.set()


def heard(call: Caller) -> list[str]:
    """What the caller heard of the agent, utterance by utterance, in the order it was given: the ground truth."""
    spoken = [each for turn in call.record.turns for each in turn.utterances if each.kind in ("greeting", "speech")]
    return [each.heard for each in spoken if each.heard]


def shown(request: Recorded) -> list[tuple[str, str]]:
    """(kind, text) of what a request shows the model; a call is named with its arguments."""
    assert request.ask is not None, "the endpoint refused the request"
    return [
        (entry.kind, f"{entry.name}({entry.text})" if entry.kind == "call" else entry.text)
        for entry in request.ask.entries
    ]


def words_shown(request: Recorded) -> list[str]:
    """The agent's words a request shows the model."""
    return [text for kind, text in shown(request) if kind == "assistant"]


def told(items: list[Item]) -> list[tuple[str, str]]:
    """(kind, text) of a history: user, assistant, note, or the name and the status of a tool."""
    lines = []
    for item in items:
        match item:
            case UserItem(text=text):
                lines.append(("user", text))
            case AssistantItem(text=text):
                lines.append(("assistant", text.strip()))
            case NoteItem(text=text):
                lines.append(("note", text))
            case ToolItem(name=name, status=status):
                lines.append((name, status))
    return lines


def words_of(items: list[Item]) -> list[str]:
    return [item.text.strip() for item in items if isinstance(item, AssistantItem)]


async def eventually(condition: Callable[[], object], within: float = 20.0) -> None:
    """Waits for what nobody tells of."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def remembered(relay: Running, call_sid: str, want: Callable[[list[Item]], object]) -> list[Item]:
    """What Redis holds of a call, in order: once ``want`` is true of it, or after ten seconds as it is."""
    latest: list[Item] = []

    def look(items: list[Item]) -> object:
        latest[:] = items
        return want(items)

    try:
        return await relay.history(call_sid, until=look, within=10.0)
    except TimeoutError:
        return latest


def whole(count: int) -> Callable[[list[Item]], bool]:
    """Whether a history has so many items and none of them is a reply that is still being said."""

    def look(items: list[Item]) -> bool:
        open_ones = [item for item in items if isinstance(item, AssistantItem) and item.status == "open"]
        return len(items) == count and not open_ones

    return look


async def remembers(relay: Running, call: Caller, lines: list[tuple[str, str]]) -> list[Item]:
    """Redis holds these lines (see ``told``) and nothing else, and what it says was heard was heard."""
    items = await remembered(relay, call.record.call_sid, lambda items: told(items) == lines)
    assert told(items) == lines
    assert words_of(items) == heard(call)
    return items


async def in_order(call: Caller) -> None:
    """Nothing was sent that Twilio would refuse, nothing of a cut reply, and every talk cycle was closed once."""
    await call.until(lambda: call.outcome is not None or call.session.player.silent)
    assert call.record.ghosts == []
    assert call.record.faults == []
    assert call.record.stray_closings == 0


def closings(call: Caller, since: float = 0.0) -> list[Text]:
    """The closing frames that came from this moment on, or from the first interrupt on, up to the next words."""
    since = since or next(at for at, frame in call.record.sent if isinstance(frame, Interrupt))
    frames: list[Text] = []
    for received in call.record.received:
        if received.at < since or not isinstance(received.frame, Text):
            continue
        if received.frame.token:
            break
        frames.append(received.frame)
    return frames


async def interrupted(call: Caller, ask: str, words: int, say: str = "") -> None:
    """Asks, talks over the answer after so many words, and says ``say``."""
    stop = call.interrupt_after(words, say)
    await call.say(ask)
    assert await stop


async def has_read(call: Caller) -> None:
    """The app has read every frame sent so far: it answers a ping only after them."""
    pong = await call.session._socket.ping()
    await asyncio.wait_for(pong, 20)


def shutting(ear: Ear, words: int) -> Callable[[Event], None]:
    """A listener that holds the ear shut from the so-manieth word of the call on."""
    count = 0

    def listen(event: Event) -> None:
        nonlocal count
        count += isinstance(event, Word)
        if isinstance(event, Word) and count == words:
            ear.shut()

    return listen


def texts_of(call: Caller) -> list[Text]:
    return [frame for frame in call.frames if isinstance(frame, Text)]
