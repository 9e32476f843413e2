"""What the dashboard shows, made up: the JSON of a quiet house, of a busy one, and of a call with all there can be."""

from __future__ import annotations

import math
from typing import Any

NOW = 1_800_000_000.0
SEGMENTS = ("queue", "history", "request", "tools", "model", "holdback", "send")
AGENTS = ("default", "apartments", "restaurant")

Json = dict[str, Any]


def segments(model: float, tools: float = 0.0) -> dict[str, float]:
    ours = {"queue": 0.4, "history": 3.1, "request": 2.2, "tools": tools}
    return ours | {"model": model, "holdback": model / 6, "send": 0.3}


def waited(n: int) -> float:
    """For tools: of some turns the first words came after one."""
    return 700.0 if n % 4 == 3 else 0.0


def nothing(minutes: int = 15) -> Json:
    """The summary of a process that has just been started."""
    return {
        "minutes": minutes,
        "calls_active": 0,
        "turns_per_minute": 0.0,
        "first_text_ms": {"p50": None, "p95": None, "p99": None},
        "channels": {},
        "segments_ms": {name: {"p50": None, "p95": None, "mean": None} for name in SEGMENTS},
        **dict.fromkeys(("interrupts", "ghost_frames", "errors", "fallbacks", "chat_sockets"), 0),
        "tools": [],
        "tokens": {"input": 0, "cached": 0, "output": 0},
        "cost": None,
        "loop_lag_ms": {"p50": None, "p99": None, "max": None},
        "processes": [],
        "slowest": [],
        "series": [],
    }


