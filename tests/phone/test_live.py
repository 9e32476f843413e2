"""Rehearsal scripts that change on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from phone.endpoint.live import LiveRehearsals
from phone.endpoint.rules import ScriptError
from tests.phone.test_script import ask_of


def write(folder: Path, name: str, text: str | None) -> None:
    (folder / name).mkdir(exist_ok=True)
    if text is not None:
        (folder / name / "rehearsal.toml").write_text(text)


def said(scripts: LiveRehearsals, model: str) -> str:
    assert model in scripts
    return str(scripts(ask_of(("user", "Hi"), model=model)).text)


def test_a_changed_script_is_played_from_the_next_request_on(tmp_path: Path) -> None:
    """Changed, added and removed scripts count at once."""
    write(tmp_path, "default", 'first = "Old."')
    scripts = LiveRehearsals(tmp_path)
    assert said(scripts, "rehearsal").startswith("Old.")
    write(tmp_path, "default", 'first = "Newer."')
    assert said(scripts, "rehearsal").startswith("Newer.")
    assert "rehearsal:desk" not in scripts
    write(tmp_path, "desk", None)
    assert said(scripts, "rehearsal:desk").startswith("No model is connected")
    write(tmp_path, "desk", 'first = "Desk."')
    assert said(scripts, "rehearsal:desk").startswith("Desk.")
    assert sorted(scripts) == ["rehearsal", "rehearsal:default", "rehearsal:desk"]
    (tmp_path / "desk" / "rehearsal.toml").unlink()
    (tmp_path / "desk").rmdir()
    assert "rehearsal:desk" not in scripts and len(scripts) == 2


def test_a_broken_script_leaves_the_last_good_one(tmp_path: Path) -> None:
    """At the start it is an error, later it is not looked at."""
    write(tmp_path, "default", 'first = "Good."')
    scripts = LiveRehearsals(tmp_path)
    write(tmp_path, "default", 'first = "Broken')
    assert said(scripts, "rehearsal").startswith("Good.")
    with pytest.raises(ScriptError, match=r"rehearsal\.toml:1: "):
        LiveRehearsals(tmp_path)
    write(tmp_path, "default", 'first = "Mended."')
    assert said(scripts, "rehearsal").startswith("Mended.")


def test_mistakes_have_their_lines(tmp_path: Path) -> None:
    """A rule is named by its number and the line it begins at, a key by its own."""
    write(tmp_path, "default", '\n[[rules]]\nhear = "a"\nsay = "b"\n\n[[rules]]\nhear = "a"\n\n')
    write(tmp_path, "desk", '\n\nsecond = "x"\n')
    with pytest.raises(ScriptError) as caught:
        LiveRehearsals(tmp_path)
    one, two = caught.value.problems
    assert one == f"{tmp_path}/default/rehearsal.toml:6: rule 2: needs say or tool"
    assert two == f"{tmp_path}/desk/rehearsal.toml:3: unknown key 'second'"
