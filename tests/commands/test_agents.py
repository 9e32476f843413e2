"""``relay agents check``."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from commands.main import cli
from tests.running import write_agent


def check(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(cli, ["agents", "check", *arguments], env=environ)


def test_the_agents_that_come_with_the_relay_are_good() -> None:
    """Nothing is wrong in the checkout's own folder."""
    done = check()
    assert done.exit_code == 0, done.output
    assert "good  default: " in done.output


def test_every_mistake_has_file_and_line(tmp_path: Path) -> None:
    """Of all agents and all their files at once; the exit status is 1."""
    write_agent(tmp_path, '\ntools = ["fly"]\n', "bird", prompt="Today is\n{curent_date}.")
    write_agent(tmp_path, "", "desk")
    (tmp_path / "desk" / "rehearsal.toml").write_text('[[rules]]\nsay = "x"\n')
    write_agent(tmp_path, 'greeting = "Hi"\ntools = ["end_call"]', "good")
    done = check(str(tmp_path))
    assert done.exit_code == 1
    assert done.output.replace(f"{tmp_path}/", "").splitlines() == [
        "bird/prompt.md:2: {curent_date} is filled in with nothing; did you mean {current_date}?",
        "bird/agent.toml:2: there is no tool named 'fly'.",
        "desk/rehearsal.toml:1: rule 1: needs one of hear, match, note, result.",
        "good  good: good",
        "3 mistakes.",
    ]


def test_one_agent_alone(tmp_path: Path) -> None:
    """The folder of a single agent may be named too; what may surprise is a note and no mistake."""
    write_agent(tmp_path, '[relay]\nlanguage = "fr-FR"\n[says]\napology = "Pardon ?"', "paris")
    done = check(str(tmp_path / "paris"))
    assert done.exit_code == 0
    assert "good  paris: paris" in done.output
    assert "no text in 'fr' under [says] for trouble," in done.output and "apology" not in done.output
    assert "no greeting" in done.output and "no tools" in done.output


def test_an_agent_of_dialogflow(tmp_path: Path) -> None:
    """It lacks a project, or is good; what its agent file says in vain is noted, and it needs no tools."""
    write_agent(tmp_path, 'greeting = "Hi"\nengine = "dialogflow"', "bot")
    write_agent(tmp_path, 'greeting = "Hi"\nengine = "dialogflow"\nmodel = "gpt-6"\ntools = ["end_call"]', "vain")
    done = check(str(tmp_path))
    assert done.exit_code == 1
    assert "bot/agent.toml:2: the engine dialogflow needs DIALOGFLOW_PROJECT (docs/dialogflow.md)." in done.output
    done = check(str(tmp_path), DIALOGFLOW_PROJECT="proj")
    assert done.exit_code == 0
    assert [line.strip() for line in done.output.splitlines()] == [
        "good  bot: bot",
        "good  vain: vain",
        "note: Dialogflow is not told of tools, model: its agent has its own.",
    ]


@pytest.mark.parametrize("empty", [True, False], ids=["empty", "missing"])
def test_a_folder_without_agents(tmp_path: Path, empty: bool) -> None:
    """It is said what to do."""
    done = check(AGENTS_DIR=str(tmp_path if empty else tmp_path / "missing"))
    assert done.exit_code == 1
    assert empty is ("holds no agent" in done.output)
