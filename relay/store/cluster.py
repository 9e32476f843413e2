"""A client of a Redis Cluster: every command goes to the node that has its key's slot.

It is made of one plain client a node. The library's own (``RedisCluster``, 8.1) has no blocking pool (a command beyond
its size fails at once), may send ASKING on another connection than the command it is for, never leaves a dead node
while only pipelines are used, runs a thread with an event loop for every command of a transaction, and makes all
connections anew after every error.

    MOVED, ASK           the command was not carried out: it is sent to where it belongs, within the same try
    CLUSTERDOWN,         an error, as of any server; before the next command to that node the nodes are asked who has
    no answer            which slots, all at once, by one task however many wait for it

A script's keys need one hash tag. ``delete`` and ``pipeline`` take any keys: pipelines are split by node and are no
transactions. ``scan_iter``, ``keys``, ``flushall`` and ``ping`` ask every master; what else has no key any node.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ClusterError,
    ConnectionError,
    MovedError,
    RedisError,
    TimeoutError,
)

from relay.store.connections import DEADLINE, Node, Ways, first

SLOTS = 16384
REDIRECTS = 4  # times a command is sent on; a slot that moves takes two
REST = 0.1  # seconds in which the nodes are not asked again

Command = tuple[tuple[Any, ...], Mapping[str, Any]]
Owners = list[Node | None]


class Cluster(Redis):
    """``seeds``: some of the nodes, asked until one tells of the others, and again when all those are silent."""

    def __init__(self, seeds: Sequence[Node], ways: Ways) -> None:
        self._ways = ways
        self._seeds = list(seeds)
        self._nodes: dict[Node, Redis] = {}
        self._owners: Owners = [None] * SLOTS
        self._known: list[Node] = []  # masters first
        self._suspects: set[Node] = set()
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = float("-inf")
        # What the library does past ``execute_command``, such as listening to a channel, it does by this pool.
        super().__init__(connection_pool=self._at(self._seeds[0]).connection_pool)

    # -- what commands go through

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        if merge := _EVERYWHERE.get(args[0]):
            masters = await self.masters()
            if not masters:
                raise ConnectionError("no node of the Cluster answers")
            return merge([await client.execute_command(*args, **options) for client in masters])
        (answer,) = await self.run([(args, options)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> ClusterPipeline:
        if transaction:
            raise NotImplementedError("a Cluster has no transactions across commands: use a script")
        return ClusterPipeline(self)

    def delete(self, *names: Any) -> Awaitable[int]:
        async def each() -> int:
            answers = await self.run([(("DEL", name), {}) for name in names])
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            return sum(answers)

        return each()

    async def scan_iter(self, *args: Any, **options: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        """Every key of every node. One that is moved to another node during the walk may be missed, or come twice."""
        for client in await self.masters():
            async for key in client.scan_iter(*args, **options):
                yield key

    async def masters(self) -> list[Redis]:
        """A client of each node that has slots."""
        await self._learn()
        owners = dict.fromkeys(owner for owner in self._owners if owner is not None)
        return [self._at(owner) for owner in owners]

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        for client in self._nodes.values():
            await client.aclose()

    # -- the way to a node

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The answers, an error in place of its own command's. Each node is asked once, all at the same time."""
        if not self._known:
            await self._learn()
        slots = [_slot(args) for args, _ in commands]
        if any(self._owner(slot) in self._suspects for slot in slots):
            await self._learn()
        by_node: dict[Node, list[int]] = {}
        for number, slot in enumerate(slots):
            by_node.setdefault(self._owner(slot), []).append(number)
        answers: list[Any] = [None] * len(commands)

        async def ask(node: Node, numbers: list[int]) -> None:
            found = await self._send(node, [commands[number] for number in numbers])
            for number, answer in zip(numbers, found, strict=True):
                answers[number] = await self._follow(node, commands[number], answer)

        if len(by_node) == 1:
            await ask(*by_node.popitem())
        else:
            async with asyncio.TaskGroup() as group:
                for node, numbers in by_node.items():
                    group.create_task(ask(node, numbers), name="redis cluster node")
        return answers

    async def _follow(self, node: Node, command: Command, answer: Any) -> Any:
        """The answer of whom the command belongs to, where this one's is that it belongs elsewhere."""
        for _ in range(REDIRECTS):
            if not isinstance(answer, AskError):
                return answer
            there = (answer.host or node[0], answer.port)  # without a name: another port of the same host
            if isinstance(answer, MovedError):
                self._suspects.add(node)  # it tells of one slot: there may be more
                self._owners[answer.slot_id] = node = there
                (answer,) = await self._send(there, [command])
            else:
                _, answer = await self._send(there, [(("ASKING",), {}), command])
        return ClusterError("sent from node to node") if isinstance(answer, AskError) else answer

    async def _send(self, node: Node, commands: Sequence[Command]) -> list[Any]:
        """On one connection, in one go."""
        client = self._at(node)
        try:
            if len(commands) == 1:
                ((args, options),) = commands
                answers = [await client.execute_command(*args, **options)]
            else:
                async with client.pipeline(transaction=False) as pipeline:
                    for args, options in commands:
                        pipeline.execute_command(*args, **options)
                    answers = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            answers = [error] * len(commands)
        if any(isinstance(answer, ConnectionError | TimeoutError | ClusterDownError | OSError) for answer in answers):
            self._suspects.add(node)
        return answers

    def _owner(self, slot: int | None) -> Node:
        """For what has no slot, or one of which nobody knows, some node that does not fail."""
        owner = None if slot is None else self._owners[slot]
        if owner is None:
            owner = next((node for node in self._known if node not in self._suspects), self._seeds[0])
        return owner

    def _at(self, node: Node) -> Redis:
        client = self._nodes.get(node)
        if client is None:
            host, port = node
            client = self._nodes[node] = Redis.from_pool(self._ways.pool(host=host, port=port))
        return client

    # -- who has which slots

    async def _learn(self) -> None:
        """Asks the nodes, unless that was done just now. A cancel leaves it going on for others who wait."""
        loop = asyncio.get_running_loop()
        if self._asking is None or self._asking.done():
            if loop.time() < self._asked_at + REST:
                return
            self._asking = asyncio.create_task(self._ask_all(), name="redis cluster slots")
        await asyncio.shield(self._asking)

    async def _ask_all(self) -> None:
        reliable = [node for node in dict.fromkeys([*self._known, *self._seeds]) if node not in self._suspects]
        rest = [node for node in dict.fromkeys([*self._known, *self._seeds]) if node in self._suspects]
        try:
            for asked in (reliable, rest):
                # A node that is cut off from the others does not know what has become of its slots.
                found = await first(self._ask(node) for node in asked)
                if found is not None:
                    await self._take(*found)
                    return
        finally:
            self._asked_at = asyncio.get_running_loop().time()

    async def _ask(self, node: Node) -> tuple[Owners, list[Node]] | None:
        owners: Owners = [None] * SLOTS
        masters: list[Node] = []
        replicas: list[Node] = []
        async with asyncio.timeout(DEADLINE):
            ranges = await self._at(node).execute_command("CLUSTER", "SLOTS")
        for start, end, *places in ranges:
            master, *others = (_place(place, node) for place in places)
            owners[start : end + 1] = [master] * (end + 1 - start)
            masters.append(master)
            replicas += others
        return (owners, [*dict.fromkeys([*masters, *replicas])]) if masters else None

    async def _take(self, owners: Owners, known: list[Node]) -> None:
        self._owners, self._known = owners, known
        self._suspects.clear()
        for node in self._nodes.keys() - {*known, *self._seeds}:
            await self._nodes.pop(node).aclose()


