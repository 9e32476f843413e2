"""Frames told again after a reconnect are known by what they say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.frames import AgentSpeaking, ClientSpeaking, Dtmf, Incoming, Interrupt, Prompt
from relay.replay import HIDDEN_KEY, MOST, Gate, Replay, Told, digest


def prompts(letters: str) -> list[Prompt]:
    return [Prompt(letter, "en-US") for letter in letters]


def told(letters: str) -> list[str]:
    return [digest(frame) for frame in prompts(letters)]


def new(known: str, arriving: str) -> str:
    """What of the arriving prompts is new after these were told, once time is up."""
    replay = Replay(told(known))
    frames = [each for frame in prompts(arriving) for each in replay.take(frame)] + replay.settle()
    return "".join(frame.voice_prompt for frame in frames if isinstance(frame, Prompt))


def test_the_longest_suffix_that_arrives_is_skipped() -> None:
    """Whatever of the end is told again; what comes behind it is new."""
    assert new("abc", "bcd") == "d"
    assert new("abc", "abcx") == "x"
    assert new("abab", "abab") == ""
    assert new("aab", "b") == ""


def test_what_does_not_end_the_list_is_new() -> None:
    """A run that stops short of the last frame told is no replay."""
    assert new("abc", "ab") == "ab"
    assert new("abc", "x") == "x"
    assert new("", "a") == "a"


def test_a_new_frame_is_let_go_at_once() -> None:
    """Nothing waits for a clock where the first frame cannot be a replay."""
    replay = Replay(told("abc"))
    frame = Prompt("x", "en-US")
    assert replay.take(frame) == [frame]
    assert replay.over


def test_frames_in_doubt_wait_and_come_in_order() -> None:
    """A frame that may begin a replay waits for the next; with it comes what arrived in between."""
    replay = Replay(told("ab"))
    a, x = prompts("ax")
    assert replay.take(a) == []
    assert replay.take(AgentSpeaking(True)) == []
    assert replay.take(x) == [a, AgentSpeaking(True), x]


def test_other_frames_are_never_replays() -> None:
    """Partials and info frames have no digest; keys, prompts and interrupts have one each."""
    assert digest(Prompt("a", "en-US", last=False)) == "" == digest(ClientSpeaking(True))
    marks = {digest(Prompt("1")), digest(Dtmf("1")), digest(Interrupt("1", 5)), digest(Interrupt("1", 6))}
    assert len(marks) == 4 and "" not in marks


@given(st.text("ab", max_size=8), st.text("ab", max_size=8), st.text("ab", max_size=4))
def test_a_replay_is_never_answered_twice(before: str, known: str, after: str) -> None:
    """Of the told frames' end, told again, nothing is new; of what follows, only what could pass for more of it."""
    assert after.endswith(new(before + known, known + after))


def test_the_list_is_bounded_and_survives_the_store() -> None:
    """It keeps the newest, and reads what it wrote."""
    kept = Told()
    marks = [digest(Dtmf(str(number % 10))) for number in range(MOST + 7)]
    for mark in marks:
        kept.add(mark)
    assert Told(kept.text).marks() == marks[-MOST:]


# -- the gate, from socket to socket


def test_nothing_passes_before_it_is_known_what_was_told() -> None:
    """Then all of it, in order, but what was told; and from then on everything at once."""
    gate = Gate()
    a, b, c = prompts("abc")
    assert [gate.take(each) for each in (a, ClientSpeaking(True), b)] == [[], [], []]
    assert gate.open("".join(told("xa"))) == ([ClientSpeaking(True), b], 0)
    assert gate.take(c) == [c]
    assert gate.recognised == 1


def test_frames_over_the_rate_are_kept_for_another_socket_of_a_session_only() -> None:
    """On a first socket they are dropped, and counted; the spare ones end with the window."""
    for known, kept, spared in ((None, "ac", False), ("", "abc", True)):
        gate = Gate()
        assert gate.spare()
        for frame, over in zip(prompts("abc"), (False, True, False), strict=True):
            gate.take(frame, over)
        frames, dropped = gate.open(known)
        assert ("".join(each.voice_prompt for each in frames if isinstance(each, Prompt)), dropped) == (
            kept,
            3 - len(kept),
        )
        assert gate.spare() is spared
        gate.settle()
        assert not gate.spare()


