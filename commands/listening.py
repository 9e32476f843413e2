"""What a process is told by whoever started it, and tells them, in systemd's way: sockets it is to listen on, and that
it serves.

Source: sd_listen_fds(3), sd_notify(3). ``relay dev`` speaks it to its servers; so does a systemd unit with a socket.
"""

from __future__ import annotations

import errno
import os
import socket

from relay.errors import ConfigError

FIRST = 3  # descriptor of the first socket
READY = "READY=1"
BACKLOG = 1024  # connections that wait to be accepted


def inherited_sockets() -> list[socket.socket]:
    """The sockets this process was started with; none where the environment names another process, as it does in what
    our own children inherit. Raises ConfigError for what is no TCP socket that listens."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = os.environ.get("LISTEN_FDS", "")
    try:
        sockets = [socket.socket(fileno=FIRST + place) for place in range(int(count))]
        fine = all(map(_listens, sockets))
    except (OSError, ValueError):
        fine = False
    if not fine:
        raise ConfigError([f"LISTEN_FDS is {count}, but those are no TCP sockets that listen; see ListenStream=."])
    for each in sockets:
        each.set_inheritable(False)  # they are ours, and not for the programs we start
        each.setblocking(False)
    return sockets


def _listens(given: socket.socket) -> bool:
    listening = given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return bool(listening) and given.family in (socket.AF_INET, socket.AF_INET6)


def supervised() -> bool:
    """Whether somebody wants to be told how this process does."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(state: str) -> None:
    """Tells them; never waits, and whether they listen is their business."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place:
        return
    if place.startswith("@"):  # Linux's names that are no files
        place = "\0" + place[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto(f"{state}\nMAINPID={os.getpid()}\n".encode(), place)
    except OSError:
        pass


def open_socket(host: str, port: int, command: str) -> socket.socket:
    """One that listens, for others to accept on. Raises ConfigError, as ``cannot_listen`` says it."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        raise cannot_listen(error, host, port, command) from error


def cannot_listen(error: OSError, host: str, port: int, command: str) -> ConfigError:
    """``command``: what to run again, with other settings before it."""
    if error.errno == errno.EADDRINUSE:
        other = port + 1 if port < 65535 else 8080
        return ConfigError([f"Port {port} of {host} is in use; take another one: PORT={other} {command}"])
    reason = error.strerror or type(error).__name__
    return ConfigError(
        [f"{host}:{port} cannot be listened on ({reason}); take other ones: HOST=127.0.0.1 PORT=8080 {command}"]
    )
