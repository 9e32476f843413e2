"""What follows a call: done once, by whoever is there, as often as it takes, and not before the call is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from relay.aftercall import MOST_A_ROUND, WRITERS, AfterCalls
from relay.closing import Closing, Pace
from relay.errors import ChannelUnavailable, ModelUnavailable
from relay.items import AssistantItem, Item, UserItem, dump_item
from relay.models.base import Finished, ModelEvent, ModelRequest, ModelStream
from relay.report import Waits
from relay.store.archive import Archive, day_key
from relay.store.client import connect
from relay.store.due import Due
from relay.store.forgetting import Forgetting
from relay.store.history import History
from relay.store.people import EarlierCall, People, person_key
from tests.calls.checks import eventually
from tests.relay.store.servers import FragileRedis

CALL = "CA1"
ANN = "phone:+15551234567"
BEGUN = 1_700_000_000_000
SAID = [UserItem("A table for two"), AssistantItem("It is booked.")]
PACE = Pace(
    Waits(settle=2, lost=90, transfer=180, look=60, abandoned=900),
    poll=0.01,
    lease=100,
    summary_backoff=(5, 30),
    report_backoff=(5, 3600),
)


class Clock:
    def __init__(self) -> None:
        self.ms = BEGUN

    def __call__(self) -> int:
        return self.ms

    def passes(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


class Summer:
    """A model that sums up: with the next of ``answers``, an error raised, the last again and again."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers) or ['{"summary": "Ann booked a table.", "follow_ups": ["Send the menu"]}']
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelStream]:
        item = request.items[0]
        assert isinstance(item, UserItem)
        self.asked.append(item.text)
        await self.gate.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer

        async def events() -> AsyncIterator[ModelEvent]:
            yield answer
            yield Finished("stop")

        yield events()

    async def warm(self) -> str:
        return ""

    async def close(self) -> None:
        pass


class Post:
    """Takes reports; ``failing``: how many it does not take first."""

    def __init__(self, failing: int = 0) -> None:
        self.failing = failing
        self.tried = 0
        self.bodies: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, body: bytes) -> None:
        self.tried += 1
        await self.gate.wait()
        if self.failing:
            self.failing -= 1
            raise ChannelUnavailable("away", status=503)
        self.bodies.append(body)

    @property
    def reports(self) -> list[dict[str, Any]]:
        return [orjson.loads(body) for body in self.bodies]


