"""The terminal phone: what it draws, what it reads, and written calls, against an app that speaks our side."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phone.caller import FAST, Caller
from phone.keyboard import Keyboard
from phone.record import Notice, Outcome, Said, Silence, Turn, Word
from phone.screen import Screen, width_of
from phone.script_file import BreakIn, Press, Quit, Speak, Step, parse_line, parse_script
from phone.terminal import describe, play, talk
from relay.frames import AgentSpeaking, Dtmf, End, Incoming, Interrupt, Prompt
from tests.fakes.echo_app import Behave, EchoApp, Wire, echo

LONG = "One two three four five six seven eight nine ten."


class Glass:
    """Enough of a terminal to see what is on it; raises when something is written past the last column."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows: list[list[str]] = [[]]
        self.y = self.x = 0

    def feed(self, text: str) -> None:
        for part in re.findall(r"\x1b\[\d*[A-Za-z]|[^\x1b]", text):
            if not part.startswith("\x1b"):
                self._char(part)
            elif part == "\x1b[A":
                self.y -= 1
            elif part == "\x1b[K":
                del self.rows[self.y][self.x :]
            elif part.endswith("G"):
                self.x = int(part[2:-1]) - 1
            else:
                assert part.endswith("m")

    def _char(self, char: str) -> None:
        if char == "\r":
            self.x = 0
        elif char == "\n":
            self.y, self.x = self.y + 1, 0
            while len(self.rows) <= self.y:
                self.rows.append([])
        else:
            width = width_of(char)
            assert self.x + width <= self.columns, "written past the edge"
            row = self.rows[self.y]
            row.extend(" " * (self.x - len(row)))
            row[self.x : self.x + width] = [char] + [""] * (width - 1)
            self.x += width

    @property
    def text(self) -> list[str]:
        return ["".join(row).rstrip() for row in self.rows]


TURN = Turn("hi", 1.0, 1.42)


def drawn(screen: Screen, text: str, cut: bool = False) -> None:
    for number, word in enumerate(re.findall(r"\s*\S+", text)):
        screen.show(Word(word, TURN, number == 0))
    screen.show(Silence(TURN, cut))


# Drawing


def test_a_call_in_a_pipe() -> None:
    """Plain lines without a control code, the time to a turn's first words behind them, what was cut marked."""
    out = io.StringIO()
    screen = Screen(out)
    screen.show(Said("hi"))
    drawn(screen, "Hello there.")
    drawn(screen, "It is", cut=True)
    screen.show(Notice("the call was taken up again"))
    assert out.getvalue() == ("you> hi\nagent> Hello there. (0.42 s)\nagent> It is --\n* the call was taken up again\n")


def test_what_the_agent_says_unasked_has_no_time() -> None:
    """There was nothing it could have been quick to answer."""
    out = io.StringIO()
    screen, turn = Screen(out), Turn("", 1.0, 9.0)
    screen.show(Word("Still there?", turn, True))
    screen.show(Silence(turn))
    assert out.getvalue() == "agent> Still there?\n"


def test_colours_only_where_asked() -> None:
    """Colours need colour=True, and everything dyed is undyed again."""
    out = io.StringIO()
    drawn(Screen(out, colour=True), "Hello.")
    assert out.getvalue() == "\x1b[1magent> \x1b[0mHello.\x1b[2m (0.42\x1b[0m\x1b[2m s)\x1b[0m\n"


def test_words_above_the_line_being_typed() -> None:
    """Live, speech and remarks appear above the prompt, which stays whole."""
    out = io.StringIO()
    screen = Screen(out, live=True, columns=20)
    screen.typing("")
    screen.show(Word("Hello", TURN, True))
    screen.typing("wa")
    screen.show(Word(" there", TURN, False))
    screen.typing("wait")
    screen.show(Silence(TURN, cut=True))
    screen.typing("")
    screen.show(Said("wait"))
    glass = Glass(20)
    glass.feed(out.getvalue())
    assert glass.text == ["agent> Hello there", "-- (0.42 s)", "you> wait", "you>"]
    screen.stop_typing()
    screen.note("done")
    glass = Glass(20)
    glass.feed(out.getvalue())
    assert glass.text[-2:] == ["* done", ""]


WORDS = st.text("abc漢字é\u0301\x1b\x07", min_size=1, max_size=14)


