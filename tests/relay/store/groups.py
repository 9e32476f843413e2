"""Redis servers that belong together: a Cluster, and a master with a replica and Sentinels."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.relay.store.servers import FORGETFUL, FragileRedis, eventually, free_ports

SERVICE = "relay"
SLOTS = 16384
AT_ONCE = ("--repl-diskless-sync-delay", 0)  # a replica's first copy


class RedisCluster:
    """``masters`` share the slots evenly; ``replicas``, as many or none, are each of the master in their place."""

    def __init__(self, masters: list[FragileRedis], replicas: list[FragileRedis]) -> None:
        self.masters = masters
        self.replicas = replicas
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in masters)

    @property
    def nodes(self) -> list[FragileRedis]:
        return [*self.masters, *self.replicas]

    def form(self) -> None:
        """Takes about as long as a node waits before it takes writes: 2 s."""
        for number, master in enumerate(self.masters):
            master.admin("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            master.admin("CLUSTER", "ADDSLOTS", *range(*self.share(number)))
        eventually(self._acquainted, "the nodes know each other", every=0.2)
        for master, replica in zip(self.masters, self.replicas, strict=False):
            replica.admin("CLUSTER", "REPLICATE", master.admin("CLUSTER", "MYID").decode())
        eventually(lambda: all(_fine(node) for node in self.nodes), "the cluster is formed")
        for replica in self.replicas:
            eventually(lambda each=replica: _role(each)[3] == b"connected", "the replica has a copy")

    def _acquainted(self) -> bool:
        if all(_known(node) == len(self.nodes) for node in self.nodes):
            return True
        for node in self.nodes[1:]:  # a node that is not met in time has to be met again
            node.admin("CLUSTER", "MEET", "127.0.0.1", self.masters[0].port)
        return False

    def share(self, number: int) -> tuple[int, int]:
        """The slots of a master at first: from one, up to and without another."""
        count = len(self.masters)
        return SLOTS * number // count, SLOTS * (number + 1) // count

    def owner(self, slot: int) -> FragileRedis:
        """The master that has a slot now."""
        for master in self.masters:
            (own,) = (line for line in _lines(master) if "myself" in line)
            for part in own.split()[8:]:
                first, _, last = part.partition("-")
                if not part.startswith("[") and int(first) <= slot <= int(last or first):
                    return master
        raise AssertionError(f"nobody has slot {slot}")

    def begin_move(self, slot: int, to: FragileRedis) -> FragileRedis:
        """The slot is being moved: the one that has it sends on what it lacks. Who that is, is returned."""
        source = self.owner(slot)
        to.admin("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(source))
        source.admin("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(to))
        return source

    def end_move(self, slot: int, source: FragileRedis, to: FragileRedis) -> None:
        """Its keys go over, then it belongs to the other."""
        while keys := source.admin("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.admin("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
        for node in (to, source, *(each for each in self.masters if each not in (to, source))):
            node.admin("CLUSTER", "SETSLOT", slot, "NODE", _id(to))


class RedisSentinels:
    """``master``, its ``replica``, and Sentinels who know them as ``SERVICE``."""

    def __init__(self, master: FragileRedis, replica: FragileRedis, sentinels: list[FragileRedis]) -> None:
        self.master = master
        self.replica = replica
        self.sentinels = sentinels
        self.url = "redis+sentinel://" + ",".join(f"127.0.0.1:{each.port}" for each in sentinels) + f"/{SERVICE}/0"

    def form(self) -> None:
        self.replica.admin("REPLICAOF", "127.0.0.1", self.master.port)
        eventually(lambda: _role(self.replica)[3] == b"connected", "the replica has a copy")
        for sentinel in self.sentinels:
            sentinel.start()
        eventually(lambda: all(self._ready(each) for each in self.sentinels), "the Sentinels know all")

    def fail_over(self) -> None:
        """The replica is made the master, and who was it a replica, whose clients are all still there."""
        self.sentinels[0].admin("SENTINEL", "FAILOVER", SERVICE)
        self.failed_over()
        self.replica.admin("REPLICAOF", "127.0.0.1", self.master.port)  # a Sentinel may take ten seconds to do it

    def failed_over(self) -> None:
        """Waits until the replica is the master, and known as such; from now on they are called so."""
        port = str(self.replica.port).encode()
        eventually(lambda: all(self._master_port(each) == port for each in self.sentinels), "a failover", 30.0)
        self.master, self.replica = self.replica, self.master

    def _master_port(self, sentinel: FragileRedis) -> bytes:
        found: Any = sentinel.admin("SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE)
        return str(found[1]).encode()

    def _ready(self, sentinel: FragileRedis) -> bool:
        replicas: Any = sentinel.admin("SENTINEL SLAVES", SERVICE)
        masters: Any = sentinel.admin("SENTINEL MASTERS")
        others = masters[SERVICE]["num-other-sentinels"]
        found = [each["flags"] == "slave" and each["master-link-status"] == "ok" for each in replicas]
        return found == [True] and int(others) == len(self.sentinels) - 1


@contextmanager
def redis_cluster(masters: int = 3, *, replicas: bool = False, patience: int = 2000) -> Iterator[RedisCluster]:
    """``patience``: ms after which a silent node counts as gone."""
    with ExitStack() as stack:
        nodes = []
        for port in free_ports(masters * (2 if replicas else 1)):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-")))
            options = (*FORGETFUL, *AT_ONCE, "--cluster-enabled", "yes", "--cluster-node-timeout", patience)
            node = FragileRedis(folder, *options, port=port)
            node.launch()
            stack.callback(node.stop)
            nodes.append(node)
        for node in nodes:
            eventually(node.answers, "the node answers")
        cluster = RedisCluster(nodes[:masters], nodes[masters:])
        cluster.form()
        yield cluster


@contextmanager
def redis_sentinels(count: int = 1) -> Iterator[RedisSentinels]:
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-"))) for _ in range(count + 2)]
        ports = free_ports(count + 2)
        master, replica = (
            FragileRedis(folder, *FORGETFUL, *AT_ONCE, port=port)
            for folder, port in zip(folders[:2], ports[:2], strict=True)
        )
        sentinels = []
        for folder, port in zip(folders[2:], ports[2:], strict=True):
            file = folder / "sentinel.conf"
            file.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
                f"sentinel monitor {SERVICE} 127.0.0.1 {ports[0]} {count // 2 + 1}\n"
                f"sentinel down-after-milliseconds {SERVICE} 500\nsentinel failover-timeout {SERVICE} 5000\n"
            )
            sentinels.append(FragileRedis(folder, file, "--sentinel", port=port))
        for server in (master, replica, *sentinels):
            stack.callback(server.stop)
        master.start()
        replica.start()
        group = RedisSentinels(master, replica, sentinels)
        group.form()
        yield group


def _lines(node: FragileRedis) -> list[str]:
    raw: Any = node.admin("CLUSTER", "NODES")
    return (raw.decode() if isinstance(raw, bytes) else str(raw)).splitlines()


def _known(node: FragileRedis) -> int:
    return sum("handshake" not in line for line in _lines(node))


def _fine(node: FragileRedis) -> bool:
    return b"cluster_state:ok" in node.admin("CLUSTER", "INFO")


def _id(node: FragileRedis) -> str:
    return str(node.admin("CLUSTER", "MYID").decode())


def _role(node: FragileRedis) -> Any:
    return node.admin("ROLE")