class House:
    """Processes that share a Redis, and a clock."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.clock = Clock()
        self.people = People(redis)
        self.archive = Archive(redis, ttl=86_400)
        self.history = History(redis, 86_400)
        self.running: list[AfterCalls] = []

    def process(self, model: Summer | None = None, post: Post | None = None, redis: Redis | None = None) -> AfterCalls:
        """One more, at work."""
        client = redis or self.redis
        archive, people = Archive(client, ttl=86_400), People(client)
        due = Due(client, "aftercall", PACE.lease)
        forget = Forgetting(client, people, archive, due).forget
        closing = Closing(archive, people, model=model, reports=post, forget=forget, pace=PACE, now_ms=self.clock)
        after = AfterCalls(due, archive, people, closing, pace=PACE, now_ms=self.clock)
        after.start()
        self.running.append(after)
        return after

    async def call(
        self,
        after: AfterCalls,
        items: list[Item] | None = None,
        *,
        person: str = ANN,
        reason: str = "completed",
        epoch: int = BEGUN,
    ) -> None:
        """A call that was held and left by its session at this moment, "" for one that goes on."""
        after.begun(CALL, person, BEGUN)
        await self.history.load(CALL, epoch)
        state = {"begun": BEGUN, "person": person, "agent": "desk", "seen": self.clock(), "turns": 1}
        if reason:
            state |= {"left": epoch, "ended": self.clock(), "reason": reason}
        entries = list(enumerate(map(dump_item, SAID if items is None else items)))
        await self.history.put(CALL, epoch, entries, {name: str(value) for name, value in state.items()})
        if reason:
            after.left(CALL)
        await self.written(after)

    async def forget(self, person: str) -> None:
        due = Due(self.redis, "aftercall", PACE.lease)
        await Forgetting(self.redis, self.people, self.archive, due).forget(person)

    async def goes_on_and_ends(self, after: AfterCalls) -> None:
        """A call whose person was forgotten: its session writes as if nothing were, and all is done that follows."""
        state = {"begun": BEGUN, "person": ANN, "left": BEGUN, "ended": self.clock(), "reason": "completed"}
        entry = (2, dump_item(UserItem("My name is Ann.")))
        await self.history.put(CALL, BEGUN, [entry], {name: str(value) for name, value in state.items()})
        after.left(CALL)
        await self.written(after)
        self.clock.passes(2)
        await self.done()
        await eventually(lambda: not after._looking)

    async def written(self, after: AfterCalls) -> None:
        await eventually(lambda: not after._news)

    async def due(self) -> int | None:
        """Seconds, from now on, until somebody looks; None when nobody will."""
        at = await self.redis.zscore("{aftercall}:due", CALL)
        return None if at is None else round((at - self.clock()) / 1000)

    async def until_due(self, seconds: int | None) -> None:
        async with asyncio.timeout(20):
            while await self.due() != seconds:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def looked(self) -> None:
        """What was due just now has been seen to."""
        async with asyncio.timeout(20):
            while await self.due() in (0, PACE.lease):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def done(self) -> None:
        await self.until_due(None)


@pytest.fixture
async def house(redis: Redis) -> AsyncIterator[House]:
    house = House(redis)
    yield house
    for each in house.running:
        await each.close(1)


async def test_a_call_is_summed_up_and_reported(house: House) -> None:
    """Once it is over: the person has the summary, the report too, and nothing is left to do."""
    model, post = Summer(), Post()
    after = house.process(model, post)
    await house.call(after)
    await house.until_due(2)
    assert model.asked == []
    house.clock.passes(2)
    await house.done()
    ann = await house.people.get(ANN)
    assert ann is not None
    assert ann.calls == (EarlierCall(CALL, BEGUN, "Ann booked a table.", ("Send the menu",)),)
    [report] = post.reports
    assert (report["summary"], report["follow_ups"]) == ("Ann booked a table.", ["Send the menu"])
    assert (report["outcome"], report["turns"], report["agent"]) == ("completed", 1, "desk")
    assert model.asked == ["Caller: A table for two\nAgent: It is booked."]
    assert (await house.archive.read(CALL)).report is None


async def test_the_person_and_the_lists_are_made_when_a_call_begins(house: House) -> None:
    """Also of a caller without a number, whose person goes with the call; and somebody will look after it."""
    after = house.process()
    await house.call(after, reason="")
    ann = await house.people.get(ANN)
    assert ann is not None and (ann.first_seen, ann.last_seen) == (BEGUN, BEGUN)
    assert await house.archive.of(ANN) == [(CALL, BEGUN)]
    assert await house.due() == 900
    after.begun("CA2", "anonymous:CA2", BEGUN)
    await house.written(after)
    assert 0 < await house.redis.ttl(person_key("anonymous:CA2")) <= 86_400
    assert await house.archive.listed("CA2", BEGUN)


async def test_what_was_open_is_carried_on(house: House) -> None:
    """The next call's summary is made with what an earlier one left to do."""
    model = Summer()
    after = house.process(model)
    await house.people.seen(ANN, 1)
    await house.people.remember(ANN, EarlierCall("CA0", 1, "Asked for a table.", ("Call back",)))
    await house.call(after)
    house.clock.passes(2)
    await house.done()
    assert model.asked[0].startswith("Open before this call: Call back\n")


