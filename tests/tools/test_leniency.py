"""Arguments as models write them: what is clearly meant is taken, what is not is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
import pytest
from pydantic import BaseModel, Field

from relay.toolbox import ToolContext
from tools.registry import ToolRegistry

CONTEXT = ToolContext(conversation="CA1", channel="voice", agent="default")


class Part(BaseModel):
    name: str
    details: str = ""
    count: Annotated[int, Field(ge=1)] = 1


async def reserve(
    context: ToolContext,
    kind: Literal["one-bedroom", "pet policy"],
    parts: list[Part] = [],  # noqa: B006  # an argument a model leaves out
    most: int | None = None,
    price: float = 0.0,
    tour: Literal["in-person", "self-guided"] | None = None,
    ends: Literal["#", "*", ""] = "#",
    note: str = "",
) -> dict[str, Any]:
    """Reserve something."""
    return {"kind": kind, "parts": parts, "most": most, "price": price, "tour": tour, "ends": ends, "note": note}


LEFT_OUT = {"parts": [], "most": None, "price": 0.0, "tour": None, "ends": "#", "note": ""}


async def reserved(arguments: str) -> dict[str, Any]:
    registry = ToolRegistry()
    registry.add(reserve)
    found: dict[str, Any] = orjson.loads((await registry.run("reserve", arguments, CONTEXT)).output)
    return found


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"parts": None, "most": None, "price": None, "tour": None, "ends": None, "note": None}, {}),
        ({"parts": "", "most": "", "price": " ", "tour": "", "note": ""}, {}),
        ({"most": "null", "tour": "None"}, {}),
        ({"extra": None, "other": ""}, {}),
        ({"ends": ""}, {"ends": ""}),
        ({"kind": "One Bedroom"}, {"kind": "one-bedroom"}),
        ({"kind": "pet_policy"}, {"kind": "pet policy"}),
        ({"tour": "selfGuided"}, {"tour": "self-guided"}),
        ({"most": "$1,500"}, {"most": 1500}),
        ({"most": "1500 dollars a month"}, {"most": 1500}),
        ({"most": "1500.0"}, {"most": 1500}),
        ({"most": "4 0 1 7"}, {"most": 4017}),
        ({"most": "#4017"}, {"most": 4017}),
        ({"price": "$18.50"}, {"price": 18.5}),
        ({"most": "1.300 dólares"}, {"most": 1300}),
        ({"price": "0.125"}, {"price": 0.125}),
        ({"price": "18,50 dólares"}, None),
        ({"most": "2-3"}, None),
        ({"most": "1500 or 1600"}, None),
        ({"most": "many"}, None),
        ({"tour": "by boat"}, None),
        ({"color": "red"}, None),
        ({"NOTE": "x"}, {"note": "x"}),
        ({"note": "x", "Note": "y"}, None),
        ({"note": 14}, {"note": "14"}),
        ({"note": ["mushrooms", "no onions"]}, {"note": "mushrooms, no onions"}),
        ({"note": True}, None),
        (
            {"parts": {"name": "a", "details": None, "count": "2"}},
            {"parts": [{"name": "a", "details": "", "count": 2}]},
        ),
        ({"parts": '[{"name": "a", "count": null}]'}, {"parts": [{"name": "a", "details": "", "count": 1}]}),
        ({"parts": [None]}, None),
    ],
)
async def test_what_is_meant_is_taken(written: dict[str, Any], read: dict[str, Any] | None) -> None:
    """And what could mean two things, or nothing, is refused by name."""
    found = await reserved(orjson.dumps({"kind": "one-bedroom", **written}).decode())
    if read is None:
        assert found["error"] == "wrong_arguments" and next(iter(written)).casefold() in found["message"].casefold()
    else:
        assert found == {"kind": "one-bedroom", **LEFT_OUT, **read}


@pytest.mark.parametrize("kind", [None, "", "castle", 1])
async def test_what_has_to_be_there_is_not_invented(kind: object) -> None:
    """An argument that may not be left out is not taken for one that was."""
    assert (await reserved(orjson.dumps({"kind": kind}).decode()))["error"] == "wrong_arguments"


@pytest.mark.parametrize("arguments", ["", "  ", "null", '""', '"{}"', "{}"])
async def test_no_arguments_in_any_spelling(arguments: str) -> None:
    """They are an empty object."""

    async def ask(context: ToolContext, what: str = "all") -> str:
        """Ask."""
        return what

    registry = ToolRegistry()
    registry.add(ask)
    assert orjson.loads((await registry.run("ask", arguments, CONTEXT)).output) == {"message": "all"}


def test_what_means_the_same_is_the_same_wish() -> None:
    """So that a question answered in one spelling is not asked again in another."""
    registry = ToolRegistry()
    registry.add(reserve)
    assert registry.canonical("reserve", '{"kind":"One Bedroom","most":null}') == registry.canonical(
        "reserve", '{"kind":"one-bedroom"}'
    )