@given(
    columns=st.integers(8, 30),
    actions=st.lists(
        st.tuples(st.just("speak"), st.lists(WORDS, max_size=6).map(" ".join), st.booleans())
        | st.tuples(st.sampled_from(["type", "said", "note"]), WORDS, st.booleans()),
        max_size=12,
    ),
)
def test_nothing_is_ever_wider_than_the_terminal(columns: int, actions: list[tuple[str, str, bool]]) -> None:
    """Whatever is said, typed and noted at whatever width: no row overflows and the last one is the prompt."""
    out = io.StringIO()
    screen = Screen(out, live=True, columns=columns)
    screen.typing("")
    for kind, text, cut in actions:
        match kind:
            case "speak":
                drawn(screen, text, cut)
            case "type":
                screen.typing(text)
            case "said":
                screen.show(Said(text))
            case _:
                screen.show(Notice(text))
    glass = Glass(columns)
    glass.feed(out.getvalue())
    assert glass.text[-1].startswith("you>")
    assert sum(row.startswith("you>") for row in glass.text) == 1 + sum(kind == "said" for kind, _, _ in actions)


# Reading


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("hello #5", Speak("hello #5")),
        (" #5 ", Press("5")),
        ("#12*#", Press("12*#")),
        ("#", Speak("#")),
        ("#5 is my number", Speak("#5 is my number")),
        ("! stop ", BreakIn("stop")),
        ("!", None),
        ("/quit", Quit()),
        ("// a remark", None),
        ("  ", None),
    ],
)
def test_lines(line: str, step: Step | None) -> None:
    """Words, keys, interrupts, hanging up, remarks and nothing."""
    assert parse_line(line) == step


def test_a_script_ends_at_quit() -> None:
    """Blank lines and remarks are skipped, and so is everything behind /quit."""
    assert parse_script("\ufeffhello\n\n// remark\n#5\n/quit\nmore\n") == [Speak("hello"), Press("5")]


async def typed(keys: bytes, count: int) -> tuple[list[str | None], list[str]]:
    """What a live keyboard makes of keys, and what was on the glass."""
    main, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    out = io.StringIO()
    screen = Screen(out, live=True, columns=40)
    try:
        with Keyboard(terminal, screen, live=True) as keyboard:
            os.write(main, keys)
            async with asyncio.timeout(20):
                lines = [await keyboard.line() for _ in range(count)]
        assert termios.tcgetattr(terminal) == before
    finally:
        os.close(main)
        os.close(terminal)
    glass = Glass(40)
    glass.feed(out.getvalue())
    return lines, glass.text


async def test_typing_in_a_terminal() -> None:
    """Erasing, arrows, letters of two bytes, several lines at once, Ctrl-D at the end; the terminal is given back."""
    lines, glass = await typed("helo\x7flo\x1b[D\x1bOA ñ\nnever\x15second\n\x04".encode(), 3)
    assert lines == ["hello ñ", "second", None]
    assert glass == [""]


async def test_lines_from_something_else() -> None:
    """Not live, lines are taken as they come and the end of input is the end."""
    read, write = os.pipe()
    screen = Screen(io.StringIO())
    with Keyboard(read, screen, live=False) as keyboard:
        os.write(write, b"one\ntw")
        os.write(write, b"o")
        os.close(write)
        async with asyncio.timeout(20):
            assert [await keyboard.line() for _ in range(3)] == ["one", "two", None]
    os.close(read)


# Calls


class Typist:
    """Lines typed one by one; the next when the agent has answered, or at once after one that ends in '...'."""

    def __init__(self, call: Caller, *lines: str) -> None:
        self._call = call
        self._lines = list(lines)

    async def line(self) -> str | None:
        if len(self._call.record.turns) > 1:
            await self._call.reply()
        return self._lines.pop(0) if self._lines else None


async def run(
    behave: Behave, script: str, *, settle: float = 0.02, patience: float = 10, greeting: str = "", keys: bool = False
) -> tuple[bool, str, EchoApp, Caller]:
    out = io.StringIO()
    screen = Screen(out)
    dtmf = "true" if keys else "false"
    async with (
        EchoApp(behave, answers=("<Hangup/>",), welcomeGreeting=greeting, dtmfDetection=dtmf) as app,
        Caller(app.url, pace=FAST, listen=screen.show) as call,
    ):
        good = await play(call, screen, parse_script(script), settle=settle, patience=patience)
    return good, re.sub(r" \(\d+\.\d\d s\)", "", out.getvalue()), app, call


