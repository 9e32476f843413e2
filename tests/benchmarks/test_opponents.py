"""Scripted opponents: what they say, how their debates are counted, and that the rehearsal holds its side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import orjson
from redis.asyncio import Redis

from benchmarks.opponents import Opponent, Tally, language_of, load_opponents
from config.settings import load_settings
from config.values import CHECKOUT
from handlers.modelling import Endpoint, make_model
from phone.model import Ask, ModelServer, Rehearsals, Reply, ToolUse
from phone.progress import Progress
from relay.telemetry import Telemetry
from tests.handlers.debates import debating, told
from tests.running import running

KNOWN = load_opponents()
HELD, LOST = (ToolUse("judge", orjson.dumps({"held": held}).decode()) for held in (True, False))


def fast(scripts: Rehearsals) -> Callable[[Ask], Reply]:
    """The rehearsal without its pauses."""
    return lambda ask: replace(scripts(ask), first=0.0, pace=0.0)


def test_every_opponent_has_enough_to_say() -> None:
    """Five lines and more, in both languages, all different."""
    assert KNOWN.lines.keys() == {"agreeing", "insulting", "off-topic", "swapping", "injecting"}
    for name, lines in KNOWN.lines.items():
        assert lines.keys() == KNOWN.topics.keys() == {"en", "es"}, name
        assert all(len(set(each)) == len(each) >= 5 for each in lines.values()), name
        assert all(language_of(" ".join(each)) == language for language, each in lines.items()), name


async def test_the_rehearsal_holds_its_side(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Against every opponent, in both languages: each reply names the side that was stored at the beginning, has a
    hundred words at most, and is in the opponent's language."""
    scripts = ModelServer(fast(Rehearsals.load(CHECKOUT / "config" / "agents")))
    async with (
        running(redis_url, tmp_path, rehearsal=True, model=scripts) as relay,
        aiohttp.ClientSession() as http,
    ):
        opponent = Opponent(f"{relay.url}/api/chat", http, None, "")
        with Progress("debating", 1) as progress:
            for name, by_language in KNOWN.lines.items():
                for language, lines in by_language.items():
                    tally = Tally()
                    await opponent.debate(tally, language, KNOWN.topics[language][0], lines, progress)
                    count = len(lines)
                    counted = (tally.replies, tally.stored, tally.held, tally.short, tally.in_language)
                    assert counted == (count,) * 5 and not tally.failed, (name, language, tally)


async def test_the_rehearsal_follows_the_users_language(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """From the first reply, also where topic and side came beside a word or two."""
    scripts = ModelServer(fast(Rehearsals.load(CHECKOUT / "config" / "agents")))
    async with (
        running(redis_url, tmp_path, rehearsal=True, model=scripts) as relay,
        aiohttp.ClientSession() as http,
    ):
        for words, topic, language in (
            ("Debatamos.", "La piña", "es"),
            ("¿Debatimos?", "x", "es"),
            ("Go.", "Tea", "en"),
        ):
            body = {"message": words, "topic": topic, "stance": topic}
            async with http.post(f"{relay.url}/api/chat", json=body) as response:
                reply = (await response.json())["message"][-1]["message"]
            assert language_of(reply) == language, reply


async def test_a_judge_is_asked_about_each_reply(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Where there is a model: what it finds is counted, and what cannot be read is no judgement; a failed turn is
    counted by itself."""
    judgements = [Reply(tools=[HELD]), Reply(tools=[LOST]), Reply("It held.")]

    def behaviour(ask: Ask) -> Reply:
        return judgements.pop(0) if "judge" in ask.tools else told(ask)

    async with debating(redis_url, tmp_path, DEBATE_MAX_CHARS="40") as debate:
        debate.model.behaviour = behaviour
        settings = load_settings(None, {"OPENAI_API": "chat"})
        judge = make_model(settings, Endpoint(debate.model.url, "key"), Telemetry())
        try:
            tally = Tally()
            with Progress("debating", 1) as progress:
                lines = ["One", "Two", "Three", "x" * 41]
                await Opponent(debate.url, debate.http, judge, "m").debate(tally, "en", "The Earth", lines, progress)
        finally:
            await judge.close()
    assert (tally.replies, tally.stored, tally.judged, tally.held, tally.failed) == (3, 3, 2, 1, 1)
    assert tally.lost == ["Two\n-> You say: Two"]
