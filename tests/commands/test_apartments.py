"""``relay apartments refresh``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from redis.asyncio import Redis

from config.values import CHECKOUT
from relay.store.tours import Tours
from tests.commands.serving import INHERITED, redis_process
from tests.tools.house import DENVER

RELAY = (sys.executable, "-m", "commands.main")


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
