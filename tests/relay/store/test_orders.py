"""Orders: each stored once, for a week, under its person alone."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from relay.errors import StoreError
from relay.store.client import connect
from relay.store.orders import MOST, WEEK, Draft, Order, OrderLine, Orders, TooManyOrders, order_key, orders_key
from relay.store.people import person_key
from tests.relay.store.servers import fragile_redis

ANN, BOB, NOBODY = "phone:+15551234567", "phone:+15557654321", "anonymous:CA1"
PIZZA = Draft("pickup", (OrderLine("large pepperoni pizza", 2, 3600),), 3600, 30)
SALAD = Draft("delivery", (OrderLine("house salad", 1, 750),), 750, 60, "48 Mill Street, Missoula")


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def orders(redis: Redis, clock: Clock) -> Orders:
    return Orders(redis, anonymous_ttl=60, clock=clock)


async def test_an_order_is_kept_as_it_was_placed(orders: Orders, clock: Clock) -> None:
    """What comes back is what was placed, with a number of four digits; the newest order comes first."""
    first, new = await orders.place(ANN, order_key("CA1", "pizza"), PIZZA)
    assert new and 1000 <= first.number <= 9999
    assert first == Order(first.number, "pickup", PIZZA.lines, 3600, 30, clock.now)
    clock.now += 1
    second, _ = await orders.place(ANN, order_key("CA1", "salad"), SALAD)
    assert (second.address, second.minutes) == ("48 Mill Street, Missoula", 60)
    assert await orders.all(ANN) == (second, first)
    assert await orders.all(BOB) == ()


async def test_the_same_order_placed_again_is_the_same(orders: Orders, clock: Clock) -> None:
    """Same number, same time, nothing stored besides: also when more than the first attempt's answer was lost."""
    first, _ = await orders.place(ANN, order_key("CA1", "pizza"), PIZZA)
    clock.now += 100
    for _ in range(2):
        assert await orders.place(ANN, order_key("CA1", "pizza"), PIZZA) == (first, False)
    assert await orders.all(ANN) == (first,)
    again, new = await orders.place(ANN, order_key("CA2", "pizza"), PIZZA)  # on another call it is another wish
    assert new and again.number != first.number


async def test_a_number_that_is_taken_is_given_to_nobody_else(orders: Orders) -> None:
    """Two orders whose keys lead to the same number get two; after the last number comes the first."""
    keys = [f"{8999:08x}{end}" for end in "abc"]
    numbers = [(await orders.place(ANN, key, PIZZA))[0].number for key in keys]
    assert numbers == [9999, 1000, 1001]
    assert [(await orders.place(ANN, key, PIZZA))[0].number for key in keys] == numbers


async def test_an_order_is_kept_for_a_week(orders: Orders, clock: Clock, redis: Redis) -> None:
    """Each order by itself, however many come after it; the key expires with the last of them."""
    old, _ = await orders.place(ANN, order_key("CA1", "pizza"), PIZZA)
    clock.now += WEEK - 10
    young, _ = await orders.place(ANN, order_key("CA2", "pizza"), PIZZA)
    assert await orders.all(ANN) == (young, old)
    clock.now += 10
    assert await orders.all(ANN) == (young,)
    await orders.place(ANN, order_key("CA3", "pizza"), PIZZA)
    assert await redis.hlen(orders_key(ANN)) == 2
    assert WEEK - 60 < await redis.ttl(orders_key(ANN)) <= WEEK


async def test_strangers_are_not_pooled(orders: Orders, redis: Redis) -> None:
    """A caller without a number sees the orders of this call alone, and they are gone with it."""
    mine, _ = await orders.place(NOBODY, order_key("CA1", "pizza"), PIZZA)
    assert await orders.all("anonymous:CA2") == ()
    assert await orders.all(NOBODY) == (mine,)
    assert 50 < await redis.ttl(orders_key(NOBODY)) <= 60


