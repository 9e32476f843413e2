"""Text conversations: what a turn finds, what it leaves, and what comes again."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from relay.chats import Chats, Done, said
from relay.errors import Fenced, StoreError, TurnTimeout, UnknownConversation
from relay.items import AssistantItem, Item, NoteItem, ToolItem, UserItem
from relay.models.base import Usage
from relay.store.archive import Archive
from relay.store.due import Due
from relay.store.forgetting import Forgetting
from relay.store.history import History, items_key, state_key
from relay.store.leases import Leases
from relay.store.monitor import Monitor, Wanted
from relay.store.people import People
from relay.store.person import conversations_key
from relay.writer import epoch_ms

PERSON = "chat:ada"


class House:
    """The conversations of a channel on a Redis of their own."""

    def __init__(self, redis: Redis, channel: str = "chat") -> None:
        self.redis = redis
        self.archive = Archive(redis, ttl=60, longest=600)
        self.history = History(redis, 600, window=0.0)
        self.chats = Chats(channel, self.history, Leases(redis), self.archive, ttl=600, worker="w1")

    async def say(self, words: str, reply: str, *, key: str = "", turn: str = "", conversation: str = "c") -> None:
        async with self.chats.turn(conversation, create=True, wait=1) as open_turn:
            items = [UserItem(words), AssistantItem(reply)]
            await open_turn.put(Done(items, agent="default", person=PERSON, key=key, turn=turn, usage=Usage(3, 1, 2)))


@pytest.fixture
def house(redis: Redis) -> House:
    return House(redis)


def texts(items: list[Item]) -> list[str]:
    return [item.text for item in items if isinstance(item, UserItem | AssistantItem)]


async def test_a_turn_finds_what_those_before_have_put(house: House) -> None:
    """In order, with what is noted of the conversation."""
    async with house.chats.turn("c", create=True, wait=1) as turn:
        assert turn.new and turn.number == 1 and turn.items == [] and turn.state == {}
        await turn.put(Done([UserItem("One"), AssistantItem("Two")], agent="default", state={"topic": "tea"}))
    async with house.chats.turn("c", wait=1) as turn:
        assert not turn.new and turn.number == 2
        assert texts(turn.items) == ["One", "Two"]
        assert (turn.state["topic"], turn.state["agent"], turn.state["turns"]) == ("tea", "default", "1")
        await turn.put(Done([UserItem("Three"), AssistantItem("Four")], agent="sales", language="es"))
    stored = await house.chats.read("c")
    assert stored is not None and texts(stored.items) == ["One", "Two", "Three", "Four"]
    assert (stored.state["agent"], stored.state["language"], stored.state["topic"]) == ("sales", "es", "tea")
    assert stored.state["agents"] == "default sales"
    assert 0 <= epoch_ms() - int(stored.state["begun"]) < 60_000


async def test_what_is_not_put_leaves_no_trace(house: House, redis: Redis) -> None:
    """Of a first turn nothing at all, of a later one no sign that anything is going on."""
    with pytest.raises(RuntimeError):
        async with house.chats.turn("c", create=True, wait=1):
            raise RuntimeError
    assert await redis.dbsize() == 0
    await house.say("One", "Two")
    before = await house.chats.read("c")
    with pytest.raises(RuntimeError):
        async with house.chats.turn("c", wait=1):
            raise RuntimeError
    after = await house.chats.read("c")
    assert before is not None and after is not None and after.items == before.items
    assert after.state["left"] == after.state["epoch"] > before.state["epoch"]


async def test_what_comes_again_is_no_second_turn(house: House) -> None:
    """A turn is known by the key it came with; its answer and what stood before it are found, not what came later."""
    await house.say("Hi", "Hello", key="k1", turn="t1")
    await house.say("More", "Of course", key="k2", turn="t2")
    await house.say("And more", "Sure")
    async with house.chats.turn("c", wait=1) as turn:
        found = turn.answered("k2")
        assert found is not None and found.turn == "t2"
        assert texts(found.items) == ["More", "Of course"]
        assert texts(found.upto) == ["Hi", "Hello", "More", "Of course"]
        assert turn.answered("k3") is None and turn.answered("") is None


async def test_other_channels_conversations_are_unknown(house: House, redis: Redis) -> None:
    """A call's id is none of the chat's, and a chat's none of the debate's."""
    await house.say("Hi", "Hello")
    await redis.hset(state_key("CA1"), mapping={"epoch": "1", "channel": "voice"})
    debate = House(redis, "debate").chats
    assert await debate.read("c") is None and await house.chats.read("CA1") is None
    for chats, conversation in ((debate, "c"), (house.chats, "CA1"), (house.chats, "none")):
        with pytest.raises(UnknownConversation):
            async with chats.turn(conversation, wait=1):
                pass


async def test_one_turn_at_a_time(house: House, redis: Redis) -> None:
    """Whoever waits too long is told so, and nothing was begun."""
    await house.say("Hi", "Hello")
    async with house.chats.turn("c", wait=1):
        with pytest.raises(TurnTimeout):
            async with House(redis).chats.turn("c", wait=0.05):
                pass


async def test_a_turn_that_lost_its_lease_writes_nothing(house: House, redis: Redis) -> None:
    """A later one has the conversation."""
    await house.say("Hi", "Hello")
    async with house.chats.turn("c", wait=1) as turn:
        await house.history.load("c", turn.epoch + 1)
        with pytest.raises(Fenced):
            await turn.put(Done([UserItem("Late")], agent="default"))
    stored = await house.chats.read("c")
    assert stored is not None and texts(stored.items) == ["Hi", "Hello"]


async def test_the_monitor_finds_it(house: House, redis: Redis) -> None:
    """In the day's list and in the person's, over and answered, with its turns."""
    await house.say("Hi", "Hello")
    await house.say("More", "Sure")
    monitor = Monitor(redis, longest=600, now_ms=epoch_ms)
    [found] = (await monitor.newest(Wanted(), 10)).found
    assert (found.id, found.channel, found.agent, found.turns) == ("c", "chat", "default", 2)
    assert (found.outcome, found.live, found.person) == ("completed", False, PERSON)
    [own] = (await monitor.of_person([PERSON], Wanted(), 10)).found
    assert own.id == "c"
    assert await redis.hget(state_key("c"), "tokens_in") == b"6"
    assert await redis.ttl(state_key("c")) > 500 and await redis.ttl(items_key("c")) > 500


async def test_who_is_forgotten_stays_so(house: House, redis: Redis) -> None:
    """Also where a turn is going on meanwhile."""
    await house.say("Hi", "Hello")
    forgetting = Forgetting(redis, People(redis, anonymous_ttl=60), house.archive, Due(redis, "aftercall", 1), {})
    async with house.chats.turn("c", wait=1) as turn:
        await forgetting.forget(PERSON)
        with pytest.raises(UnknownConversation):
            await turn.put(Done([UserItem("Still here"), AssistantItem("Yes")], agent="default", person=PERSON))
    assert await house.chats.read("c") is None
    for key in await redis.keys("conversation:*"):
        assert b"items" not in key


async def test_parallel_turns_are_all_kept(house: House) -> None:
    """In one order, none lost, none between another's words and its answer."""
    await asyncio.gather(*(house.say(f"q{number}", f"a{number}") for number in range(5)))
    stored = await house.chats.read("c")
    assert stored is not None
    pairs = list(zip(texts(stored.items)[::2], texts(stored.items)[1::2], strict=True))
    assert sorted(pairs) == [(f"q{number}", f"a{number}") for number in range(5)]


