"""Webhooks that nobody should send, signed and not, on the real server: no 500, and calls go on meanwhile and after."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from urllib.parse import parse_qsl, quote, urlencode

import aiohttp
import pytest
from redis.asyncio import Redis
from yarl import URL

from phone.caller import FAST, Caller
from phone.model import Reply
from phone.signing import HEADER, sign
from tests.chaos.leftovers import Baseline, errors
from tests.chaos.mutation import Mutator
from tests.fakes.twilio_rest import ACCOUNT, TwilioRestServer, twilio_rest
from tests.running import Running, running, write_agent
from tests.scale import scaled

FULL, SMALL = 20_000, 900
AT_ONCE = 6
BETWEEN = 1_000  # requests between two things that are said in the call under way
TOKEN, API_TOKEN = "test_auth_token", "test_api_token"
PUBLIC = "https://relay.example.com/phone"
FIELDS = 1000  # a form of more is refused before its signature is looked at

CALL = {
    "CallSid": "CA" + "0" * 32,
    "AccountSid": ACCOUNT,
    "ApiVersion": "2010-04-01",
    "From": "+15550100200",
    "To": "+15550100100",
    "Direction": "inbound",
}
SESSION = {**CALL, "CallStatus": "in-progress", "SessionId": "VX" + "0" * 32, "SessionDuration": "12"}
HANDOFF = '{"reasonCode":"live-agent-handoff","reason":"Wants a person.","summary":"A bill.","language":"es-US"}'

FORMS: Mapping[str, tuple[dict[str, str], ...]] = {
    "/voice/incoming": ({**CALL, "CallStatus": "ringing"}, {**CALL, "CallStatus": "ringing", "From": "anonymous"}),
    "/voice/action": (
        {**SESSION, "SessionStatus": "completed", "CallStatus": "completed"},
        {**SESSION, "SessionStatus": "ended"},
        {**SESSION, "SessionStatus": "ended", "HandoffData": HANDOFF},
        {**SESSION, "SessionStatus": "ended", "HandoffData": '{"reasonCode":"resume","provider":"second"}'},
        {**SESSION, "SessionStatus": "failed", "ErrorCode": "64105", "ErrorMessage": "Websocket ended"},
    ),
    "/voice/dialled": (
        {**CALL, "CallStatus": "in-progress", "DialCallStatus": "no-answer", "DialCallSid": "CA" + "1" * 32},
        {**CALL, "CallStatus": "completed", "DialCallStatus": "completed", "DialBridged": "true"},
        {**CALL, "CallStatus": "in-progress", "QueueResult": "leave"},
    ),
    "/voice/whisper": ({**CALL, "CallStatus": "in-progress"},),
    "/voice/status": (
        {**CALL, "CallStatus": "ringing", "SequenceNumber": "1"},
        {**CALL, "CallStatus": "completed", "CallDuration": "35", "SequenceNumber": "3"},
    ),
    "/voice/amd": ({**CALL, "AnsweredBy": "machine_end_beep"}, {**CALL, "AnsweredBy": "human"}),
    "/twilio/status": (
        {"MessageSid": "SM" + "0" * 32, "MessageStatus": "delivered", "AccountSid": ACCOUNT},
        {"MessageSid": "SM" + "0" * 32, "MessageStatus": "undelivered", "ErrorCode": "30003"},
    ),
}
QUERIES = (
    "attempt=1&agent=default",
    "attempt=2&agent=default&returns=1&provider=second",
    "final=1",
    "call=CA1&agent=x",
)
WISH = {"to": "+15550100200", "agent": "default"}


@dataclass
class House:
    relay: Running
    rest: TwilioRestServer


@pytest.fixture
async def house(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """A public application with everything that webhooks reach."""
    async with twilio_rest() as rest:
        environ = {
            **rest.environ,
            "PUBLIC_URL": PUBLIC,
            "TWILIO_AUTH_TOKEN": TOKEN,
            "API_TOKEN": API_TOKEN,
            "OUTBOUND_COUNTRIES": "+1",
            "OUTBOUND_PER_MINUTE": "1000000",
            "TRANSFER_TO": "+15550100900",
            "RATE_PER_MINUTE": "0",
        }
        agents = write_agent(tmp_path / "agents")
        async with running(redis_url, tmp_path / "data", agents=agents, environ=environ) as relay:
            relay.model.behaviour = lambda ask: Reply("Still here.")
            yield House(relay, rest)


@dataclass
class Tally:
    """How the requests were answered, by kind and status, and what should not have been."""

    left: int
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    strange: list[str] = field(default_factory=list)


class Sender:
    """Sends one row of mutated requests. ``live``: the CallSid of a call that is under way."""

    def __init__(self, house: House, seed: int, http: aiohttp.ClientSession, live: str) -> None:
        self._house = house
        self._mutator = Mutator(seed)
        self._random = Random(seed)
        self._http = http
        self._live = live

    async def send(self, tally: Tally) -> None:
        tally.left -= 1
        if self._random.random() < 0.1:
            await self._json(tally)
        else:
            await self._form(tally)

    async def _form(self, tally: Tally) -> None:
        path = self._random.choice(list(FORMS))
        good = dict(self._random.choice(FORMS[path]))
        if "CallSid" in good and self._random.random() < 0.8:
            good["CallSid"] = self._live if self._random.random() < 0.1 else f"CA{self._random.getrandbits(100):032x}"
        body, target = self._mutator.form(good), URL(path + self._query(), encoded=True).raw_path_qs
        headers = {"Content-Type": self._random.choice(["application/x-www-form-urlencoded"] * 5 + ["text/plain", ""])}
        signed = self._random.random() < 0.8
        fields = _fields(body)
        if signed and fields is not None:
            headers[HEADER] = sign(TOKEN, PUBLIC + target, fields)
        elif self._random.random() < 0.7:
            headers[HEADER] = self._random.choice((sign(TOKEN, PUBLIC + path), "é", "A" * 28, "=" * 5000))
        if self._random.random() < 0.2:
            headers["I-Twilio-Idempotency-Token"] = self._random.choice(("x" * 4000, "t" * 36, "ü"))
        status = await self._post(target, body, headers)
        kind = "signed" if signed and fields is not None else "unsigned"
        tally.answers[kind, status] += 1
        good_statuses = (200, 204, 400, 503) if kind == "signed" else (403, 413)
        if status not in good_statuses:
            tally.strange.append(f"{status} for {kind} {target[:100]} {body[:300]!r}")

    async def _json(self, tally: Tally) -> None:
        body = self._mutator.json({**WISH, "to": f"+1555{self._random.randrange(10**7):07}"})
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {API_TOKEN}"}
        if self._random.random() < 0.3:
            headers["Idempotency-Key"] = self._random.choice(("a", "k" * 255, "k" * 256, "ü", " ", "a b"))
        knows = self._random.random() < 0.8
        if not knows:
            headers["Authorization"] = self._random.choice(
                ("", "Bearer", "Bearer é", "Basic x", f"Bearer {API_TOKEN}x")
            )
        status = await self._post("/voice/outbound", body, headers)
        tally.answers["wish" if knows else "stranger", status] += 1
        if status not in ((202, 400, 403, 409, 413, 422, 503) if knows else (401,)):
            tally.strange.append(f"{status} for a wish {body[:300]!r} {headers}")

    def _query(self) -> str:
        """Of a URL we may have given Twilio, or none we have."""
        match self._random.randrange(6):
            case 0:
                return ""
            case 1:
                return "?" + quote(self._mutator.text()[:300], safe="&=?%+")
            case 2:
                return "?" + urlencode({"attempt": self._mutator.text()[:300], "agent": self._mutator.text()[:300]})
        return "?" + self._random.choice(QUERIES)

    async def _post(self, target: str, body: bytes, headers: dict[str, str]) -> int:
        url = URL(self._house.relay.url + target, encoded=True)
        async with self._http.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            await answer.read()
            return answer.status


def _fields(body: bytes) -> dict[str, list[str]] | None:
    """The fields as Twilio would sign them; None for a form nobody reads to its end."""
    pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    if len(body) > 64 * 1024 or len(pairs) > FIELDS or body.count(b"&") >= FIELDS:
        return None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


@asynccontextmanager
async def connected() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as http:
        yield http


async def play(house: House, requests: int, seed: int, call: Caller) -> Tally:
    """Sends so many requests, and has the call talk meanwhile."""
    tally, talking = Tally(0), 0

    async def row(sender: Sender) -> None:
        while tally.left > 0:
            await sender.send(tally)

    async with connected() as http:
        senders = [Sender(house, seed + number, http, call.record.call_sid) for number in range(AT_ONCE)]
        for start in range(0, requests, BETWEEN):
            tally.left = min(BETWEEN, requests - start)
            async with asyncio.TaskGroup() as group:
                for sender in senders:
                    group.create_task(row(sender), name="row")
            talking += await talks(call)
    if talking < math.ceil(requests / BETWEEN):
        tally.strange.append("the call under way did not answer")
    return tally


async def talks(call: Caller) -> bool:
    await call.say("Are you there?")
    return await call.reply() == "Still here."


async def test_mutated_webhooks(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """What is signed is answered or refused for what it says, what is not is refused, and nothing is answered 500. A
    call that is under way, about which much of it is, goes on; the next one works; nothing is left behind."""
    phone = {"pace": FAST, "public_url": PUBLIC, "token": TOKEN, "account_sid": ACCOUNT}
    async with Caller(house.relay.url, **phone) as call:  # type: ignore[arg-type]
        await call.greeting_played()
        assert await talks(call)
        await play(house, 300, 900, call)  # what is made once is made
        before = Baseline.now(house.relay)
        with errors() as logs:
            tally = await play(house, scaled(FULL, SMALL), 1, call)
        assert tally.strange == []
        assert logs == [] and caplog.records == []
        statuses = {status for _, status in tally.answers}
        assert {200, 204, 202, 400, 401, 403} <= statuses
        # Where Redis answers too late, on a machine that has other things to do.
        late = sum(count for (_, status), count in tally.answers.items() if status == 503)
        assert late <= tally.answers.total() / 100
        assert await before.exceeded(house.relay) == []
        assert len(call.record.session_ids) == 1
    async with Caller(house.relay.url, **phone) as again:  # type: ignore[arg-type]
        await again.greeting_played()
        assert await talks(again)


def test_the_signer_and_the_gate_read_alike() -> None:
    """What this file signs is what a form holds, also where it is broken."""
    assert _fields(b"a=1&a=2&b=&=c&%zz=%ff") == {"a": ["1", "2"], "b": [""], "": ["c"], "%zz": ["\ufffd"]}
    assert _fields(b"&a=1" * 1200) is None
