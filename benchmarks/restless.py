"""A caller who stays at nothing: speaks, talks over the agent, presses keys, and is gone at any moment, in any way.

Everything is drawn from one generator of random numbers, so a seed makes the same callers. Twilio's side is played as
far as it matters: the voice webhook, the websocket, and behind each session the action callback, which may take the
call up again in another one.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp

from benchmarks.systems import call_sid
from phone.load import CallLost, Entrance, LoadCall
from phone.twiml import BadTwiml, ConversationRelay, parse_twiml
from relay.frames import ClientSpeaking, Dtmf, Prompt, TokensPlayed

AGENT = "restless"
LONGEST = 4.0  # seconds a caller stays at the most
USUAL = 0.8  # and on the average
UNKNOWN = 0.2  # share of the callers without a number
KNOWN = 200  # numbers that the others ring from
WEBHOOK_SECONDS = 20.0
TAKEN_UP = 0.5  # share of the lost sessions that Twilio asks about while the caller is still there
UTTERANCES = {
    "Please tell me about number {}": 10,
    "Please wait for number {}": 4,
    "Please order number {}": 3,
    "My name is number {}": 1,
    "Now goodbye number {}": 1,
}
TOOLS = {
    "wait": ("bench_wait", '{"seconds": 0.15}'),
    "order": ("bench_order", '{"seconds": 0.15}'),
    "name": ("save_name", '{"first_name": "Ada", "last_name": "Byron"}'),
    "goodbye": ("end_call", "{}"),
}
"""What the endpoint calls when it hears the word (``endpoint.Script``)."""


@dataclass(slots=True)
class Story:
    """What became of the calls. ``left``: how sessions ended, by what was going on and in which way. ``wrong``: what
    should not have happened."""

    calls: int = 0
    sessions: int = 0
    left: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)


class Restless:
    """``base``: host and port of the relay. ``http``: for webhooks; each request takes a connection of its own."""

    def __init__(self, base: str, http: aiohttp.ClientSession, story: Story, rng: random.Random) -> None:
        self._base = base
        self._http = http
        self._story = story
        self._rng = rng
        known = rng.random() >= UNKNOWN
        self._number = f"+1555555{rng.randrange(KNOWN):04}" if known else "anonymous"
        self._call_sid = call_sid()
        self._said = ""

    async def ring(self) -> None:
        """One call, from the ringing to the last callback. Raises nothing that a call may end in."""
        self._story.calls += 1
        try:
            entrance = await self._webhook(f"/voice/incoming?agent={AGENT}", {"CallStatus": "ringing"})
            while entrance is not None:
                session = "VX" + uuid4().hex
                self._story.sessions += 1
                report = await self._session(entrance, session)
                entrance = await self._webhook(entrance.action, {**report, "SessionId": session})
        except CallLost as lost:
            self._story.wrong[f"call lost: {lost}"] += 1
        except (aiohttp.ClientError, TimeoutError, BadTwiml) as error:
            self._story.wrong[f"webhook: {type(error).__name__}"] += 1

    async def _webhook(self, url: str, fields: dict[str, str]) -> Entrance | None:
        """How the call goes on; None where it does not."""
        parts = urlsplit(url)
        form = {"CallSid": self._call_sid, "AccountSid": "AC" + "0" * 32, "From": self._number, "To": "+15555550199"}
        headers = {"I-Twilio-Idempotency-Token": uuid4().hex}
        there = f"http://{self._base}{parts.path}?{parts.query}"
        async with self._http.post(there, data={**form, **fields}, headers=headers) as response:
            document = await response.read()
            if response.status != 200:
                self._story.wrong[f"{parts.path} answered {response.status}"] += 1
                return None
        verbs = [verb for verb in parse_twiml(document) if isinstance(verb, ConversationRelay)]
        return Entrance(verbs[0].url, parameters=verbs[0].parameters, action=verbs[0].action) if verbs else None

    async def _session(self, entrance: Entrance, session: str) -> dict[str, str]:
        """One websocket; what Twilio reports of its end."""
        rng, loop = self._rng, asyncio.get_running_loop()
        setup = rng.random() >= 0.05
        call = await LoadCall.open(
            entrance, call_sid=self._call_sid, session=session, from_=self._number, setup=setup, within=WEBHOOK_SECONDS
        )
        until = loop.time() + min(LONGEST, rng.expovariate(1 / USUAL))
        try:
            while setup and (left := until - loop.time()) > 0 and not call.ended:
                await self._do_something(call)
                await asyncio.sleep(min(left, rng.uniform(0, 0.25)))
        except CallLost:
            if not call.ended:
                self._story.wrong["the relay closed the socket"] += 1
        return await self._leave(call, self._moment(call, setup=setup))

    async def _do_something(self, call: LoadCall) -> None:
        rng = self._rng
        heard = call.answer.text.split() if call.answer is not None else []
        match rng.choices(("say", "begin", "interrupt", "key", "played", "nonsense"), (10, 2, 5, 2, 4, 1))[0]:
            case "say":
                utterance = rng.choices(list(UTTERANCES), list(UTTERANCES.values()))[0]
                self._said = utterance.format(rng.randrange(10_000))
                call.prompt(self._said)
            case "begin":
                call.send(ClientSpeaking(True))
                call.send(Prompt("Please tell", "en-US", last=False))
                call.send(ClientSpeaking(False))
            case "interrupt":
                call.interrupt(" ".join(heard[: rng.randint(0, len(heard))]), rng.randint(0, 2000))
            case "key":
                call.send(Dtmf(rng.choice("0123456789*#")))
            case "played":
                call.send(TokensPlayed(" ".join(heard[: rng.randint(0, len(heard))])))
                call.spoken()
            case "nonsense":
                call.send_raw(rng.choice((b"{", b"[]", b'{"type":"telepathy"}', b'{"type":"prompt"}')))

    def _moment(self, call: LoadCall, *, setup: bool) -> str:
        """What is going on."""
        if not setup:
            return "before setup"
        if call.answer is None:
            return "in the greeting"
        if call.answer.open:
            return "in a reply"
        if any(tool in self._said for tool in ("wait", "order")):
            return "in a tool, or after it"
        return "after a reply" if call.answer.frames else "before a reply"

    async def _leave(self, call: LoadCall, moment: str) -> dict[str, str]:
        rng = self._rng
        if call.ended:
            self._story.left[f"{moment}, the agent ended it"] += 1
            await call.close()
            return {"SessionStatus": "ended", "CallStatus": "in-progress"}
        way: Callable[[], Awaitable[None]]
        match rng.choices(("hung up", "cut", "closed in error"), (5, 3, 1))[0]:
            case "hung up" as how:
                way, lost = call.close, False
            case "cut" as how:
                way, lost = _dropped(call), True
            case how:
                way, lost = (lambda: call.close(1011)), True
        self._story.left[f"{moment}, {how}"] += 1
        await way()
        if not lost:
            return {"SessionStatus": "completed", "CallStatus": "completed"}
        there = rng.random() < TAKEN_UP
        return {"SessionStatus": "failed", "CallStatus": "in-progress" if there else "completed", "ErrorCode": "64105"}


def _dropped(call: LoadCall) -> Callable[[], Awaitable[None]]:
    async def drop() -> None:
        call.drop()

    return drop
