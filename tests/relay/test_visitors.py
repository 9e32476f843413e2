"""Names of visitors: ours are known again, nobody else's are believed."""

from __future__ import annotations

import pytest

from relay.visitors import Visitors

KEY, NEWER = b"k" * 32, b"n" * 32


def test_a_name_of_ours_is_known_again() -> None:
    """By every process with the same key, and under a newer key as long as the older one is kept."""
    name = Visitors([KEY]).admit(None)
    assert Visitors([KEY]).admit(name) == name
    assert Visitors([NEWER, KEY]).admit(name) == name
    assert Visitors([NEWER]).admit(name) != name


def test_each_new_visitor_is_somebody_else() -> None:
    """A name is given once."""
    assert len({Visitors([KEY]).admit(None) for _ in range(100)}) == 100


@pytest.mark.parametrize("change", [lambda name: name[:-1] + ("A" if name[-1] != "A" else "B"), str.upper])
@pytest.mark.parametrize("part", [slice(0, 24), slice(24, 46)])
def test_a_name_that_was_made_up_is_nobodys(change: object, part: slice) -> None:
    """Whoever brings it gets a new one; it says nothing about whether somebody has it."""
    assert callable(change)
    visitors = Visitors([KEY])
    name = visitors.admit(None)
    made_up = name[: part.start] + change(name[part]) + name[part.stop :]
    assert not visitors.is_ours(made_up)
    assert visitors.is_ours(visitors.admit(made_up))
    assert visitors.admit(made_up) != made_up


@pytest.mark.parametrize(
    "text",
    ["", "v_", "v_" + "A" * 44, "x" * 10_000, "\ud800", "v_" + "é" * 44, "v_" + "A" * 43 + "\n"],
    ids=lambda text: ascii(text[:20]),
)
def test_what_is_no_name(text: str) -> None:
    """Whatever a page sends, its visitor gets a name."""
    visitors = Visitors([KEY])
    assert not visitors.is_ours(text)
    assert visitors.is_ours(visitors.admit(text))
