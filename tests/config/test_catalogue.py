"""Agents that change on disk."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from config.catalogue import Catalogue, Look
from config.definition import AgentDefinition
from relay.errors import ConfigError


def write(folder: Path, name: str, toml: str = "", prompt: str = "You answer.") -> None:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "agent.toml").write_text(toml)
    (folder / name / "prompt.md").write_text(prompt)


def titled(folder: Path, name: str, title: str) -> None:
    write(folder, name, f'title = "{title}"')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    titled(tmp_path, "default", "One")
    titled(tmp_path, "desk", "Desk")
    return tmp_path


def test_nothing_changed(folder: Path) -> None:
    """A look that finds nothing keeps the very definitions."""
    catalogue = Catalogue(folder, "default")
    before = dict(catalogue)
    assert catalogue.look() == Look()
    assert all(catalogue[name] is before[name] for name in before) and len(catalogue) == 2


def test_a_changed_agent_is_used_and_the_others_stay(folder: Path) -> None:
    """Only what differs is read again; what somebody holds does not change."""
    catalogue = Catalogue(folder, "default")
    held, other = catalogue.default, catalogue["desk"]
    titled(folder, "default", "Two, longer")
    assert catalogue.look() == Look(changed=("default",))
    assert (held.title, catalogue.default.title) == ("One", "Two, longer")
    assert catalogue["desk"] is other


def test_a_changed_prompt_is_a_changed_agent(folder: Path) -> None:
    """Also one of the same length, written at the same tick of the clock: it is another file."""
    catalogue = Catalogue(folder, "default")
    before = (folder / "desk" / "prompt.md").stat()
    (folder / "new").write_text("You listen.")
    os.utime(folder / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (folder / "new").replace(folder / "desk" / "prompt.md")
    assert catalogue.look().changed == ("desk",)
    assert catalogue["desk"].prompt == "You listen."


def test_a_broken_agent_is_refused_and_the_last_good_one_stays(folder: Path) -> None:
    """It is told once, with file and line, and the mended one is used."""
    catalogue = Catalogue(folder, "default")
    write(folder, "default", 'title = "Broken"\ntols = []')
    look = catalogue.look()
    assert look.changed == () and len(look.problems) == 1
    assert "agent.toml:2: there is no setting 'tols'; did you mean 'tools'?" in look.problems[0]
    assert catalogue.default.title == "One"
    assert catalogue.look() == Look()
    titled(folder, "default", "Mended")
    assert catalogue.look().changed == ("default",)
    assert catalogue.default.title == "Mended"


def test_agents_come_and_go(folder: Path) -> None:
    """A new folder is an agent, a removed one is none; the default agent stays without its folder."""
    catalogue = Catalogue(folder, "default")
    titled(folder, "shop", "Shop")
    shutil.rmtree(folder / "desk")
    shutil.rmtree(folder / "default")
    look = catalogue.look()
    assert (look.changed, look.gone) == (("shop",), ("desk",))
    assert sorted(catalogue) == ["default", "shop"] and catalogue.default.title == "One"
    titled(folder, "default", "Back")
    assert catalogue.look().changed == ("default",)


def test_a_folder_that_cannot_be_read_changes_nothing(folder: Path) -> None:
    """The folder of agents may be away for a moment."""
    catalogue = Catalogue(folder, "default")
    folder.rename(folder.with_name("away"))
    assert catalogue.look() == Look()
    assert sorted(catalogue) == ["default", "desk"]
    folder.with_name("away").rename(folder)


def test_what_is_used_is_finished(folder: Path) -> None:
    """The settings' say about an agent holds for changed ones too, and unknown tools are mistakes there as well."""

    def finish(agent: AgentDefinition) -> AgentDefinition:
        return replace(agent, description="finished")

    catalogue = Catalogue(folder, "default", lambda tool, arguments: f"no tool {tool}.", finish)
    titled(folder, "desk", "Another")
    catalogue.look()
    assert {agent.description for agent in catalogue.values()} == {"finished"}
    write(folder, "desk", 'tools = ["fly"]')
    assert "no tool fly." in catalogue.look().problems[0]


def test_mistakes_at_the_start_are_told_together(tmp_path: Path) -> None:
    """All of the agents', and agents that settings name and that do not exist."""
    write(tmp_path, "one", "x = 1")
    write(tmp_path, "two", prompt="{user_contxt}")
    with pytest.raises(ConfigError) as caught:
        Catalogue(tmp_path, "default", named={"ONE": "one", "THREE": "three"})
    assert [problem.replace(f"{tmp_path}/", "").replace(str(tmp_path), "F") for problem in caught.value.problems] == [
        "one/agent.toml:1: there is no setting 'x'.",
        "two/prompt.md:1: {user_contxt} is filled in with nothing; did you mean {user_context}?",
        "DEFAULT_AGENT: there is no agent default in F.",
        "THREE: there is no agent three in F.",
    ]
