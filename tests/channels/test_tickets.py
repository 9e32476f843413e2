"""Tickets: what they state, for whom, how long, and once."""

from __future__ import annotations

import asyncio
import fcntl
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from channels.twilio.tickets import InvalidTicket, TicketRecord, Tickets, Use, UsedTickets, ticket_keys
from relay.errors import StoreError
from relay.store import tickets as store

CALL = "CA" + "0" * 32
KEY = b"k" * 32
NOW = 1_800_000_000.0


class Record:
    """A record that answers as told, fails, or does not answer."""

    def __init__(self, answer: Use | Exception | None) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, float]] = []

    async def use(self, ticket: str, user: str, seconds: float) -> Use:
        self.asked.append((ticket, user, seconds))
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def tickets(*keys: bytes, record: TicketRecord | None = None, deadline: float = 0.1) -> Tickets:
    return Tickets(keys or (KEY,), 120, record, record_deadline=deadline)


def refusal(text: str, call_sid: str = CALL, keys: tuple[bytes, ...] = (KEY,)) -> str:
    with pytest.raises(InvalidTicket) as caught:
        tickets(*keys).verify(text, call_sid)
    return caught.value.reason


def test_ticket_says_what_it_was_made_for() -> None:
    """A ticket verifies for its call with its agent and expiry; two of one call are not the same ticket."""
    one, two = (tickets().mint(CALL, "default", NOW) for _ in range(2))
    first, second = (tickets().verify(text, CALL) for text in (one, two))
    assert (first.call_sid, first.agent, first.expires) == (CALL, "default", NOW + 120)
    assert first.id != second.id


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_agent_name_makes_url_safe_text(agent: str) -> None:
    """The agent comes back as it was, whatever its name; the text needs no escaping in a URL or in XML."""
    text = tickets().mint(CALL, agent, NOW)
    assert tickets().verify(text, CALL).agent == agent
    assert all(c.isascii() and (c.isalnum() or c in "._~%-") for c in text)


def test_ticket_of_another_call_or_key_is_refused() -> None:
    """Neither another call's ticket nor one made with another key is accepted."""
    text = tickets().mint(CALL, "default", NOW)
    assert refusal(text, call_sid="CA" + "1" * 32) == "signature"
    assert refusal(text, keys=(b"x" * 32,)) == "signature"


@pytest.mark.parametrize("part", range(5))
def test_no_part_can_be_changed(part: int) -> None:
    """Version, expiry, id, signature and agent are all covered by the signature."""
    parts = tickets().mint(CALL, "default", NOW).split(".", 4)
    parts[part] = ("2" if parts[part][0] != "2" else "3") + parts[part][1:]
    assert refusal(".".join(parts)) in ("malformed", "signature")


@given(st.text(max_size=80))
def test_other_text_is_malformed(text: str) -> None:
    """Text that is no ticket is refused as such, whatever it is."""
    assert refusal(text) == "malformed"


def test_any_key_verifies_and_the_first_signs() -> None:
    """While a token is replaced, tickets of both keys are good; new ones are made with the first."""
    old, new = b"o" * 32, b"n" * 32
    of_old = tickets(old).mint(CALL, "default", NOW)
    assert tickets(new, old).verify(of_old, CALL)
    of_both = tickets(new, old).mint(CALL, "default", NOW)
    assert tickets(new).verify(of_both, CALL)
    assert refusal(of_both, keys=(old,)) == "signature"


def test_ticket_is_used_up_by_one_session() -> None:
    """A process tells the session that used a ticket first from the same one again and from any other."""
    ours = tickets()
    ticket = ours.verify(ours.mint(CALL, "default", NOW), CALL)
    uses = [ours.use(ticket, session, NOW + at) for at, session in enumerate(["VX1", "VX1", "VX2"])]
    assert uses == ["first", "again", "other"]


async def test_other_process_is_told_by_the_record(redis: Redis) -> None:
    """With Redis what was used in one process is known in another."""
    one, two = (tickets(record=store.Tickets(redis)) for _ in range(2))
    ticket = one.verify(one.mint(CALL, "default", NOW), CALL)
    assert await one.record(ticket, "VX1", NOW) == "first"
    assert await two.record(ticket, "VX1", NOW) == "again"
    assert await two.record(ticket, "VX2", NOW) == "other"


@pytest.mark.parametrize("answer", [None, StoreError("away")])
async def test_record_that_is_away_is_not_waited_for(answer: Exception | None) -> None:
    """No answer within the deadline, or an error, accepts the ticket: a call does not fail with Redis."""
    record = Record(answer)
    ours = tickets(record=record, deadline=0.01)
    ticket = ours.verify(ours.mint(CALL, "default", NOW), CALL)
    async with asyncio.timeout(20):
        assert await ours.record(ticket, "VX1", NOW) == "first"
    assert record.asked == [(ticket.id, "VX1", 120)]


def test_memory_of_used_tickets_is_bounded() -> None:
    """Expired uses are forgotten; beyond the limit the oldest use is."""
    used = UsedTickets(limit=3)
    assert {used.use(f"t{n}", "VX1", NOW + 10, NOW) for n in range(5)} == {"first"}
    assert len(used) == 3
    assert used.use("t4", "VX2", NOW + 10, NOW) == "other"
    assert used.use("later", "VX1", NOW + 30, NOW + 20) == "first"
    assert len(used) == 1


def test_keys_are_derived_from_the_tokens() -> None:
    """Each token gives a key of its own, always the same, that is not the token; no file is needed."""
    missing = Path("/nonexistent")
    one, two = ticket_keys(["first", "second"], missing)
    assert (one, two) == ticket_keys(["first", "second"], missing)
    assert ticket_keys(["second"], missing) == (two,)
    assert len({one, two, b"first", b"second"}) == 4
    assert len(one) == 32


def test_key_is_kept_in_the_data_folder(tmp_path: Path) -> None:
    """Without a token the key is made once, for its owner's eyes only, and found again."""
    folder = tmp_path / "data"
    (key,) = ticket_keys([], folder)
    assert ticket_keys([], folder) == (key,)
    (file,) = folder.iterdir()
    assert (stat.S_IMODE(file.stat().st_mode), file.read_bytes()) == (0o600, key)
    assert ticket_keys([], tmp_path / "other") != (key,)


def test_key_of_a_process_that_died_writing_it_is_made_anew(tmp_path: Path) -> None:
    """A short file is no key; a key that others could read is closed to them."""
    file = tmp_path / "ticket.key"
    file.write_bytes(b"short")
    file.chmod(0o644)
    (key,) = ticket_keys([], tmp_path)
    assert len(key) == 32
    assert (stat.S_IMODE(file.stat().st_mode), file.read_bytes()) == (0o600, key)


def test_processes_that_start_together_share_the_key(tmp_path: Path) -> None:
    """Whoever finds the key being written by another waits and takes that one."""
    found: list[tuple[bytes, ...]] = []
    other = threading.Thread(target=lambda: found.append(ticket_keys([], tmp_path)), name="other process")
    with open(tmp_path / "ticket.key", "wb", buffering=0) as author:
        fcntl.flock(author, fcntl.LOCK_EX)
        other.start()
        other.join(0.1)  # it has nothing to read yet: without the lock it would be done long since
        assert other.is_alive()
        author.write(KEY)
    other.join(5)
    assert found == [(KEY,)]


@pytest.mark.parametrize("keys", [(), (b"short",)])
def test_weak_keys_are_refused(keys: tuple[bytes, ...]) -> None:
    """No key, or a short one, is a mistake of the program."""
    with pytest.raises(ValueError, match="32 bytes"):
        Tickets(keys, 120)