async def test_a_lost_call_waits_for_somebody_to_take_it_up(house: House) -> None:
    """If nobody does it is over; what comes meanwhile is not reported twice."""
    post = Post()
    after = house.process(None, post)
    await house.call(after, reason="dropped")
    house.clock.passes(2)
    await house.until_due(88)
    after.ended(CALL, "resume")
    await house.until_due(2)
    house.clock.passes(2)
    await house.until_due(88)
    assert post.tried == 0
    house.clock.passes(88)
    await house.done()
    assert [report["outcome"] for report in post.reports] == ["lost"]


async def test_a_call_that_came_back_to_life_is_put_off(house: House) -> None:
    """It is reported when it is over, with all of it."""
    post = Post()
    after = house.process(None, post)
    await house.call(after, reason="dropped")
    house.clock.passes(89)
    await house.history.load(CALL, house.clock())
    house.clock.passes(2)
    await house.until_due(60)
    house.clock.passes(60)
    await house.until_due(60)
    assert post.tried == 0
    again = house.clock()
    await house.call(after, [*SAID, UserItem("And for three")], epoch=again)
    house.clock.passes(2)
    await house.done()
    [report] = post.reports
    assert len(report["transcript"]) == 3


async def test_a_call_that_goes_on_after_its_report_is_reported_anew(house: House) -> None:
    """A call handed over that comes back late: the second report has all of it."""
    model, post = Summer(), Post()
    after = house.process(model, post)
    await house.call(after, reason="transferred")
    house.clock.passes(180)
    await house.done()
    assert [report["outcome"] for report in post.reports] == ["transferred"]
    again = house.clock()
    await house.call(after, [*SAID, UserItem("Nobody was there")], epoch=again)
    house.clock.passes(2)
    await house.done()
    assert [report["outcome"] for report in post.reports] == ["transferred", "completed"]
    ann = await house.people.get(ANN)
    assert len(model.asked) == 2 and ann is not None and len(ann.calls) == 1


async def test_a_call_whose_process_died_without_a_word(house: House) -> None:
    """It is found: when the telephone tells of its end, or after a silence that no call has."""
    post = Post()
    after = house.process(None, post)
    await house.call(after, reason="")
    house.clock.passes(10)
    after.ended(CALL, "completed")
    await house.until_due(2)
    house.clock.passes(2)
    await house.until_due(88)
    house.clock.passes(88)
    await house.done()
    assert [report["outcome"] for report in post.reports] == ["completed"]


@pytest.mark.parametrize("claimed", [True, False])
async def test_the_telephone_is_faster_than_the_history(house: House, claimed: bool) -> None:
    """A call of which nothing is written yet, or only that a session has it, is not dropped."""
    post = Post()
    after = house.process(None, post)
    if claimed:
        await house.history.load(CALL, BEGUN)
    after.begun(CALL, ANN, BEGUN)
    after.ended(CALL, "completed")
    await house.until_due(2)
    house.clock.passes(2)
    await house.until_due(60)
    await house.call(after)
    house.clock.passes(2)
    await house.done()
    assert len(post.reports) == 1


async def test_a_call_that_never_had_a_session(house: House) -> None:
    """One that nobody answered: nothing is reported, and in the end nothing is due or kept of it."""
    post = Post()
    house.process(None, post).ended(CALL, "no-answer")
    await house.until_due(2)
    for wait in [2] + [60] * 14:
        house.clock.passes(wait)
        await house.until_due(60)
    house.clock.passes(60)
    await house.done()
    assert post.tried == 0
    assert await house.redis.keys("*") == []


async def test_nobody_tells_of_the_end(house: House) -> None:
    """The call is reported as lost in the end."""
    post = Post()
    after = house.process(None, post)
    await house.call(after, reason="")
    house.clock.passes(900)
    await house.done()
    assert [report["outcome"] for report in post.reports] == ["lost"]


