"""What ``relay dev`` serves, and what becomes of it: edits, addresses that change, servers that end by themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path

from commands.dev.keeper import Keeper
from commands.dev.saying import say
from commands.dev.servers import Servers
from commands.dev.tunnel import Tunnel

TUNNEL_PATIENCE = 15.0  # seconds the first server waits for the tunnel
CRASH_APART = 30.0  # seconds from one server that ends by itself to the next; sooner, and we end too
NAMED = 3  # changed files that are named


class Bench:
    """``local``: where it is served. ``address``: what the world reaches it by, "" until there is a tunnel. ``keeper``
    None: the number is left alone. What happens is noted by three methods, and ``run`` sees to it."""

    def __init__(self, local: str, address: str, keeper: Keeper | None) -> None:
        self._local = local
        self._address = address
        self._served = ""  # the address that the server knows, and the number leads to
        self._keeper = keeper
        self._files: list[Path] = []
        self._gone = False
        self._crash_allowed = 0.0
        self._addressed = asyncio.Event()
        self._news = asyncio.Event()

    def address_is(self, url: str) -> None:
        if url == self._address:
            say("the tunnel is there again, at the same address")
            return
        self._address = url
        self._addressed.set()
        self._news.set()

    def files_changed(self, files: list[Path]) -> None:
        self._files += files
        self._news.set()

    def server_gone(self) -> None:
        self._gone = True
        self._news.set()

    async def run(self, servers: Servers, tunnel: Tunnel | None) -> None:
        """Serves until it is cancelled. Returns when no server runs and it is of no use to start another one."""
        if tunnel is not None:
            await self._first_address(tunnel)
        if not await self._start(servers):
            say("the server does not start")
            return
        say(f"serving on {self._local}, {f'to the world as {self._served}' if self._served else 'this machine only'}")
        if self._keeper is not None and not self._served:
            say("the number is not connected while there is no address")
        say(f"talk to it from another terminal: {f'PUBLIC_URL={self._served} ' if self._served else ''}make call")
        say("agents and modules may be edited; Ctrl-C ends it")
        while await self._next(servers):
            if await self._start(servers):
                say("the new server takes the calls from now on; those in progress stay where they are")
            elif servers.serving:
                say("it does not start; the server from before goes on")
            else:
                say("it does not start, and no other server runs")
                return

    async def _next(self, servers: Servers) -> bool:
        """Waits until a server is to be started; False if none is."""
        while True:
            await self._news.wait()
            self._news.clear()
            files, self._files = self._files, []
            if self._gone:
                now = asyncio.get_running_loop().time()
                if now < self._crash_allowed:
                    say("the server has ended by itself again")
                    return False
                self._crash_allowed = now + CRASH_APART
                say("the server has ended by itself; another one is started")
                return True
            if files:
                say(f"changed: {_named(files)}")
                return True
            if self._address != self._served:
                say(f"the address is {self._address} now")
                return True

    async def _start(self, servers: Servers) -> bool:
        address = self._address
        if not await servers.replace(**({"PUBLIC_URL": address} if address else {})):
            return False
        self._gone = False  # that was the one before
        if address != self._served:
            self._served = address
            if self._keeper is not None:
                await self._keeper.lead_to(address)
        return True

    async def _first_address(self, tunnel: Tunnel) -> None:
        waits = [
            asyncio.create_task(self._addressed.wait(), name="first address"),
            asyncio.create_task(tunnel.ended.wait(), name="no tunnel"),
        ]
        try:
            await asyncio.wait(waits, timeout=TUNNEL_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.wait(waits)


def _named(files: list[Path]) -> str:
    names = [file.name for file in files[:NAMED]]
    return ", ".join(names) + (f" and {len(files) - NAMED} more" if len(files) > NAMED else "")