async def test_orders_live_beside_their_person(orders: Orders, redis: Redis) -> None:
    """In the person's slot of a cluster, in a hash of their own; what is stored holds no number of a telephone."""
    assert orders_key(ANN) == f"{person_key(ANN)}:orders" == "person:{phone:+15551234567}:orders"
    await orders.place(ANN, order_key("CA1", "pizza"), PIZZA)
    (stored,) = (await redis.hgetall(orders_key(ANN))).values()
    assert set(orjson.loads(stored)) == {"v", "key", "placed", "kind", "lines", "cents", "minutes", "address"}


async def test_forget_deletes_all_of_a_person(orders: Orders) -> None:
    """And of nobody else; it says how many there were."""
    await orders.place(ANN, order_key("CA1", "pizza"), PIZZA)
    await orders.place(ANN, order_key("CA1", "salad"), SALAD)
    await orders.place(BOB, order_key("CA1", "salad"), SALAD)
    assert [await orders.forget(ANN), await orders.forget(ANN)] == [2, 0]
    assert (await orders.all(ANN), len(await orders.all(BOB))) == ((), 1)


async def test_a_person_has_so_many_orders_at_most(orders: Orders, clock: Clock) -> None:
    """One more is refused and nothing is stored; an order there is can still be found; old ones make room."""
    for number in range(MOST):
        await orders.place(ANN, order_key("CA1", str(number)), SALAD)
    with pytest.raises(TooManyOrders):
        await orders.place(ANN, order_key("CA1", "more"), SALAD)
    assert not (await orders.place(ANN, order_key("CA1", "7"), SALAD))[1]
    assert len(await orders.all(ANN)) == MOST
    clock.now += WEEK
    assert (await orders.place(ANN, order_key("CA1", "more"), SALAD))[1]


async def test_a_store_that_is_away_is_an_error_of_ours() -> None:
    """Placing, reading and forgetting raise StoreError, and it names nobody."""
    with fragile_redis() as server:
        client = connect(server.url)
        orders = Orders(client)
        server.stop()
        for work in (orders.place(ANN, "ab" * 32, PIZZA), orders.all(ANN), orders.forget(ANN)):
            with pytest.raises(StoreError) as caught:
                await work
            assert "555" not in str(caught.value)
        await client.aclose()


def test_an_order_prints_no_words_of_a_caller() -> None:
    """What was ordered and where it goes stay out of logs."""
    shown = repr(SALAD) + repr(Order(1, "delivery", SALAD.lines, 750, 60, 0.0, SALAD.address)) + repr(SALAD.lines[0])
    assert "Mill" not in shown and "salad" not in shown


Placing = tuple[int, str]
"""(which process, what is ordered)."""


@pytest.mark.parametrize("redis_url", ["one server"], indirect=True)
@given(
    rounds=st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abcd")), min_size=1, max_size=8), min_size=1, max_size=4
    ),
    close=st.booleans(),
)
@settings(max_examples=40)
def test_however_often_an_order_is_placed_it_is_stored_once(
    redis_url: str, rounds: list[list[Placing]], close: bool
) -> None:
    """Any interleaving of repeated and parallel placings, by three processes: each order is new once, has one number
    for everybody, and no two orders share one. ``close``: all keys lead to the same number."""

    def key(what: str) -> str:
        return (8 * "0" + what * 56) if close else order_key("CA1", what)

    async def run() -> None:
        clients = [connect(redis_url) for _ in range(3)]
        try:
            await clients[0].flushall()
            stores = [Orders(client) for client in clients]
            seen: dict[str, list[tuple[Order, bool]]] = {}
            for each in rounds:
                answers = await asyncio.gather(*[stores[at].place(ANN, key(what), PIZZA) for at, what in each])
                for (_, what), answer in zip(each, answers, strict=True):
                    seen.setdefault(what, []).append(answer)
            for answers in seen.values():
                assert sum(new for _, new in answers) == 1
                assert len({order for order, _ in answers}) == 1
            kept = await stores[0].all(ANN)
            assert len(kept) == len(seen) == len({order.number for order in kept})
        finally:
            for client in clients:
                await client.aclose()

    asyncio.run(run())