async def test_how_a_call_ended_is_on_record_without_reports(house: House) -> None:
    """Who asks for none finds it with the call, and one record in the log tells it once."""
    after = house.process()
    await house.call(after, reason="dropped")
    house.clock.passes(PACE.waits.lost)
    with capture_logs() as logs:
        await house.done()
    assert (await house.archive.read(CALL)).after["outcome"] == "lost"
    assert [each["outcome"] for each in logs if each["event"] == "call over for good"] == ["lost"]


async def test_a_report_is_tried_again(house: House) -> None:
    """With growing waits, the same bytes each time, whatever process does it; the summary is made once."""
    model, post = Summer(), Post(failing=3)
    after = house.process(model, post)
    await house.call(after)
    house.clock.passes(2)
    for wait in (5, 10, 20):
        await house.until_due(wait)
        house.clock.passes(wait)
    await house.done()
    assert (post.tried, len(post.bodies), len(model.asked)) == (4, 1, 1)


async def test_a_report_is_given_up(house: House) -> None:
    """After a day, with a record that has none of its words."""
    post = Post(failing=10_000)
    await house.call(house.process(None, post))
    with capture_logs() as logs:
        while (wait := await house.due()) is not None:
            house.clock.passes(wait)
            await house.looked()
    [given_up] = [each for each in logs if each["event"] == "report given up"]
    assert (given_up["log_level"], given_up["status"], given_up["conversation"]) == ("error", 503, CALL)
    assert not any("table" in str(each) for each in logs)
    assert 20 < post.tried < 60
    assert (await house.archive.read(CALL)).report is None


async def test_two_processes_race(house: House, redis_url: str) -> None:
    """One of them does it, once."""
    model, post = Summer(), Post()
    clients = [connect(redis_url) for _ in range(4)]
    crowd = [house.process(model, post, client) for client in clients]
    await house.call(crowd[0])
    for each in crowd:
        each.ended(CALL, "completed")
    house.clock.passes(2)
    await house.done()
    for each in crowd:
        await house.written(each)
        each.left(CALL)
    house.clock.passes(500)
    await house.done()
    assert (post.tried, len(model.asked)) == (1, 1)
    for each in house.running:
        await each.close(1)
    house.running.clear()
    for client in clients:
        await client.aclose()


async def test_a_process_dies_over_it(house: House, redis_url: str) -> None:
    """Another one does it when the lease has passed, and what the dead one had done is not done again."""
    model, stuck, post = Summer(), Post(), Post()
    stuck.gate.clear()
    client = connect(redis_url)
    dying = house.process(model, stuck, client)
    await house.call(dying)
    house.clock.passes(2)
    await eventually(lambda: stuck.tried)
    # As a process that is killed: it tells nobody, and nothing of it runs any more.
    house.running.remove(dying)
    assert dying._worker is not None
    for task in (dying._worker, *dying._looking):
        task.cancel()
        await asyncio.wait([task])
    other = house.process(model, post)
    assert await house.due() == 100
    house.clock.passes(99)
    await house.until_due(1)
    assert post.tried == 0
    house.clock.passes(1)
    await house.done()
    assert (len(post.bodies), len(model.asked)) == (1, 1)
    await house.written(other)
    await client.aclose()


@pytest.mark.parametrize("failures", [1, 2])
async def test_a_summary_is_tried_again(house: House, failures: int) -> None:
    """The report waits for it."""
    errors: list[str | Exception] = [ModelUnavailable("away")] * failures
    model, post = Summer(*errors, '{"summary": "A table."}'), Post()
    after = house.process(model, post)
    await house.call(after)
    house.clock.passes(2)
    for wait in (5, 30)[:failures]:
        await house.until_due(wait)
        assert post.tried == 0
        house.clock.passes(wait)
    await house.done()
    assert [report["summary"] for report in post.reports] == ["A table."]


