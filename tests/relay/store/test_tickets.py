"""A ticket's first use."""

from __future__ import annotations

from redis.asyncio import Redis

from relay.store.tickets import Tickets


async def test_a_ticket_is_used_by_one_session_only(redis: Redis) -> None:
    """The first user is told from itself again, and from everybody else."""
    tickets = Tickets(redis)
    assert await tickets.use("t1", "VX1", 120) == "first"
    assert await tickets.use("t1", "VX1", 120) == "again"
    assert await tickets.use("t1", "VX2", 120) == "other"
    assert await tickets.use("t2", "VX2", 120) == "first"


async def test_the_record_holds_no_ticket_and_expires(redis: Redis) -> None:
    """Whoever reads the store cannot use what stands there."""
    await Tickets(redis).use("secret-ticket", "VX1", 120)
    [key] = await redis.keys("*")
    assert key.startswith(b"ticket:{") and b"secret" not in key
    assert 100 < await redis.ttl(key) <= 120
