"""``relay number``: where the account's numbers send their calls, and how they are pointed here and back again."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlencode

import click

from channels.twilio.numbers import BUY_ONE, OVERRIDING, ROUTING, Change, Number, Numbers, Routing
from commands.twilio_account import twilio_of
from config.agents import agent_folders
from config.settings import Settings, load_settings
from handlers.callbacks import FALLBACK, INCOMING, STATUS
from handlers.signatures import PublicAddress
from relay.errors import ConfigError

T = TypeVar("T")

ADDRESSES = {
    "voice URL": ("voice_url", "voice_method"),
    "fallback URL": ("voice_fallback_url", "voice_fallback_method"),
    "status callback": ("status_callback", "status_callback_method"),
}
"""What people call them: Twilio's names of an address and of its method."""


def our_routing(public_url: str, *, fallback_url: str = "", agent: str = "") -> Routing:
    """The routing of a number whose calls this relay takes. ``agent``: who answers, "" for whoever is chosen."""
    address = PublicAddress.parse(public_url)
    return Routing(
        voice_url=address.http(f"{INCOMING}?{urlencode({'agent': agent})}" if agent else INCOMING),
        status_callback=address.http(STATUS),
        voice_fallback_url=fallback_url or address.http(FALLBACK),
        # Another place is most likely a file on a static host, which answers no POST.
        voice_fallback_method="GET" if fallback_url else "POST",
    )


async def connect_number(numbers: Numbers, ours: Routing, wanted: str = "") -> Change:
    """Points a number here: the wanted one, or the account's only one. ``numbers.undo`` takes the change back. Raises
    NoNumber, Overridden, ChannelError; a cancel leaves it done or not."""
    return await numbers.route(await numbers.choose(wanted), {name: getattr(ours, name) for name in ROUTING})


@click.group(short_help="Show and set where numbers send their calls.")
def number() -> None:
    """Show where the numbers of the Twilio account send their calls, and point them here.

    TWILIO_ACCOUNT_SID with TWILIO_AUTH_TOKEN or TWILIO_API_KEY is needed. A Restricted API key needs the permissions to
    read and update Phone Numbers.
    """


@number.command("list", short_help="List the numbers and where their calls go.")
def list_() -> None:
    """List the account's numbers and where their calls go."""
    settings = load_settings()

    async def look(numbers: Numbers) -> list[Number]:
        return await numbers.all()

    found = _with_numbers(settings, look)
    if not found:
        click.echo(f"The account has no number. {BUY_ONE}")
        return
    ours = our_routing(settings.public_url).voice_url if settings.public_url else ""
    width = max(len(each.number) for each in found)
    for each in found:
        click.echo(f"{each.number:<{width}}  {goes_to(each, ours)}")


@number.command(short_help="Point a number at this relay.")
@click.argument("name", metavar="[NUMBER]", required=False, default="")
@click.option("--agent", default="", metavar="NAME", help="The agent that answers this number.")
def connect(name: str, agent: str) -> None:
    """Point NUMBER's voice URL, status callback and fallback URL at this relay (PUBLIC_URL).

    NUMBER is TWILIO_PHONE_NUMBER if left out, or else the account's only number. A TwiML app or a SIP trunk set on the
    number is taken off it, since calls would go there. What was changed is printed, with the command that puts it back.
    The fallback URL is VOICE_FALLBACK_URL (asked for by GET), or our own, which answers only while we are there.
    """
    settings = load_settings()
    if settings.public_url is None:
        raise ConfigError(["PUBLIC_URL is missing; it is the address the number is to be pointed at."])
    if agent and agent not in [folder.name for folder in agent_folders(settings.agents_dir)]:
        raise ConfigError([f"There is no agent {agent} in {settings.agents_dir}."])
    ours = our_routing(settings.public_url, fallback_url=settings.voice_fallback_url or "", agent=agent)
    wanted = _written(name) or settings.twilio_phone_number or ""
    _tell(_with_numbers(settings, lambda numbers: connect_number(numbers, ours, wanted)))


def _option(name: str) -> click.Option:
    method = name.endswith("_method")
    return click.Option(
        ["--" + name.replace("_", "-")],
        type=click.Choice(["GET", "POST"]) if method else str,
        metavar="GET|POST" if method else "SID" if name.endswith("_sid") else "URL",
    )


@number.command("set", short_help="Set a number as you like, or as it was.", params=[_option(each) for each in ROUTING])
@click.argument("name", metavar="NUMBER")
def set_(name: str, **values: str | None) -> None:
    """Set what is named of NUMBER's routing, and nothing else; '' is none.

    `relay number connect` prints such a line to put back what it has changed.
    """
    wanted = {field: value for field, value in values.items() if value is not None}
    if not wanted:
        raise click.UsageError("Name what is to be set, such as --voice-url.")

    async def set_them(numbers: Numbers) -> Change:
        return await numbers.route(await numbers.choose(_written(name)), wanted)

    _tell(_with_numbers(load_settings(), set_them))


def _written(number: str) -> str:
    """Without what people put between the digits."""
    return re.sub(r"[\s().-]", "", number)


def _with_numbers(settings: Settings, work: Callable[[Numbers], Awaitable[T]]) -> T:
    async def run() -> T:
        async with twilio_of(settings) as rest:
            return await work(Numbers(rest))

    return asyncio.run(run())


def goes_to(number: Number, ours: str = "") -> str:
    """Who has its calls, for people. ``ours``: the voice URL that is this relay's."""
    if not number.voice:
        return "takes no calls (no Voice capability)"
    routing = number.routing
    for name, what in OVERRIDING.items():
        if sid := getattr(routing, name):
            return f"{what} {sid}"
    if not routing.voice_url:
        return "nowhere: no voice URL"
    here = ours and routing.voice_url.partition("?")[0] == ours
    return f"{routing.voice_url} ({routing.voice_method}){'  this relay' if here else ''}"


def _tell(change: Change) -> None:
    """What was changed, from what to what, and the line that puts it back."""
    number, old, new = change.number.number, change.old, change.new
    if not new:
        click.echo(f"{number} is set up like this already; nothing was changed.")
        return
    click.echo(f"{number}")
    width = max(map(len, ADDRESSES))
    for what, names in ADDRESSES.items():
        if new.keys() & set(names):
            click.echo(
                f"  {what:<{width}}  {_address(change.number.routing, names)} -> {_address(change.after, names)}"
            )
    for name, what in OVERRIDING.items():
        if name in new:
            note = ", which had the number's calls until now" if old[name] else ", which has its calls from now on"
            click.echo(f"  {what:<{width}}  {old[name] or 'none'} -> {new[name] or 'none'}{note}")
    click.echo(f"To undo it:\n  {undo_line(change)}")


def undo_line(change: Change) -> str:
    """The command that takes it back."""
    options = [word for name, value in change.old.items() for word in (f"--{name.replace('_', '-')}", value)]
    return f"relay number set {change.number.number} {shlex.join(options)}"


def _address(routing: Routing, names: tuple[str, str]) -> str:
    url, method = (getattr(routing, name) for name in names)
    return f"{url} ({method})" if url else "none"