async def test_a_summary_is_given_up(house: House) -> None:
    """The report goes without one, and the person is as they were."""
    model, post = Summer(ModelUnavailable("away")), Post()
    after = house.process(model, post)
    await house.call(after)
    for wait in (2, 5, 30):
        await house.until_due(wait)
        house.clock.passes(wait)
    await house.done()
    assert [(report["summary"], report["follow_ups"]) for report in post.reports] == [("", [])]
    ann = await house.people.get(ANN)
    assert len(model.asked) == 3 and ann is not None and ann.calls == ()


@pytest.mark.parametrize("why", ["silent caller", "anonymous", "flag", "memory off"])
async def test_calls_that_nobody_sums_up(house: House, why: str) -> None:
    """No request is made, nothing is kept of the call, and it is reported all the same."""
    model, post = Summer(), Post()
    after = house.process(None if why == "memory off" else model, post)
    if why == "flag":
        await house.people.seen(ANN, 1)
        await house.people.set_memory(ANN, on=False)
    person = "anonymous:CA1" if why == "anonymous" else ANN
    items: list[Item] | None = [AssistantItem("Hello.")] if why == "silent caller" else None
    await house.call(after, items, person=person)
    house.clock.passes(2)
    await house.done()
    assert model.asked == []
    assert [report["summary"] for report in post.reports] == [""]
    found = await house.people.get(person)
    assert found is not None and found.calls == ()


async def test_a_person_forgotten_during_the_call(house: House) -> None:
    """Nothing is kept or reported of what the call went on to write: it is removed."""
    model, post = Summer(), Post()
    after = house.process(model, post)
    await house.call(after, reason="")
    await house.redis.flushall()
    await house.call(after, reason="")
    # The call goes on as if nothing were: all it does not do is to begin.
    await house.redis.delete(person_key(ANN), f"person:{{{ANN}}}:conversations")
    await house.redis.delete(*await house.redis.keys("conversations:*"))
    await house.history.put(CALL, BEGUN, [], {"left": str(BEGUN), "ended": str(house.clock()), "reason": "completed"})
    after.left(CALL)
    await house.written(after)
    house.clock.passes(2)
    await house.done()
    assert (model.asked, post.tried) == ([], 0)
    assert await house.redis.keys("*") == []


@pytest.mark.parametrize("outcome", ["summed up", "summary failed"])
async def test_a_person_forgotten_while_their_call_is_summed_up(house: House, outcome: str) -> None:
    """What the model then answers is kept nowhere, and the call is not reported."""
    model, post = Summer(ModelUnavailable("away")) if outcome == "summary failed" else Summer(), Post()
    after = house.process(model, post)
    await house.call(after)
    model.gate.clear()
    house.clock.passes(2)
    await eventually(lambda: model.asked)
    await house.forget(ANN)
    model.gate.set()
    await eventually(lambda: not after._looking)
    assert post.tried == 0
    assert await house.redis.keys("*") == []


@pytest.mark.parametrize("failing", [0, 1])
async def test_a_person_forgotten_while_their_call_is_reported(house: House, failing: int) -> None:
    """The delivery under way may arrive; it is not made again, and nothing is left of the call."""
    post = Post(failing)
    after = house.process(Summer(), post)
    await house.call(after)
    post.gate.clear()
    house.clock.passes(2)
    await eventually(lambda: post.tried)
    await house.forget(ANN)
    post.gate.set()
    await eventually(lambda: not after._looking)
    assert await house.redis.keys("*") == []


async def test_what_a_forgotten_caller_still_tells(house: House) -> None:
    """A name that is saved between the forgetting and the end of the call goes with the rest of it."""
    after = house.process(Summer(), Post())
    await house.call(after, reason="")
    await house.forget(ANN)
    await house.people.update(ANN, first_name="Ann")
    await house.goes_on_and_ends(after)
    assert await house.redis.keys("*") == []