def test_so_many_spare_frames_and_no_more() -> None:
    """As many as Twilio keeps."""
    gate = Gate()
    assert [gate.spare() for _ in range(MOST + 2)] == [True] * MOST + [False] * 2


NOISE = st.sampled_from([ClientSpeaking(True), AgentSpeaking(False), Prompt("a part", last=False)])


@st.composite
def events(draw: st.DrawFn) -> list[Incoming]:
    """What happens in a session: no two prompts or interrupts are alike, everything else may be."""
    kinds = draw(st.lists(st.sampled_from(["prompt", "interrupt", "noise"]), max_size=14))
    made: list[Incoming] = []
    for number, kind in enumerate(kinds):
        if kind == "noise":
            made.append(draw(NOISE))
        else:
            made.append(Prompt(f"words {number}") if kind == "prompt" else Interrupt("so far", number))
    return made


@given(st.data(), events(), st.integers(0, 4))
def test_every_event_is_acted_on_once(data: st.DataObject, events: list[Incoming], drops: int) -> None:
    """Wherever sockets are lost, however much is told again, whatever the process that was killed had not written yet:
    that is as if it had never been."""
    marked = [event for event in events if digest(event)]
    acted: list[Incoming] = []
    known, sent = Told(), 0  # what is stored, and how many of the events Twilio has written to a socket
    for drop in range(drops + 1):
        last = drop == drops
        gate = Gate()
        acted = acted[: len(known.marks())]  # with the marks the items are lost, or neither
        first = index_of(events, marked, len(acted))
        start = data.draw(st.integers(0, min(first, sent)), "told again from")
        stop = len(events) if last else data.draw(st.integers(start, len(events)), "lost at")
        opened = data.draw(st.integers(start, stop), "known at")
        for at in range(start, opened):
            assert gate.take(events[at]) == []
        let_in = gate.open(known.text)[0]
        for at in range(opened, stop):
            let_in += gate.take(events[at])
        if last or data.draw(st.booleans(), "lasts"):
            let_in += gate.settle()
        for event in let_in:
            gate.told.add(digest(event))
        acted += [event for event in let_in if digest(event)]
        sent = max(sent, stop)
        if not last:
            kept = data.draw(st.integers(len(known.marks()), len(gate.told.marks())), "written")
            known = Told("".join(gate.told.marks()[:kept]))
    assert acted == marked


def index_of(events: list[Incoming], marked: list[Incoming], count: int) -> int:
    """Where the event stands that follows the first ``count`` marked ones."""
    if count == len(marked):
        return len(events)
    return next(at for at, event in enumerate(events) if event is marked[count])


def keys(digits: str) -> list[Incoming]:
    return [Dtmf(digit) for digit in digits]


def test_keys_that_a_tool_waited_for_are_known_without_a_digest() -> None:
    """Any key may be one of them, nothing else; their marks are all the same."""
    replay = Replay([digest(Prompt("Hi")), HIDDEN_KEY, HIDDEN_KEY])
    assert [each for frame in keys("12") for each in replay.take(frame)] == []
    assert replay.settle() == []
    replay = Replay([HIDDEN_KEY])
    assert replay.take(Prompt("Hi")) == [Prompt("Hi")]


def test_the_last_keys_can_be_hidden_afterwards() -> None:
    """When a tool takes them over; what stands between them is left."""
    told = Told()
    events: list[Incoming] = [*keys("1"), Prompt("Hi"), *keys("2"), Interrupt("a"), *keys("3")]
    for event in events:
        told.add(digest(event))
    told.hide_keys(0)
    assert told.marks() == [digest(event) for event in events]
    told.hide_keys(2)
    assert told.marks() == [*map(digest, events[:2]), HIDDEN_KEY, digest(events[3]), HIDDEN_KEY]