async def test_a_written_call() -> None:
    """Every line is said after the reply to the one before, and the transcript is printed as it is heard."""
    good, text, _, call = await run(echo, "one\ntwo\n", greeting="Hello.")
    assert good
    assert text.splitlines() == [
        "agent> Hello.",
        "you> one",
        "agent> You said: one.",
        "you> two",
        "agent> You said: two.",
    ]
    assert call.outcome == Outcome("caller")


async def test_a_line_that_breaks_in() -> None:
    """A line with ! interrupts the reply to the line before in the middle, and two in a row both do."""

    async def long(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt):
            await wire.say(LONG)

    good, text, app, _ = await run(long, "go\n! stop\n! really stop\n")
    assert good
    assert text.splitlines() == [
        "you> go",
        "agent> One two three four five --",
        "you> stop",
        "agent> One two three four five --",
        "you> really stop",
        f"agent> {LONG}",
    ]
    assert sum(isinstance(f, Interrupt) for f in app.frames) == 2


async def test_a_first_line_that_breaks_in_cuts_the_greeting() -> None:
    """With nothing before it, ! interrupts the greeting."""
    good, text, _, _ = await run(echo, "! stop\n", greeting=LONG)
    assert good
    assert text.splitlines()[:2] == ["agent> One two three four five --", "you> stop"]


async def test_a_line_that_brings_no_words() -> None:
    """A turn without words makes the call a failure, and says so; so does an interrupt with nothing to interrupt."""

    async def mute(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt) and frame.voice_prompt == "speak":
            await wire.say("Yes.")

    good, text, _, _ = await run(mute, "hush\nspeak\n", patience=0.3)
    assert not good
    assert text.splitlines() == ["you> hush", "* no words came", "you> speak", "agent> Yes."]
    good, text, _, _ = await run(mute, "hush\n! speak\n", patience=0.3)
    assert not good and text.splitlines() == ["you> hush", "you> speak", "agent> Yes."]


async def test_a_call_that_is_over_early() -> None:
    """Lines left over when the agent hangs up are counted, and make the call a failure."""

    async def curt(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt):
            await wire.say("Bye.")
        if frame == AgentSpeaking(False):
            await wire.send(End())

    good, text, _, call = await run(curt, "bye\n", settle=0.3)
    assert good and call.outcome == Outcome("agent")
    good, text, _, _ = await run(curt, "bye\nhello?\n", settle=0.3)
    assert not good
    assert text.splitlines()[-1] == "* 1 of 2 lines were not heard by the agent"


async def test_keys_in_a_written_call() -> None:
    """Keys are pressed and answered; an agent that takes none makes the call a failure."""

    async def keys(wire: Wire, frame: Incoming) -> None:
        if frame == Dtmf("2"):
            await wire.say("Twelve.")

    good, text, _, _ = await run(keys, "#12\n", keys=True)
    assert good and text.splitlines() == ["you> #12", "agent> Twelve."]
    good, text, _, _ = await run(keys, "#12\n")
    assert not good and text.splitlines()[1] == "* the agent takes no keys just now"


async def test_a_person_typing() -> None:
    """Typed lines are said, keys pressed, and the end of input hangs up."""
    out = io.StringIO()
    screen = Screen(out)
    async with EchoApp() as app, Caller(app.url, pace=FAST, listen=screen.show) as call:
        outcome = await talk(call, screen, Typist(call, "hello", "", "#5", "! again"))
        assert outcome == Outcome("caller")
    text = re.sub(r" \(\d+\.\d\d s\)", "", out.getvalue())
    assert text.splitlines() == [
        "you> hello",
        "agent> You said: hello.",
        "you> #5",
        "* the agent takes no keys just now",
        "you> again",
        "agent> You said: again.",
    ]


async def test_the_agent_ends_a_typed_call() -> None:
    """When the app ends the call nobody has to press anything more."""

    class Nothing:
        async def line(self) -> str | None:
            await asyncio.Event().wait()
            return None

    async def leave(wire: Wire, frame: Incoming) -> None:
        await wire.send(End())

    async with EchoApp(leave, answers=("<Dial>+15550009</Dial>",)) as app, Caller(app.url, pace=FAST) as call:
        outcome = await talk(call, Screen(io.StringIO()), Nothing())
    assert describe(outcome) == "transferred to +15550009"


def test_how_calls_end_in_words() -> None:
    """Every outcome has its sentence."""
    assert describe(Outcome("agent")) == "the agent hung up"
    assert describe(Outcome("caller")) == "you hung up"
    assert describe(Outcome("lost", error="64105 Websocket ended")) == "the call was lost: 64105 Websocket ended"
