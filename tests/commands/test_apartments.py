"""``relay apartments refresh``, and the written call to Parkview."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

from redis.asyncio import Redis

from config.settings import CHECKOUT
from relay.items import ToolItem, load_item
from relay.store.tours import Tours
from tests.commands.serving import INHERITED, redis_process
from tests.tools.house import DENVER

RELAY = (sys.executable, "-m", "commands.main")
EXAMPLE = CHECKOUT / "examples" / "apartments.txt"


async def run(*arguments: str, **environ: str) -> tuple[int | None, str, str]:
    """The command in a process of its own: (exit status, output, errors)."""
    process = await asyncio.create_subprocess_exec(
        *RELAY,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=-1,
        stderr=-1,
        cwd=CHECKOUT,
        env={**INHERITED, **environ, "TERM": "dumb"},
    )
    async with asyncio.timeout(90):
        out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


def tours(redis: Redis) -> Tours:
    return Tours(redis, DENVER)


async def test_refresh_makes_what_is_missing(redis: Redis, redis_url: str) -> None:
    """It prints every tour made and how many; a second time there is nothing to do, and a booking stays."""
    status, out, errors = await run("apartments", "refresh", REDIS_URL=redis_url)
    lines = out.splitlines()
    assert (status, errors, lines[-1]) == (0, "", "56 tours made, 0 removed.")
    assert len([line for line in lines if line.startswith("+ ")]) == 56
    booked = (await tours(redis).open())[-1]
    assert await tours(redis).book(booked, "phone:+15551234567") == "booked"
    status, out, _ = await run("apartments", "refresh", REDIS_URL=redis_url)
    # Midnight may pass between the two.
    assert status == 0 and out.splitlines()[-1] in ("0 tours made, 0 removed.", "8 tours made, 0 removed.")
    assert await tours(redis).of("phone:+15551234567") == [booked]


async def test_refresh_removes_what_is_not_planned(redis: Redis, redis_url: str) -> None:
    """And prints it."""
    await run("apartments", "refresh", REDIS_URL=redis_url)
    day = (await tours(redis).open())[-1].day.isoformat()
    await redis.hset(f"{{tours}}:{day}", "12:00|studio|in-person", "")
    _, out, _ = await run("apartments", "refresh", REDIS_URL=redis_url)
    assert f"- {day} 12:00 PM studio in-person" in out and "1 removed." in out


async def test_refresh_with_the_server_of_the_data_folder(tmp_path: Path) -> None:
    """Without REDIS_URL it starts one, or joins the one that runs, and leaves none behind."""
    status, out, errors = await run("apartments", "refresh", DATA_DIR=str(tmp_path))
    assert (status, errors, out.splitlines()[-1]) == (0, "", "56 tours made, 0 removed.")
    assert not redis_process(tmp_path)


async def test_refresh_without_a_store(tmp_path: Path) -> None:
    """One sentence, and status 1."""
    status, out, errors = await run("apartments", "refresh", REDIS_URL=f"unix://{tmp_path}/none.sock")
    assert (status, out, errors) == (1, "", "relay: Redis: ConnectionError\n")


async def test_the_written_call_plays_the_whole_use_case(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """With no account: every line is answered, the tools run, and the tour is booked in Redis, once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {"REDIS_URL": redis_url, "DATA_DIR": str(tmp_path), "PORT": str(port)}
    command = ("call", "--agent", "apartments", "--script", str(EXAMPLE))
    status, out, errors = await run(*command, **environ)
    assert (status, errors) == (0, ""), out
    (key,) = [key async for key in redis.scan_iter("conversation:*:items")]
    items = [load_item(raw) for raw in await redis.zrange(key, 0, -1)]
    done = [item.name for item in items if isinstance(item, ToolItem) and item.status == "done"]
    assert done == [
        "save_name",
        "list_apartments",
        "list_apartments",
        "apartment_info",
        "apartment_info",
        "apartment_info",
        "check_tours",
        "check_tours",
        "schedule_tour",
        "schedule_tour",
        "my_tours",
        "my_tours",
        "end_call",
    ]
    (booked,) = await tours(redis).of("phone:+15555550100")
    assert (booked.apartment_type, booked.tour_type) == ("one-bedroom", "in-person")
    for heard in ("That day has passed.", "You are booked for", "You have already booked", "the agent hung up"):
        assert heard in out
    assert "have no line" not in out and "not in my script" not in out


def test_examples_are_named_for_agents() -> None:
    """A written call is played with the agent of its name."""
    assert all((CHECKOUT / "config" / "agents" / file.stem).is_dir() for file in EXAMPLE.parent.glob("*.txt"))
    assert os.fspath(EXAMPLE.relative_to(CHECKOUT)) in EXAMPLE.read_text()
