"""``relay apartments``: what the server does every night for the apartments, at once."""

from __future__ import annotations

import asyncio

import click

from commands.redis_server import redis_of
from config.settings import Settings, load_settings
from handlers.tours import read_house
from relay.store.client import connect
from relay.store.tours import Refreshed, Slot, Tours
from tools.clock_words import clock
from tools.tour_making import make_tours


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def apartments() -> None:
    """The apartments' tours."""


@apartments.command(short_help="Make the tours of the coming seven days.")
def refresh() -> None:
    """Make the tours of the coming seven days and remove those that are past.

    Prints what was made (+) and removed (-). What somebody has booked stays. Doing it again changes nothing, and a
    server that runs meanwhile sees it at once.
    """
    settings = load_settings()
    with redis_of(settings) as url:
        done = asyncio.run(_refresh(settings, url))
    for sign, slots in (("+", done.made), ("-", done.removed)):
        for slot in slots:
            click.echo(f"{sign} {_line(slot)}")
    click.echo(f"{len(done.made)} tours made, {len(done.removed)} removed.")


async def _refresh(settings: Settings, url: str) -> Refreshed:
    house = read_house(settings)
    redis = connect(url)
    try:
        return await make_tours(Tours(redis, house.zone), house.layouts)
    finally:
        await redis.aclose()


def _line(slot: Slot) -> str:
    return f"{slot.day.isoformat()} {clock(slot.at)} {slot.apartment_type} {slot.tour_type}"
