"""PUBLIC_URL's name and port: known to the world, and listened on; and what plain HTTP is answered there."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from commands.doctor.answers import START
from commands.doctor.asking import Asker, Unanswered
from commands.doctor.finding import Finding, failed, ok, warning
from handlers.health import LIVE

CONNECT_DEADLINE = 5.0  # what Twilio gives a connection

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The IP addresses of a name; raises OSError."""


async def resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def look(public_url: str, *, resolve: Resolve = resolve, deadline: float = CONNECT_DEADLINE) -> Finding:
    """Name and port. ``deadline``: seconds for each of the two."""
    parts = urlsplit(public_url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        async with asyncio.timeout(deadline):
            addresses = await resolve(host, port)
    except TimeoutError:
        return failed(f"The name {host} is not looked up within {deadline:g} s.", "Check this machine's DNS.")
    except (OSError, UnicodeError):
        return failed(
            f"The name {host} is not known.",
            "Check PUBLIC_URL, or make a DNS record for it; a tunnel's name may be new each time it starts.",
        )
    try:
        async with asyncio.timeout(deadline):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return failed(
            f"{host} takes no connection on port {port} within {deadline:g} s.",
            f"Open port {port} in the firewall or security group.",
        )
    except OSError as error:
        # Of a name with several addresses asyncio tells only in words what each has answered.
        if f"[Errno {errno.ECONNREFUSED}]" in str(error):
            return failed(f"Nothing listens on port {port} of {host}.", f"Start the proxy or tunnel there. {START}")
        return failed(f"{host} cannot be connected to ({type(error).__name__}).", "Check the network and PUBLIC_URL.")
    writer.transport.abort()
    if not any(_is_public(each) for each in addresses):
        return warning(
            f"{host} is an address of this network only ({addresses[0]}): Twilio cannot reach it.",
            "Give it a public address, or set PUBLIC_URL to a tunnel's: ngrok http PORT",
        )
    return ok(f"{host} is known, and port {port} is open.")


async def plain(public_url: str, asker: Asker, *, port: int = 80) -> Finding:
    """What plain HTTP gets, on the port of that name."""
    parts = urlsplit(public_url)
    url = f"http://{parts.hostname}{f':{port}' if port != 80 else ''}{parts.path}{LIVE}"
    try:
        answer = await asker.get(url)
    except Unanswered:
        return ok("Plain HTTP is not answered.")
    if answer.headers.get("Location", "").startswith("https://") and 300 <= answer.status < 400:
        return ok("Plain HTTP is sent on to HTTPS.")
    if answer.status == 200 and '"version"' in answer.body:
        return warning(
            "The relay also answers plain HTTP: what is sent there can be read on the way.",
            f"Have the proxy send http://{parts.hostname} on to https://, or close port {port}.",
        )
    return ok(f"Plain HTTP does not reach the relay ({answer.status}).")


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_global
    except ValueError:
        return False
