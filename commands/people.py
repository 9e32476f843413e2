"""``relay people``: what is known of a person, and how it is forgotten."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import orjson

from commands.redis_server import redis_of
from config.settings import Settings, load_settings
from handlers.stores import open_stores
from relay.report import is_open, outcome
from relay.store.archive import Archive, Kept
from relay.store.client import connect
from relay.store.forgetting import Forgetting
from relay.store.people import People, Person, is_known, person_id

T = TypeVar("T")

SHOWN_CALLS = 20
VISITOR = re.compile(r"(?:chat:)?(v_[A-Za-z0-9_-]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Stores:
    """``own_file``: the server is ours, and what was deleted is to leave its file as well."""

    people: People
    archive: Archive
    forgetting: Forgetting
    own_file: bool = False


class Number(click.ParamType[str]):
    """A telephone number, written as people write one, or the name of a visitor of the live chat; its person's id."""

    name = "number"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if found := VISITOR.fullmatch(value.strip()):
            return person_id("chat", found[1], "")
        number = re.sub(r"[\s().\-/]", "", value)
        if number.startswith("00"):
            number = "+" + number[2:]
        person = person_id("phone", number, "")
        if not is_known(person):
            self.fail(
                f"{value!r} is neither a telephone number with its country, such as +15551234567, "
                "nor the name of a visitor, v_...",
                param,
                ctx,
            )
        return person


NUMBER = Number()


@click.group()
def people() -> None:
    """Look up and forget the people who have called."""


@people.command(short_help="What is known of a person, and when they called.")
@click.argument("number", type=NUMBER)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def show(number: str, as_json: bool) -> None:
    """Show what is known of the person behind NUMBER, and when they called."""

    async def look(stores: Stores) -> tuple[Person | None, list[str], list[tuple[int, Kept]]]:
        person = await stores.people.get(number)
        ids = await stores.people.ids(number)
        listed = {call: at for one in ids for call, at in await stores.archive.of(one)}
        newest = sorted(listed.items(), key=lambda each: each[1], reverse=True)
        return person, ids, [(at, await stores.archive.read(call)) for call, at in newest[:SHOWN_CALLS]]

    person, ids, calls = _with_stores(look)
    if as_json:
        click.echo(orjson.dumps(_as_data(person, ids, calls), option=orjson.OPT_INDENT_2))
    elif person is None and not calls:
        click.echo("Nobody is known by this number.")
    else:
        _print(_as_data(person, ids, calls))


@people.command(short_help="Delete everything about a person.")
@click.argument("number", type=NUMBER)
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(number: str, yes: bool) -> None:
    """Delete everything about the person behind NUMBER: names, notes, calls, reports, bookings, messages.

    It cannot be undone. A call of theirs in progress goes on; what it still writes is deleted when it is over.
    """
    if not yes:
        click.confirm("Delete everything about this person for good?", abort=True)

    async def remove(stores: Stores) -> tuple[dict[str, int], bool]:
        counts = await stores.forgetting.forget(number)
        return counts, not stores.own_file or await stores.forgetting.rewrite_file()

    counts, clean = _with_stores(remove)
    if not clean:
        click.echo("The file of the embedded Redis could not be rewritten and may still hold it: try again.", err=True)
    if not counts:
        click.echo("Nobody is known by this number; there was nothing to delete.")
        return
    click.echo("Deleted:")
    for name, count in counts.items():
        click.echo(f"  {count:>5}  {name}")
    click.echo("If they are on the telephone now, what that call still writes is deleted when it is over.")


@people.command(short_help="Keep summaries of a person's calls, or not.")
@click.argument("number", type=NUMBER)
@click.argument("state", type=click.Choice(["on", "off"]))
def memory(number: str, state: str) -> None:
    """Keep summaries of this person's calls for the next call, or not. Off deletes those that are kept."""

    async def change(stores: Stores) -> bool:
        if await stores.people.get(number) is None:
            return False
        await stores.people.set_memory(number, on=state == "on")
        return True

    if _with_stores(change):
        click.echo(f"Memory is {state} for this person.")
    else:
        click.echo("Nobody is known by this number.")


def _with_stores(work: Callable[[Stores], Coroutine[Any, Any, T]]) -> T:
    settings = load_settings()

    async def run(url: str) -> T:
        async with _stores(settings, url) as stores:
            return await work(stores)

    with redis_of(settings) as url:
        return asyncio.run(run(url))


@asynccontextmanager
async def _stores(settings: Settings, url: str) -> AsyncIterator[Stores]:
    redis = connect(url, connections=4)
    try:
        known = People(redis, settings.call_history_hours * 3600)  # with what MEMORY=off hides from the agents
        stores = open_stores(settings, redis)
        yield Stores(known, stores.archive, stores.forgetting, settings.redis_url is None)
    finally:
        await redis.aclose()


def _as_data(person: Person | None, ids: list[str], calls: list[tuple[int, Kept]]) -> dict[str, Any]:
    data: dict[str, Any] = {"known": person is not None or bool(calls), "ids": ids}
    if person is not None:
        names = ("first_name", "last_name", "email", "agent", "language", "notes")
        data |= {name: getattr(person, name) for name in names}
        data["memory"] = person.memory or "on"
        data |= {name: _when(getattr(person, name)) for name in ("first_seen", "last_seen")}
        data["summaries"] = [
            {"call_sid": each.conversation, "began": _when(each.at), "summary": each.summary} for each in person.calls
        ]
        data["follow_ups"] = list(person.calls[0].follow_ups) if person.calls else []
    data["calls"] = [
        {
            "call_sid": kept.conversation,
            "began": _when(at),
            "agent": kept.state.get("agent", ""),
            "outcome": _outcome(kept),
        }
        for at, kept in calls
    ]
    return data


def _outcome(kept: Kept) -> str:
    if not kept.state:
        return "history expired"
    return "no end seen yet" if is_open(kept) else outcome(kept)


def _print(data: dict[str, Any]) -> None:
    colour = sys.stdout.isatty()

    def head(words: str) -> str:
        return click.style(words, bold=True) if colour else words

    shown = ("first_name", "last_name", "email", "agent", "language", "notes", "memory", "first_seen", "last_seen")
    rows = [("known as", ", ".join(data["ids"]))]
    rows += [(name.replace("_", " "), data[name]) for name in shown if data.get(name)]
    rows += [("still open", each) for each in data.get("follow_ups", [])]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{head(name.ljust(width))}  {value}")
    if data.get("summaries"):
        click.echo("\n" + head("what calls came to"))
        for each in data["summaries"]:
            click.echo(f"  {each['began']}  {each['summary']}")
    if data["calls"]:
        click.echo("\n" + head("calls"))
        for each in data["calls"]:
            click.echo(f"  {each['began']}  {each['agent']:<12}  {each['outcome']:<15}  {each['call_sid']}")


def _when(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC" if at_ms else ""
