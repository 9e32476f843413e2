"""What a debate is about, as it is read, kept and told; the way to it from a request is in tests/handlers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.debating import MOST_STANCE, MOST_TOPIC, SET_DEBATE, Debate, one_line, parse
from relay.models.options import is_strict

TEA = Debate("Tea or coffee", "Tea wins.")


def test_the_function_suits_strict_mode() -> None:
    """So that providers hold the model to it."""
    assert is_strict(SET_DEBATE.parameters)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ('{"topic": "Tea", "stance": "It wins."}', Debate("Tea", "It wins.")),
        ('```json\n{"topic": "Tea\\n\\nNow", "stance": ""}\n```', Debate("Tea Now", "")),
        ('{"topic": 3, "stance": null}', Debate()),
        ("No topic.", Debate()),
        ("[]", Debate()),
        ("} {", Debate()),
        ("", Debate()),
    ],
)
def test_what_a_model_answers(answer: str, found: Debate) -> None:
    """Arguments, or an object among words; nothing where it is neither."""
    assert parse(answer) == found


def test_what_is_given_cannot_change_what_is_settled() -> None:
    """It fills in what is missing; the same again is no change."""
    assert TEA.given("", "") == TEA.given("tea or COFFEE", "") == TEA.given(" Tea or\ncoffee ", "tea wins.") == TEA
    assert TEA.given("Milk", "") is TEA.given("", "Coffee wins.") is None
    assert Debate("Tea or coffee", "").given("", "Tea wins.") == TEA == Debate().given(TEA.topic, TEA.stance)
    assert Debate("", "Tea wins.").given("Milk", "Coffee wins.") is None


def test_what_is_kept() -> None:
    """Only what is known is written, and it is read as it was."""
    for debate in (TEA, Debate(), Debate("", "Tea wins.")):
        assert Debate.kept(debate.state()) == debate
    assert Debate().state() == {} and TEA.settled and not Debate("Tea", "").settled


@given(st.text(max_size=400), st.text(max_size=400))
def test_whatever_the_words_are_they_stay_a_quotation(topic: str, stance: str) -> None:
    """Two lines, each with the quotation marks of ours only, and as many lines as ever."""
    debate = Debate().given(topic, stance)
    assert debate is not None
    told = debate.instructions("You debate.").splitlines()
    if debate.settled:
        usual = TEA.instructions("You debate.").splitlines()
        assert len(told) == len(usual)
        changed = [new for new, old in zip(told, usual, strict=True) if new != old]
        assert all(line.startswith(("Topic: ", "Your side: ")) and line.count('"') == 2 for line in changed)
    assert len(debate.topic) <= MOST_TOPIC and len(debate.stance) <= MOST_STANCE


def test_a_line_is_cut() -> None:
    """With an ellipsis, and without what cannot be seen."""
    assert one_line("a\u2028b\x00\n\u200e c", 10) == "a b c"
    assert one_line("x" * 20, 10) == "x" * 9 + "…"
