"""Which event loops the tests of this room run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

SOCKETS = ("test_relay_socket.py", "test_live_chat.py")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What is about sockets runs on both loops a process may have: their transports are not the same code."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.name in SOCKETS:
        try:
            import uvloop
        except ImportError:
            pass
        else:
            factories["uvloop"] = uvloop.new_event_loop
    return factories
