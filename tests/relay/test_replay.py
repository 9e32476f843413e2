"""Frames told again after a reconnect are known by what they say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relay.frames import AgentSpeaking, ClientSpeaking, Dtmf, Interrupt, Prompt
from relay.replay import MOST, Replay, Told, digest


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