def busy(minutes: int = 15, now: float = NOW) -> Json:
    """The summary of a house where a few hundred people talk."""
    points = min(120, max(15, minutes))
    step = minutes * 60_000 / points
    end = int(now // 60 * 60_000)
    series: list[Json] = []
    for each in range(points):
        wave = 1 + 0.25 * math.sin(each / 4) + (1.6 if each == points * 2 // 3 else 0)
        series.append(
            {
                "at": int(end - (points - 1 - each) * step),
                "turns": int(620 * wave),
                "p50": 380 * wave,
                "p95": 790 * wave,
                "p99": 1210 * wave,
                "interrupts": int(40 * wave),
                "errors": 9 if wave > 2 else each % 5 == 0,
                "calls": int(300 * (0.8 + wave / 5)),
                "segments_ms": segments(330 * wave, 55 * wave),
                "tokens": int(52_000 * wave),
                "cost": 0.031 * wave,
            }
        )
    tools = ("find_apartments", "book_tour", "order_dish", "save_name", "send_text", "transfer_to_human")
    return nothing(minutes) | {
        "calls_active": 312,
        "turns_per_minute": 641.5,
        "first_text_ms": {"p50": 412.0, "p95": 871.3, "p99": 1422.0},
        "channels": {
            "chat": {"answers": 911, "first_text_ms": {"p50": 388.0, "p95": 702.0, "p99": 1100.0}},
            "voice": {"answers": 8712, "first_text_ms": {"p50": 415.0, "p95": 880.0, "p99": 1440.0}},
        },
        "segments_ms": {
            name: {"p50": mean * 0.9, "p95": mean * 2.1, "mean": mean} for name, mean in segments(345.0, 58.0).items()
        },
        "interrupts": 611,
        "errors": 14,
        "fallbacks": 3,
        "tools": [
            {"name": name, "count": 420 // (n + 1), "p50_ms": 40.0 + 90 * n, "p95_ms": 210.0 + 300 * n, "failed": n % 3}
            for n, name in enumerate(tools)
        ],
        "tokens": {"input": 4_812_331, "cached": 3_204_772, "output": 391_204},
        "cost": {"total": 3.4187},
        "loop_lag_ms": {"p50": 0.4, "p99": 3.9, "max": 22.5},
        "chat_sockets": 18,
        "processes": [
            {"worker": f"relay-{n}", "calls": 78, "lag_ms": 0.4 + n / 5, "since": int(now * 1000) - 7_200_000 * n}
            for n in range(1, 5)
        ],
        "slowest": [
            {
                "id": f"CA{n:032x}",
                "turn": n + 1,
                "agent": AGENTS[n % 3],
                "at": int(now * 1000) - 61_000 * n,
                "first_text_ms": sum(parts.values()),
                "segments_ms": parts,
            }
            for n in range(10)
            for parts in [segments(1900.0 - 90 * n - waited(n) * 6 / 7, waited(n))]
        ],
        "series": series,
    }


def conversation(number: int = 0, *, live: bool = False, now: float = NOW) -> Json:
    """A line of the list."""
    started = int(now * 1000) - 240_000 * number - 95_000
    return {
        "id": f"CA{number:032x}",
        "agent": AGENTS[number % 3],
        "agents": [AGENTS[number % 3]],
        "channel": "voice",
        "person": f"{number % 7:024x}",
        "person_masked": f"+1•••••{200 + number % 7:04d}",
        "started": started,
        "ended": None if live else started + 91_400,
        "seconds": 91.4,
        "outcome": "live" if live else ("completed", "transferred", "failed")[number % 3],
        "turns": 4 + number % 9,
        "slowest_ms": 380.0 + number * 41,
        "live": live,
        "worker": "relay-1",
    }


def round_of(at_ms: float, ms: float | None, first_ms: float | None, **more: Any) -> Json:
    """A request to the model."""
    usual = {"model": "gpt-5.4-mini", "outcome": "stop", "input": 1204, "cached": 1024, "output": 31, "hedged": False}
    return {"at_ms": at_ms, "ms": ms, "first_ms": first_ms, "further": [], **usual, **more}


def call(number: int = 0, *, live: bool = False, now: float = NOW) -> Json:
    """A call with all that can be in one: words that were not heard, tools, a lost line, a failing model."""
    at = conversation(number, now=now)["started"]

    def item(position: int, kind: str, text: str = "", **more: Any) -> Json:
        said = {"text": text, "heard": text, "unheard": "", "origin": "", "status": "done", "lang": ""}
        tool = {"name": "", "arguments": "", "output": ""}
        told = at + position * 7000 if kind == "assistant" else None
        return {"position": position, "kind": kind, "at": told, **said, **tool, **more}

    def turn(number: int, model: float, tools_ms: float = 0.0, **more: Any) -> Json:
        first = sum(segments(model, tools_ms).values())
        usual: Json = {
            "outcome": "done",
            "first_text_ms": first,
            "segments_ms": segments(model, tools_ms),
            "rounds": [round_of(5.7, model + 420, model)],
            "tools": [],
            "speech": [{"at_ms": first, "ms": 3100.0, "origin": "", "chars": 61, "position": 2 * number}],
            "frames": [
                {"at_ms": 0.0, "way": "in", "type": "prompt", "count": 1},
                {"at_ms": first, "way": "out", "type": "text", "count": 14},
            ],
        }  # fmt: skip
        return {"v": 1, "kind": "turn", "turn": number, "agent": AGENTS[0], "at": at + 9000 * number} | usual | more

    ended = (
        []
        if live
        else [
            {
                "v": 1,
                "kind": "ended",
                "at": at + 91_400,
                "reason": "completed",
                "seconds": 91.4,
                "turns": 3,
                "unsaid": 1,
            }
        ]
    )
    return conversation(number, live=live, now=now) | {
        "items": [
            item(0, "assistant", "Hello, this is the house on the hill. How can I help?", origin="greeting"),
            item(1, "user", "Is there a flat with two rooms and a balcony, free from May?"),
            item(2, "assistant", "One moment, I am looking.", origin="filler"),
            item(3, "tool", name="find_apartments", arguments='{"rooms":2,"balcony":true}', output='{"found":3}'),
            item(
                4, "assistant", "There are three of them.", status="interrupted",
                unheard=" The first is on the second floor, it has a new kitchen and",
            ),
            item(5, "user", "Only those below two thousand, please."),
            item(6, "note", "The caller pressed 2."),
            item(7, "tool", name="book_tour", arguments='{"day":"Friday"}', output='{"error":"full"}', status="failed"),
            item(8, "assistant", "On Friday everything is taken. Would Monday at ten suit you?"),
        ],
        "trace": [
            {"v": 1, "kind": "session", "at": at, "session": "VX" + "0" * 32, "resumed": False},
            turn(
                1, 288.0, 588.3,
                outcome="interrupted",
                tools=[{"name": "find_apartments", "at_ms": 402.0, "ms": 188.5, "outcome": "done"}],
                rounds=[
                    round_of(5.7, 396.0, 331.5, outcome="tools", output=19),
                    round_of(594.0, 912.0, 288.0, outcome="cancelled", output=44, hedged=True, further=["late"]),
                ],
                speech=[
                    {"at_ms": 393.0, "ms": 1500.0, "origin": "filler", "chars": 25, "position": 2},
                    {"at_ms": 930.3, "ms": None, "origin": "", "chars": 96, "position": 4},
                ],
                frames=[
                    {"at_ms": 0.0, "way": "in", "type": "prompt", "count": 1},
                    {"at_ms": 393.0, "way": "out", "type": "text", "count": 1},
                    {"at_ms": 930.3, "way": "out", "type": "text", "count": 21},
                    {"at_ms": 1506.0, "way": "in", "type": "interrupt", "count": 1},
                    {"at_ms": 1506.4, "way": "out", "type": "text", "count": 1},
                ],
            ),
            turn(2, 1290.0, tools=[{"name": "book_tour", "at_ms": 1401.0, "ms": 640.0, "outcome": "failed"}]),
            turn(3, 402.0),
            *ended,
        ],
    }  # fmt: skip


def text(channel: str = "chat", *, live: bool = False, now: float = NOW) -> Json:
    """A text conversation as it is stored: no speech, no frames, no times of items, and no end."""
    name = "chat_5b1f0c77a2d94e1e" if channel == "chat" else "d_0f21c6d84c7e4b55"
    line = conversation(3, live=live, now=now)
    at, first = line["started"], segments(620.0)

    def item(position: int, kind: str, words: str = "", **more: Any) -> Json:
        said = {"text": words, "heard": words, "unheard": "", "origin": "", "status": "done", "lang": ""}
        return {
            "position": position,
            "kind": kind,
            "at": None,
            **said,
            "name": "",
            "arguments": "",
            "output": "",
        } | more

    def turn(number: int, **more: Any) -> Json:
        usual = {"v": 1, "kind": "turn", "turn": number, "agent": line["agent"], "at": at + 40_000 * number}
        told = {"first_text_ms": sum(first.values()), "segments_ms": first, "rounds": [round_of(5.7, 1400.0, 620.0)]}
        return usual | told | {"outcome": "done", "tools": []} | more

    return line | {
        "id": name,
        "channel": channel,
        "person": "" if channel == "debate" else line["person"],
        "person_masked": "" if channel == "debate" else "••••••••",
        "turns": 2,
        "items": [
            item(0, "user", "Is there a pool in the house?"),
            item(1, "assistant", "Yes, **on the roof**. It is open from May to September."),
            item(2, "user", "And a sauna?"),
            item(3, "tool", name="find_apartments", arguments='{"sauna":true}', output='{"found":1}'),
            item(4, "assistant", "There is one, and it", status="interrupted"),
        ],
        "trace": [
            {"v": 1, "kind": "session", "at": at, "session": channel, "resumed": False, "agent": line["agent"]},
            turn(1),
            turn(2, outcome="interrupted", speech=[], frames=[], segments_ms=None),
        ],
    }


def masked(text: str) -> str:
    return " ".join("•" * min(8, len(word)) for word in text.split())


def masked_call(found: Json) -> Json:
    """As it is where words are not shown."""
    said = ("text", "heard", "unheard", "arguments", "output")
    items = [{**item, **{name: masked(item[name]) for name in said}} for item in found["items"]]
    return found | {"items": items}


def agent(name: str) -> Json:
    """What an agent's page is told."""
    return {
        "name": name,
        "title": name.title(),
        "description": "Finds a home.",
        "model": "gpt-5.4-mini",
        "language": "en-US",
        "languages": ["en-US", "de-DE"],
        "tools": ["find_apartments", "book_tour", "end_call"],
        "keys": {"0": "transfer_to_human"},
        "greeting": "Hello, this is the house on the hill.",
        "prompt_chars": 3120,
        "today": {
            "calls": 41,
            "live": 2,
            "turns": 260,
            "outcomes": {"completed": 30, "transferred": 9},
            "slowest_ms": {"p50": 612, "p95": 1480},
            "more": False,
        },
    }


def person(hashed: str, now: float = NOW) -> Json:
    """What a person's page is told."""
    return {
        "person": hashed,
        "person_masked": "+1•••••0200",
        "first_name": "Ada",
        "last_name": "",
        "email": "",
        "notes": "Prefers the upper floors.",
        "agent": "apartments",
        "first_seen": int(now * 1000) - 86_400_000 * 40,
        "last_seen": int(now * 1000),
        "calls": [
            {
                "conversation": f"CA{0:032x}",
                "at": int(now * 1000) - 86_400_000,
                "summary": "Asked for two rooms with a balcony.",
                "follow_ups": ["send the plan"],
            }
        ],
        "conversations": [],
        "after": None,
        "looked": 0,
    }
