"""What handlers find on the application: typed keys, one a thing. ``app.py`` alone sets them."""

from __future__ import annotations

import asyncio

from aiohttp import web

from handlers.relay_socket import RelaySocket
from relay.telemetry import Telemetry

TELEMETRY = web.AppKey("telemetry", Telemetry)
DRAINING = web.AppKey("draining", asyncio.Event)
"""Set once the process has begun to leave: no new calls, readiness answers 503."""
RELAY_SOCKET = web.AppKey("relay_socket", RelaySocket)
"""Knows how many calls are open."""