async def test_a_forgotten_caller_who_calls_again_before_the_call_is_over(house: House) -> None:
    """The new contact stands; of the call in which they were forgotten nothing does."""
    after = house.process(Summer(), Post())
    await house.call(after, reason="")
    await house.forget(ANN)
    await house.people.seen(ANN, house.clock())
    await house.people.update(ANN, first_name="Ann")
    await house.goes_on_and_ends(after)
    assert [key.decode() for key in await house.redis.keys("*")] == [person_key(ANN)]


async def test_redis_away_when_a_call_ends(fragile: FragileRedis, weak: Redis) -> None:
    """What happened is kept until it can be written; it is told once that it waits."""
    house = House(weak)
    after = house.process()
    after.begun(CALL, ANN, BEGUN)
    await house.written(after)
    fragile.stop()
    with capture_logs() as logs:
        after.left(CALL)
        after.ended(CALL, "completed")
        await eventually(lambda: logs)
        fragile.start()
        await house.written(after)
    assert [each["event"] for each in logs] == ["after-call work waits for Redis"]
    assert (await house.archive.read(CALL)).done("told:completed") == BEGUN
    await after.close(1)


async def test_one_that_cannot_be_written_does_not_hold_up_the_others(house: House) -> None:
    """Whatever is wrong with what is stored of it."""
    post = Post()
    after = house.process(None, post)
    await house.redis.set(person_key("phone:+15550000001"), "not a hash")
    after.begun("CA0", "phone:+15550000001", BEGUN)
    after.begun(CALL, ANN, BEGUN)
    await eventually(lambda: [*after._news] == ["CA0"])
    await house.redis.delete(person_key("phone:+15550000001"))
    await house.written(after)
    assert await house.archive.listed("CA0", BEGUN) and await house.archive.listed(CALL, BEGUN)


async def test_one_that_is_slow_does_not_hold_up_the_others(house: House) -> None:
    """News of many calls are written side by side, and those that are left over before long."""
    gate, reached = asyncio.Event(), asyncio.Event()

    class Slow(People):
        async def seen(self, person: str, at_ms: int) -> str:
            if person == ANN:
                reached.set()
                await gate.wait()
            return await super().seen(person, at_ms)

    due = Due(house.redis, "aftercall", PACE.lease)
    closing = Closing(house.archive, house.people, model=None, pace=PACE, now_ms=house.clock)
    after = AfterCalls(due, house.archive, Slow(house.redis), closing, pace=PACE, now_ms=house.clock)
    house.running.append(after)
    after.begun(CALL, ANN, BEGUN)
    for number in range(MOST_A_ROUND):
        after.begun(f"CA{number + 2}", "phone:+15557654321", BEGUN)
    after.start()
    await asyncio.wait_for(reached.wait(), 20)

    async def listed() -> int:
        return int(await house.redis.zcard(day_key(BEGUN)))

    async with asyncio.timeout(20):
        while await listed() < WRITERS - 1:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    gate.set()
    await house.written(after)
    assert await listed() == MOST_A_ROUND + 1


async def test_leaving_lets_what_is_under_way_end(house: House) -> None:
    """And writes what is not written yet; what takes too long is another process's, at once."""
    model, post = Summer(), Post()
    after = house.process(model, post)
    model.gate.clear()
    await house.call(after)
    house.clock.passes(2)
    await eventually(lambda: model.asked)
    closing = asyncio.create_task(after.close(5))
    await asyncio.sleep(0.01)
    model.gate.set()
    await closing
    assert len(post.bodies) == 1

    late = house.process(model, post)
    model.gate.clear()
    await house.call(late, epoch=house.clock())
    house.clock.passes(2)
    await eventually(lambda: len(model.asked) == 2)
    late.begun("CA2", ANN, BEGUN)
    async with asyncio.timeout(20):
        await late.close(30, looks=0.05)
    assert await house.archive.listed("CA2", BEGUN)
    assert not late._looking
    assert await house.due() == 0
