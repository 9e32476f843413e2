"""Twilio's REST API for messages, calls and numbers: a real HTTP server that remembers what was asked of it."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from aiohttp import web
from multidict import MultiDict

from tests.fakes.twilio_numbers import NumberBook

ACCOUNT = "AC" + "0" * 32
KEY, SECRET = "SK" + "1" * 32, "rest-secret"
TOKEN = "rest-token"
NUMBER = "+15550100999"


@dataclass
class Asked:
    """One request: ``resource`` is the path behind the account, ``Messages`` or ``Calls/CA...``; of a GET ``form`` is
    the query."""

    resource: str
    form: MultiDict[str]
    method: str = "POST"


@dataclass
class TwilioRestServer:
    """``url`` is the value of TWILIO_API_BASE. ``fail``: the next requests are answered so, (status, Twilio's code),
    the last one for good if ``for_good``; with this ``retry_after``. ``refuse``: messages from these numbers get 400
    with this code of Twilio's. ``odd``: a body sent instead of Twilio's. ``drops``: so many of the next requests are
    read and then lost with their connection. ``held``: while it is there, requests wait for it to be set.
    ``numbers``: those of the account. ``status``, ``type``: the account's. ``ahead``: seconds its
    clock is ahead."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    fail: list[tuple[int, int]] = field(default_factory=list)
    for_good: bool = False
    retry_after: str = ""
    refuse: dict[str, int] = field(default_factory=dict)
    odd: str = ""
    drops: int = 0
    held: asyncio.Event | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    numbers: NumberBook = field(default_factory=lambda: NumberBook(ACCOUNT))
    status: str = "active"
    type: str = "Full"
    ahead: float = 0.0

    @property
    def environ(self) -> dict[str, str]:
        """The settings of a process that uses this server."""
        return {
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_API_KEY": KEY,
            "TWILIO_API_SECRET": SECRET,
            "TWILIO_API_BASE": self.url,
            "TWILIO_PHONE_NUMBER": NUMBER,
        }

    def messages(self) -> list[MultiDict[str]]:
        return [each.form for each in self.asked if each.resource == "Messages"]

    def calls(self) -> list[MultiDict[str]]:
        """Calls that were to be placed."""
        return [each.form for each in self.asked if each.resource == "Calls"]

    async def until(self, true: Callable[[], object], within: float = 20.0) -> None:
        """Returns once it is true; looks again at each request."""
        async with asyncio.timeout(within):
            while not true():
                self.arrived.clear()
                await self.arrived.wait()

    async def _handle(self, request: web.Request) -> web.Response:
        answer = await self._answer(request)
        answer.headers["Date"] = formatdate(time.time() + self.ahead, usegmt=True)
        return answer

    async def _account(self, request: web.Request) -> web.Response:
        """For the account's own token: the key is a Standard one, which may not ask this."""
        if request.headers.get("Authorization") != _basic(ACCOUNT, TOKEN):
            return _error(401, 20003)
        self.asked.append(Asked("", MultiDict(), "GET"))
        body = {"sid": ACCOUNT, "status": self.status, "type": self.type, "friendly_name": "mine"}
        date = formatdate(time.time() + self.ahead, usegmt=True)
        return web.json_response(body, headers={"Date": date})

    async def _answer(self, request: web.Request) -> web.Response:
        given = request.query if request.method == "GET" else await request.post()
        form: MultiDict[str] = MultiDict((name, str(value)) for name, value in given.items())
        resource = request.match_info["resource"].removesuffix(".json")
        good = [_basic(KEY, SECRET), _basic(ACCOUNT, TOKEN)]
        if request.headers.get("Authorization") not in good or request.match_info["account"] != ACCOUNT:
            return _error(401, 20003)
        self.asked.append(Asked(resource, form, request.method))
        self.arrived.set()
        if self.held is not None:
            await self.held.wait()
        if self.drops and request.transport is not None:
            self.drops -= 1
            request.transport.abort()
        if self.fail:
            status, code = self.fail[0] if self.for_good and len(self.fail) == 1 else self.fail.pop(0)
            return _error(status, code, self.retry_after)
        if code := self.refuse.get(form.get("From", ""), 0):
            return _error(400, code)
        if self.odd:
            return web.Response(status=200 if request.method == "GET" else 201, text=self.odd, content_type="text/html")
        if resource.startswith("IncomingPhoneNumbers"):
            found = self.numbers.answer(request.method, resource.partition("/")[2], form)
            return web.json_response(found) if found is not None else _error(404, 20404)
        if resource.startswith("Applications/"):
            app = self.numbers.applications.get(resource.partition("/")[2])
            return web.json_response(app) if app is not None else _error(404, 20404)
        number = len(self.asked)
        prefix = "SM" if resource.startswith("Messages") else "CA"
        sid = resource.partition("/")[2] or f"{prefix}{number:032x}"
        body: dict[str, Any] = {"sid": sid, "status": "queued", "to": form.get("To"), "from": form.get("From")}
        return web.json_response(body, status=201)


def _basic(user: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


def _error(status: int, code: int, retry_after: str = "") -> web.Response:
    body = {"code": code, "message": f"error {code}", "status": status}
    return web.json_response(body, status=status, headers={"Retry-After": retry_after} if retry_after else {})


@asynccontextmanager
async def twilio_rest(port: int = 0) -> AsyncIterator[TwilioRestServer]:
    server = TwilioRestServer()
    app = web.Application()
    app.router.add_post("/2010-04-01/Accounts/{account}/{resource:.+}", server._handle)
    app.router.add_get(
        "/2010-04-01/Accounts/{account}/{resource:(IncomingPhoneNumbers|Applications).*}", server._handle
    )
    app.router.add_get(f"/2010-04-01/Accounts/{ACCOUNT}.json", server._account)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()
