"""The file of what is to let: as it comes with the relay, and with mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.agents import load_agents
from config.settings import load_settings
from config.values import CHECKOUT
from handlers.tours import read_house
from relay.errors import ConfigError
from tools.listings import APARTMENT_TYPES, read_listings

FILE = CHECKOUT / "config" / "agents" / "apartments" / "apartments.toml"


def test_parkview() -> None:
    """Four layouts with their rents, in Missoula; the agent lives by the same clock."""
    house = read_listings(FILE)
    assert {kind: layout.rent for kind, layout in house.layouts.items()} == dict(
        zip(APARTMENT_TYPES, (1050, 1200, 1800, 2500), strict=True)
    )
    assert (house.location.city, house.location.state) == ("Missoula", "Montana")
    agent = load_agents(CHECKOUT / "config" / "agents")["apartments"]
    assert str(house.zone) == agent.timezone == "America/Denver"


def test_the_agent() -> None:
    """Matt: keys one and two, which the prompt and the greeting name; English and Spanish; both placeholders."""
    agent = load_agents(CHECKOUT / "config" / "agents")["apartments"]
    assert (agent.relay["ttsProvider"], agent.relay["voice"]) == ("Amazon", "Matthew-Generative")
    assert {key: action.tool for key, action in agent.keys.items()} == {
        "0": "transfer_to_human",
        "1": "list_apartments",
        "2": "my_tours",
    }
    assert agent.keys["1"].say and agent.follow_language
    assert [language["code"] for language in agent.languages] == ["es-US"]
    assert all(each in agent.prompt for each in ("{user_context}", "{current_date}", "key one", "key two", "Matt"))
    assert all(tool in agent.prompt for tool in agent.tools)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("rent = 1050", 'rent = "a lot"', "layouts.studio.rent"),
        ("rent = 1050", "rant = 1050", "layouts.studio.rant"),
        ("[layouts.studio]", "[layouts.castle]", "layouts.castle"),
        ("move_in = { day = 0 }", "move_in = { day = 31 }", "move_in.day"),
        ('timezone = "America/Denver"', 'timezone = "Montana"', "Montana"),
        ("[location]", "[location", "apartments.toml"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, old: str, new: str, says: str) -> None:
    """Before a call meets it."""
    folder = tmp_path / "apartments"
    folder.mkdir()
    text = FILE.read_text()
    assert old in text
    (folder / "apartments.toml").write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=says):
        read_house(load_settings(None, {"AGENTS_DIR": str(tmp_path)}))


def test_a_folder_without_apartments(tmp_path: Path) -> None:
    """Has the house that comes with the relay."""
    assert read_house(load_settings(None, {"AGENTS_DIR": str(tmp_path)})).name == "Parkview Apartments"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_listings(tmp_path / "none.toml")
