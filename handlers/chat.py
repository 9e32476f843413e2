"""The live web chat, put together from the settings: its routes, its conversations, and what they leave by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from aiohttp import web

from config.settings import Settings
from handlers.addresses import client_address
from handlers.chat_history import HISTORY, ChatHistory
from handlers.chat_origins import Origins
from handlers.chat_rules import USUAL_LIMITS, ChatLimits, MessageRates
from handlers.chat_socket import ChatParts
from handlers.chat_tickets import TICKET, ChatTicketRoute
from handlers.live_chat import LiveChat
from handlers.signatures import PublicAddress
from handlers.stores import Stores
from handlers.texts import Texts
from relay.cast import Cast
from relay.errors import StoreError
from relay.live.answering import Answering
from relay.live.chats import LiveChats
from relay.live.conversation import LiveConversation
from relay.store.commands import CarryOut
from relay.store.subscription import Subscription
from relay.telemetry import Telemetry
from relay.visitors import Visitors

CHANNEL = "chat"
STOP = "chat_stop"
"""What another process is asked to do."""

GUIDELINES = """\
- You may use simple Markdown: emphasis, lists, links and code.
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Chat:
    """``sockets``: those that are open. ``chats``: what is answered. To be started, and closed when the port is."""

    origins: Origins
    tickets: ChatTicketRoute
    history: ChatHistory
    sockets: LiveChat
    chats: LiveChats
    stores: Stores

    def add_routes(self, app: web.Application) -> None:
        self.origins.add_route(app, "POST", TICKET, self.tickets.issue, "Content-Type", "Authorization")
        self.origins.add_route(app, "GET", HISTORY, self.history.show, "Authorization")
        self.sockets.add_routes(app)

    def start(self, subscription: Subscription) -> None:
        """Before the subscription is."""
        self.stores.chat_log.listen(subscription)
        self.stores.presence.listen(subscription)
        self.stores.chat_log.start()

    async def close(self, timeout: float) -> None:
        """Ends what is still answered, and writes what is to be kept of it, each within ``timeout`` seconds."""
        await self.chats.close(timeout)
        await self.stores.chat_log.close(timeout)

    def carry_out(self, otherwise: CarryOut, conversation: str, action: str, fields: Mapping[str, Any]) -> str | None:
        """What another process asks for (``relay.store.commands.CarryOut``)."""
        if action == STOP:
            return "" if self.chats.stop(conversation, str(fields.get("turn") or "")) else None
        return otherwise(conversation, action, fields)


Ask = Callable[[str, str, str, Mapping[str, Any]], Awaitable[object]]
"""``relay.store.commands.Commands.ask``."""


def make_chat(
    settings: Settings,
    texts: Texts,
    stores: Stores,
    telemetry: Telemetry,
    keys: Sequence[bytes],
    address: PublicAddress | None,
    *,
    ask: Ask,
    fresh: Callable[[], Awaitable[object]],
    draining: Callable[[], bool],
    limits: ChatLimits = USUAL_LIMITS,
) -> Chat:
    """``keys``: of tickets; names of visitors are signed with one made from them. ``ask``: has another process do
    something. ``fresh``: awaited before an agent is looked up. ``draining``: whether the process is leaving."""
    origins = Origins(
        address, settings.chat_origins, settings.api_token.get_secret_value() if settings.api_token else ""
    )

    def cast(agent: str, person: str) -> tuple[str, Cast]:
        name = agent if agent in texts.agents else settings.chat_agent
        return name, texts.cast(name, person, GUIDELINES)

    async def stop_elsewhere(conversation: LiveConversation, turn: str) -> None:
        try:
            running = await conversation.running()
            if running is not None and running.worker != texts.worker and turn in ("", running.turn):
                await ask(running.worker, conversation.name, STOP, {"turn": running.turn})
        except StoreError as error:
            log.warning("chat not stopped", conversation=conversation.name, code=error.code)

    stored = texts.chats(CHANNEL)
    chats = LiveChats(
        Answering(stored, texts.parts, cast),
        stores.chat_log,
        stores.chat_running,
        worker=texts.worker,
        most=2 * settings.chat_max_sockets,
    )
    parts = ChatParts(
        chats,
        stores.chat_tickets,
        stores.presence,
        stores.chat_current,
        MessageRates(limits.per_minute, settings.rate_per_minute, telemetry.refused.labels("rate")),
        stop_elsewhere,
        limits,
    )
    sockets = LiveChat(
        origins,
        parts,
        telemetry,
        texts.agents,
        settings.chat_agent,
        most=settings.chat_max_sockets,
        most_of_one=settings.chat_max_sockets_per_address,
        client=partial(client_address, hops=settings.trusted_hops),
        fresh=fresh,
        draining=draining,
        development=address is None,
    )
    tickets = ChatTicketRoute(origins, Visitors(keys), stores.chat_tickets)
    history = ChatHistory(
        stores.chat_tickets,
        stores.chat_current.peek,
        stored,
        stores.chat_log,
        agent=settings.chat_agent,
        admits_page=origins.admits_page,
    )
    return Chat(origins, tickets, history, sockets, chats, stores)


__all__ = ["Chat", "make_chat"]
