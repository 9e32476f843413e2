"""ngrok as ``relay dev`` knows it: a program that logs in JSON and passes requests on, and a package that does so too.

    python tests/fakes/ngrok.py http HOST:PORT --log=stdout --log-format=json

The folder FAKE_NGROK names what it is to do: ``url`` holds the address it announces, ``fail`` what it logs as an error
before it ends. Each run leaves ``tunnel-N.json`` there: its process id, and the port where the world would come in.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from pathlib import Path

HEADERS = "X-Forwarded-For: 203.0.113.7\nX-Forwarded-Host: {host}\nX-Forwarded-Proto: https"


def log(**words: object) -> None:
    print(json.dumps({"t": "2026-11-30T12:00:00+0000", **words}), flush=True)


async def tunnel(target: str, folder: Path) -> str:
    """Listens, and leaves word of it; the address to announce."""
    url = _read(folder / "url")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _pass_on(reader, writer, target, url.partition("://")[2])

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    _leave_word(folder, {"pid": os.getpid(), "port": server.sockets[0].getsockname()[1], "target": target})
    return url  # the loop keeps the server


def _read(file: Path) -> str:
    return file.read_text().strip()


def _leave_word(folder: Path, word: dict[str, object]) -> None:
    number = len(list(folder.glob("tunnel-*.json")))
    (folder / "tunnel.new").write_text(json.dumps(word))
    (folder / "tunnel.new").rename(folder / f"tunnel-{number}.json")


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, host: str) -> None:
    """One request, as ngrok passes it on; what follows an upgrade is passed on as it is."""
    there, _, port = target.rpartition(":")
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        far_reader, far_writer = await asyncio.open_connection(there, int(port))
    except (OSError, asyncio.IncompleteReadError):
        writer.close()
        return
    line, *headers = head.removesuffix("\r\n\r\n").split("\r\n")
    if "upgrade: websocket" not in head.lower():
        headers = [each for each in headers if not each.lower().startswith("connection:")] + ["Connection: close"]
    headers += HEADERS.format(host=host).splitlines()
    far_writer.write("\r\n".join([line, *headers, "", ""]).encode("latin-1"))
    await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        sink.close()


def _failure(folder: Path) -> str:
    return (folder / "fail").read_text() if (folder / "fail").exists() else ""


async def program(target: str) -> int:
    folder = Path(os.environ["FAKE_NGROK"])
    log(lvl="info", msg="no configuration paths supplied")
    log(lvl="info", msg="starting web service", obj="web", addr="127.0.0.1:4040", allow_hosts=[])
    if error := _failure(folder):
        log(lvl="eror", msg="failed to reconnect session", obj="tunnels.session", err=error)
        print(f"ERROR:  authentication failed: {error}", file=sys.stderr, flush=True)
        return 1
    url = await tunnel(target, folder)
    log(lvl="info", msg="client session established", obj="tunnels.session")
    log(lvl="info", msg="started tunnel", obj="tunnels", name="command_line", addr=f"http://{target}", url=url)
    await asyncio.Event().wait()
    return 0


class Listener:
    """What the package returns."""

    def __init__(self, url: str) -> None:
        self._url = url

    def url(self) -> str:
        return self._url


def forward(addr: str, authtoken_from_env: bool = False) -> Listener:
    """The package's function. It serves in threads of its own, and raises ValueError."""
    folder = Path(os.environ["FAKE_NGROK"])
    if not (authtoken_from_env and os.environ.get("NGROK_AUTHTOKEN")):
        raise ValueError("failed to connect session", "Usage of ngrok requires an authtoken.", "ERR_NGROK_4018")
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="ngrok", daemon=True).start()
    return Listener(asyncio.run_coroutine_threadsafe(tunnel(addr, folder), loop).result(10))


if __name__ == "__main__":
    sys.exit(asyncio.run(program(sys.argv[2])))
