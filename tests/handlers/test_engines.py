"""Engines that agents name: what each needs, and what requests of its agents are."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis

from config.definition import AgentDefinition
from config.settings import Settings, load_settings
from handlers.agents import open_catalogue
from handlers.app import build_app
from handlers.cast import CallCast
from handlers.modelling import Endpoint, bot_of, engine_check, make_engines, make_model, model_names
from relay.errors import ConfigError, ModelRejected
from relay.models.dialogflow_client import Bot, DialogflowClient
from relay.models.engines import Engines
from relay.store.people import People
from relay.telemetry import Telemetry
from relay.toolbox import ToolContext
from tests.running import write_agent
from tools.registry import ToolRegistry

BOT = AgentDefinition("bot", "Bot", "", engine="dialogflow", tools=("end_call", "look"), relay={"language": "es-US"})
DESK = AgentDefinition("desk", "Desk", "", tools=("look",), model="gpt-6")
NEEDS_PROJECT = "the engine dialogflow needs DIALOGFLOW_PROJECT (docs/dialogflow.md)."
REHEARSAL = Endpoint("http://127.0.0.1:1", "key", rehearsal=True)


async def look(context: ToolContext) -> str:
    """Looks."""
    return ""


def settings(tmp_path: Path, **environ: str) -> Settings:
    return load_settings(None, {"DATA_DIR": str(tmp_path / "data"), "AGENTS_DIR": str(tmp_path / "agents"), **environ})


def without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its packages cannot be imported, as where they are not installed."""
    for name in ("google.cloud", "google.cloud.dialogflow_v2", "google.cloud.dialogflowcx_v3"):
        monkeypatch.setitem(sys.modules, name, None)


def test_what_an_engine_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing, or a project and the extra: what is to be installed is said word by word."""
    check = engine_check(settings(tmp_path))
    assert (check("openai"), check("dialogflow")) == ("", NEEDS_PROJECT)
    check = engine_check(settings(tmp_path, DIALOGFLOW_PROJECT="proj"))
    assert check("dialogflow") == ""
    without_the_extra(monkeypatch)
    assert check("openai") == ""
    assert check("dialogflow") == (
        "the engine dialogflow needs the extra dialogflow: pip install 'relay[dialogflow]' "
        "(in a checkout: .venv/bin/pip install -e '.[dialogflow]')."
    )


async def test_a_relay_that_lacks_it_does_not_start(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """The agent's file and line are named. Without such an agent nothing is missed."""
    write_agent(tmp_path / "agents", '\nengine = "dialogflow"', "bot")
    write_agent(tmp_path / "agents", 'greeting = "Hi"')
    with pytest.raises(ConfigError) as caught:
        await build_app(settings(tmp_path), redis_url=redis_url, endpoint=REHEARSAL)
    assert caught.value.problems == [f"{tmp_path / 'agents' / 'bot' / 'agent.toml'}:2: {NEEDS_PROJECT}"]


def test_an_agent_that_changes_its_engine(tmp_path: Path) -> None:
    """While the relay runs: where that engine cannot be used its last good version stays."""
    agents = write_agent(tmp_path / "agents", 'title = "One"')
    catalogue = open_catalogue(settings(tmp_path), ToolRegistry())
    write_agent(agents, 'title = "Two, longer"\nengine = "dialogflow"')
    assert [problem.rpartition(":")[2].strip() for problem in catalogue.look().problems] == [NEEDS_PROJECT]
    assert catalogue.default.title == "One"


async def test_a_package_that_is_missing_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are refused, with what is to be installed; it is not looked for with each of them."""
    without_the_extra(monkeypatch)
    client = DialogflowClient(Bot("proj", endpoint="http://127.0.0.1:1"))
    for _ in range(2):
        with pytest.raises(ModelRejected, match=r"pip install 'relay\[dialogflow\]'"):
            await client.open()
    monkeypatch.undo()
    with pytest.raises(ModelRejected):
        await client.open()
    assert "relay[dialogflow]" in await client.reach()
    await client.close()


def test_no_speculation(tmp_path: Path) -> None:
    """Whatever the settings say: what Dialogflow is asked, it takes for said."""
    agents = write_agent(tmp_path / "agents", 'engine = "dialogflow"')
    write_agent(agents, "", "desk")
    catalogue = open_catalogue(settings(tmp_path, SPECULATION="on", DIALOGFLOW_PROJECT="proj"), ToolRegistry())
    assert (catalogue["default"].speculation, catalogue["desk"].speculation) == (False, True)
    assert catalogue["default"].relay.get("partialPrompts") is None


async def test_the_model_of_all_engines(tmp_path: Path) -> None:
    """One for each that the settings name; where it is only one nothing stands between."""
    telemetry = Telemetry()
    openai = make_model(settings(tmp_path), REHEARSAL, telemetry)
    assert make_engines(settings(tmp_path), openai, telemetry, b"secret", tuple) is openai
    both = make_engines(settings(tmp_path, DIALOGFLOW_PROJECT="proj"), openai, telemetry, b"secret", tuple)
    assert isinstance(both, Engines)
    await both.close()


def test_what_dialogflow_is_called(tmp_path: Path) -> None:
    """By edition; agents of models have the model's name, or their own in a rehearsal."""
    cx = settings(tmp_path, DIALOGFLOW_PROJECT="proj", DIALOGFLOW_AGENT="a", DIALOGFLOW_LOCATION="europe-west1")
    assert bot_of(cx) == Bot("proj", "a", "europe-west1", "")
    assert bot_of(settings(tmp_path)) is None
    for name, wanted in (
        (model_names(cx, REHEARSAL), ("dialogflow-cx", "rehearsal:desk")),
        (model_names(settings(tmp_path, DIALOGFLOW_PROJECT="proj"), Endpoint()), ("dialogflow-es", "gpt-6")),
    ):
        assert (name(BOT), name(DESK)) == wanted


def test_requests_of_its_agents() -> None:
    """Say whose they are, and of which conversation; its two signals may be given though no tool is shown."""
    registry = ToolRegistry()
    registry.add(look)
    agents = {"bot": replace(BOT, tools=("look",)), "desk": DESK}
    names, people = lambda agent: "dialogflow-cx", cast(People, None)
    call = CallCast(
        agents["bot"],
        agents,
        registry,
        names,
        lambda agent, person: "",
        people,
        "phone:1",
        deadline=1.0,
        second=False,
        conversation="CA1",
        channel="voice",
    )
    bot, desk = call.role("bot"), call.role("desk")
    assert bot is not None and desk is not None
    told = bot.request
    assert (told.engine, told.conversation, told.channel, told.language) == ("dialogflow", "CA1", "voice", "es-US")
    assert told.keeps_state and not desk.request.keeps_state
    assert bot.manner.signals == ("transfer_to_human", "end_call") and bot.manner.tools == ("look",)
    assert desk.manner.signals == ()
