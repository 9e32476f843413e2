"""What handlers find on the application: typed keys, one a thing. ``app.py`` alone sets them."""

from __future__ import annotations

from aiohttp import web

from handlers.calls import Calls
from handlers.drain import Drain
from handlers.live_chat import LiveChat
from handlers.relay_socket import RelaySocket
from relay.telemetry import Telemetry

TELEMETRY = web.AppKey("telemetry", Telemetry)
DRAIN = web.AppKey("drain", Drain)
"""Run once, when the process is to leave."""
CALLS = web.AppKey("calls", Calls)
RELAY_SOCKET = web.AppKey("relay_socket", RelaySocket)
"""Knows how many calls are open."""
LIVE_CHAT = web.AppKey("live_chat", LiveChat)
"""Leaves, when the process is to leave."""