def test_what_people_read() -> None:
    """Two sides, without tools and notes; what one side wrote in pieces is one text."""
    items: list[Item] = [
        UserItem("Book it"),
        AssistantItem("One moment."),
        ToolItem("t", "book", "{}", "{}"),
        AssistantItem("Done."),
        NoteItem("told to the model"),
        AssistantItem(" "),
        UserItem("Thanks"),
    ]
    assert said(items) == [("user", "Book it"), ("assistant", "One moment.\n\nDone."), ("user", "Thanks")]


async def test_what_was_said_is_told_turn_by_turn(house: House) -> None:
    """Each turn by its name; those whose name nobody knows stand together."""
    await house.say("One", "1", key="a", turn="t1")
    await house.say("Two", "2")
    await house.say("Three", "3")
    await house.say("Four", "4", key="b", turn="t4")
    stored = await house.chats.read("c")
    assert stored is not None
    told = [(name, texts(items)) for name, items in stored.turns()]
    assert told == [("t1", ["One", "1"]), ("", ["Two", "2", "Three", "3"]), ("t4", ["Four", "4"])]


async def test_a_conversation_that_cannot_be_listed_is_not_begun(house: House) -> None:
    """It may be put again, and the next turn does not take it for one whose person was forgotten."""
    listed = conversations_key(PERSON)
    await house.redis.set(listed, "in the way")
    async with house.chats.turn("c", create=True, wait=1) as turn:
        done = Done([UserItem("One"), AssistantItem("1")], agent="default", person=PERSON)
        with pytest.raises(StoreError):
            await turn.put(done)
        assert await house.chats.read("c") is None
        await house.redis.delete(listed)
        await turn.put(done)
    await house.say("Two", "2")
    stored = await house.chats.read("c")
    assert stored is not None and texts(stored.items) == ["One", "1", "Two", "2"]
