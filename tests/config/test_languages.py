"""Names of languages, as they are said and as a model is told."""

from __future__ import annotations

import pytest

from config.languages import NAMES, find_language, language_name
from config.prompts import answering_in
from config.says import BUILT_IN, Says


def test_a_language_is_named() -> None:
    """In English, with its tag; one nobody has named here by its tag."""
    assert language_name("es-US") == "Spanish (es-US)"
    assert language_name("xx-YY") == "xx-YY"


@pytest.mark.parametrize("tag", NAMES)
def test_every_name_finds_its_language(tag: str) -> None:
    """In any spelling of capitals, and where several are declared."""
    for name in NAMES[tag]:
        assert find_language(name.upper(), [f"{tag}-ZZ"]) == f"{tag}-ZZ"
        assert find_language(f" {name} ", ["xx-XX", f"{tag}-ZZ"]) == f"{tag}-ZZ"


def test_a_language_nobody_declares() -> None:
    """None is found, nor for no name at all."""
    assert find_language("French", ["en-US", "es-US"]) == ""
    assert find_language("", ["en-US"]) == ""


def test_a_prompt_for_another_language() -> None:
    """The sentence stands behind everything else."""
    prompt = answering_in("You are the desk.\n", "es-US")
    assert prompt.startswith("You are the desk.\n") and "Answer in Spanish (es-US)" in prompt


@pytest.mark.parametrize(
    ("says", "lang", "tag"),
    [
        (Says("en-US"), "es", "es"),
        (Says("en-US"), "fr", "en-US"),
        (Says("fr-FR"), "", "en"),
        (Says("fr-FR", {"apology": {"fr-fr": "Pardon."}}), "de", "fr-FR"),
        (Says("en-US", {"apology": {"en-us": "Oops."}}), "es-MX", "es-MX"),
    ],
)
def test_the_language_a_line_is_in(says: Says, lang: str, tag: str) -> None:
    """That asked for, if there is one, then the agent's, then English; never English to somebody in Spanish."""
    assert says.line_language("apology", lang) == tag
    if lang.startswith("es"):
        assert says.line("apology", lang) == BUILT_IN["apology"]["es"]
