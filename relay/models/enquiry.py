"""What an endpoint says of a model, asked by the client that calls use, for whoever looks for what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

import httpx2
import openai
import orjson

from relay.models.client import WARM_SECONDS, ModelClient
from relay.models.failures import root_name


@dataclass(frozen=True, slots=True)
class Told:
    """``status`` 0: there was no answer. ``reason``: the provider's code, or the class of what went wrong first.
    ``models``: the names in the answer, none where it is something else. ``date``: its header."""

    status: int
    reason: str = ""
    models: tuple[str, ...] = ()
    date: str = ""


async def enquire(client: ModelClient, model: str = "") -> Told:
    """Of one model, or of all there are. Raises nothing but CancelledError."""
    try:
        async with asyncio.timeout(WARM_SECONDS):
            return await _told(client.look_up(model))
    except TimeoutError:
        return Told(0, "TimeoutError")
    except Exception as error:  # whatever a transport raises
        return Told(0, root_name(error))


async def _told(asking: Awaitable[httpx2.Response]) -> Told:
    try:
        answer = await asking
    except openai.APIStatusError as error:
        return Told(error.status_code, error.code or error.type or "", date=error.response.headers.get("date", ""))
    return Told(answer.status_code, models=_names(answer.content), date=answer.headers.get("date", ""))


def _names(body: bytes) -> tuple[str, ...]:
    """The ids in a model's object or in a list of them."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ()
    records = found.get("data", [found]) if isinstance(found, dict) else None
    if not isinstance(records, list):
        return ()
    return tuple(each["id"] for each in records if isinstance(each, dict) and isinstance(each.get("id"), str))
