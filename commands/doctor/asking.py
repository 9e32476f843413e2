"""Requests to our own public address, as Twilio makes them: none is repeated, and no redirect is followed."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from commands.doctor.clock import Dates

DEADLINE = 8.0  # Twilio itself gives up after 15
READ = 64 * 1024  # bytes of an answer that are looked at

FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: str = field(repr=False)


class Unanswered(Exception):
    """There was no answer: ``kind`` is what went wrong, by its class; ``late`` where time was up."""

    def __init__(self, kind: str, *, late: bool = False) -> None:
        super().__init__(kind)
        self.kind = kind
        self.late = late


class Asker:
    """Made by ``asking``."""

    def __init__(self, session: ClientSession, dates: Dates, deadline: float) -> None:
        self._session = session
        self.deadline = deadline
        self._dates = dates

    async def get(self, url: str) -> Answer:
        return await self._ask("GET", url, b"", {})

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        return await self._ask("POST", url, body, {**FORM, **headers})

    async def _ask(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Raises Unanswered."""
        try:
            async with self._session.request(
                method, url, data=body or None, headers=headers, allow_redirects=False
            ) as answer:
                self._dates.note("PUBLIC_URL", answer.headers.get("Date", ""))
                read = bytearray()
                while len(read) < READ and (piece := await answer.content.read(READ - len(read))):
                    read += piece
                return Answer(answer.status, answer.headers, read.decode("utf-8", "replace"))
        except TimeoutError:
            raise Unanswered("TimeoutError", late=True) from None
        except (ClientError, OSError, ValueError) as error:
            raise Unanswered(type(error).__name__) from None


@asynccontextmanager
async def asking(context: ssl.SSLContext, dates: Dates, deadline: float = DEADLINE) -> AsyncIterator[Asker]:
    """``deadline``: seconds for one request."""
    # Connections are kept until the end, where they are waited for: one that is given up is not.
    connector = TCPConnector(ssl=context)
    async with ClientSession(connector=connector, timeout=ClientTimeout(total=deadline)) as session:
        yield Asker(session, dates, deadline)