class ClusterPipeline(Pipeline):
    """Commands in one go, whichever nodes they are for."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, False, None)
        self._cluster = cluster

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        commands, self.command_stack = self.command_stack, []
        answers = await self._cluster.run(commands)
        if raise_on_error:
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers


def _place(place: Sequence[Any], asked: Node) -> Node:
    """A node as another one names it; without a name it is where that one is."""
    host, port = place[0], int(place[1])
    name = host.decode() if isinstance(host, bytes) else host or ""
    return name or asked[0], port


def _slot(args: tuple[Any, ...]) -> int | None:
    """Of a command's first key; None where it has none. A wrong guess is corrected by the node that is asked."""
    command = str(args[0]).upper()
    if command in ("EVAL", "EVALSHA", "FCALL"):
        return _slot_of(args[3]) if len(args) > 3 and int(args[2]) else None
    if len(args) == 1 or command.partition(" ")[0] in _KEYLESS:
        return None
    return _slot_of(args[1])


def _slot_of(key: Any) -> int:
    slot: int = key_slot(key if isinstance(key, bytes) else str(key).encode("utf-8", "surrogatepass"))
    return slot


_EVERYWHERE: dict[str, Callable[[list[Any]], Any]] = {
    "KEYS": lambda found: [*chain(*found)],
    "FLUSHALL": all,
    "PING": all,
}
_KEYLESS = frozenset({"INFO", "CONFIG", "SCRIPT", "CLIENT", "CLUSTER", "COMMAND", "PUBLISH", "SCAN"})

__all__ = ["Cluster"]
