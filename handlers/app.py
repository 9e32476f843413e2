"""The composition root: the only module that chooses and wires concrete parts."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable, Sized
from dataclasses import fields
from functools import partial
from hashlib import sha256
from importlib.metadata import version

import structlog
from aiohttp import ClientSession, DummyCookieJar, web
from redis.asyncio import Redis

from channels.reports import HttpReports
from channels.twilio import twiml
from channels.twilio.tickets import Tickets, ticket_keys
from config.settings import Settings
from handlers.addresses import client_address
from handlers.admission import Admission
from handlers.agents import AgentWatch, open_catalogue
from handlers.bearer import Bearer
from handlers.call_memory import CallMemory
from handlers.callbacks import Outcome
from handlers.calls import Calls, untraced
from handlers.chat import make_chat
from handlers.chat_pages import ChatPages
from handlers.connecting import Connector
from handlers.dashboard_access import Access
from handlers.dashboard_login import Login
from handlers.dashboard_pages import Pages
from handlers.debate import make_debate
from handlers.debate_turn import Debater
from handlers.dialling import Dialler, line_of, missing_for_calls
from handlers.drain import Drain
from handlers.fallback import Fallback
from handlers.guard import TwilioGate
from handlers.handover import Handover, destination_of
from handlers.hardening import harden
from handlers.health import AWAY, Check, Health, Metrics
from handlers.keys import CALLS, DRAIN, LIVE_CHAT, RELAY_SOCKET, TELEMETRY
from handlers.limits import make_intake, make_rate_limit
from handlers.messaging import make_messaging, make_rest
from handlers.modelling import Endpoint, make_engines, make_model, model_names
from handlers.monitoring import is_watched, make_monitoring, people_key
from handlers.operating import OperatorRoutes, carry_out, first_of
from handlers.outbound import OutboundRoute
from handlers.progress import CallProgress
from handlers.relay_socket import RelaySocket
from handlers.routes import Handlers, add_routes, reports_state
from handlers.signatures import PublicAddress, TwilioSignatures
from handlers.stores import AFTER_CALLS, open_stores, open_traces
from handlers.summary import Summary
from handlers.texts import make_texts
from handlers.toolkit import can_transfer, make_tools
from handlers.tours import tours_kept
from handlers.twilio_status import TwilioStatus
from handlers.voice import VoiceWebhooks
from handlers.warmth import Warmth
from handlers.watching import Watching
from relay.aftercall import AfterCalls
from relay.closing import USUAL_PACE, Closing, Pace
from relay.conversations import Conversations
from relay.jobs import Jobs
from relay.prices import make_prices
from relay.rules import CallLimits
from relay.spans import NoSpans, Spans
from relay.store.callstatus import CallStatus
from relay.store.checking import StoreCheck
from relay.store.client import connect
from relay.store.commands import Commands
from relay.store.debates import Debates
from relay.store.due import Due
from relay.store.effects import Effects
from relay.store.events import Events
from relay.store.metrics import Figures
from relay.store.outbound import OutboundCalls
from relay.store.overview import Overview
from relay.store.subscription import Subscription
from relay.store.tickets import Tickets as TicketRecord
from relay.store.worker import worker_id
from relay.telemetry import Telemetry
from relay.textparts import TextParts, TextRules
from tools.registry import ToolRegistry

EFFECTS_LABEL = b"relay: effects key 1"
FLUSH_DEADLINE = 5.0
AFTER_CALL_DEADLINE = 5.0
TRACE_DEADLINE = 1.0
WARM_PATIENCE = 0.5  # seconds the port waits for the model's connections; they are opened all the same

log = structlog.get_logger(__name__)


async def build_app(
    settings: Settings,
    *,
    redis_url: str,
    endpoint: Endpoint,
    extra_tools: Callable[[ToolRegistry], None] | None = None,
    after_call: Pace = USUAL_PACE,
    spans: Spans | None = None,
) -> web.Application:
    """The application, ready to be run: agents read and checked, the model's connections warm.

    ``extra_tools`` adds to the registry what agents may name besides the tools of this program. ``after_call``: when
    what follows a call is done. ``spans``: what calls are told to; whoever gives it closes it.
    Raises ConfigError with everything that is wrong in the agents. Redis and the model may be away.
    """
    prices = make_prices(settings.price_input, settings.price_cached, settings.price_output)
    telemetry, jobs = Telemetry(version("relay"), prices), Jobs()
    redis = connect(redis_url)
    tokens = [token.get_secret_value() for token in settings.twilio_auth_token]
    keys = ticket_keys(tokens, settings.data_dir)
    openai = make_model(settings, endpoint, telemetry)
    model = make_engines(settings, openai, telemetry, keys[0], lambda: {agent.engine for agent in agents.values()})
    warmth = Warmth(model)
    app = web.Application(client_max_size=64 * 1024, middlewares=make_rate_limit(settings, telemetry))
    app[TELEMETRY] = telemetry
    drain = app[DRAIN] = Drain(settings.drain_seconds)

    worker = worker_id()
    stores = open_stores(settings, redis, worker=worker, chat_frames_lost=telemetry.chat_log_dropped.inc)
    rest = make_rest(settings)
    messaging = make_messaging(settings, stores.messages, rest)
    intake = make_intake(settings, stores, telemetry)
    tools = make_tools(settings, stores, messaging.texting, lambda: agents, telemetry)
    if extra_tools is not None:
        extra_tools(tools)
    agents = open_catalogue(settings, tools)
    watch_agents = AgentWatch(agents)
    address = PublicAddress.parse(settings.public_url) if settings.public_url else None
    gate = TwilioGate(
        address,
        TwilioSignatures(tokens) if tokens else None,
    )
    tickets = Tickets(keys, settings.ticket_seconds, TicketRecord(redis))
    conversations = Conversations(stores.history)
    reporting = ClientSession(cookie_jar=DummyCookieJar()) if reports_state(settings) == "on" else None
    closing = Closing(
        stores.archive,
        stores.people,
        # A rehearsed model has its lines for callers; of a call it can say nothing.
        model=model if settings.memory == "on" and not endpoint.rehearsal else None,
        model_name=lambda name: agents[name].model if name in agents else "",
        reports=make_reports(settings, reporting) if reporting is not None else None,
        forget=stores.forgetting.forget,
        budget=intake.budget,
        pace=after_call,
    )
    due = Due(redis, AFTER_CALLS, after_call.lease)
    after_calls = AfterCalls(due, stores.archive, stores.people, closing, pace=after_call)
    access = Access(
        settings.dashboard_token.get_secret_value() if settings.dashboard_token else "",
        address,
        client=lambda request: client_address(request, settings.trusted_hops),
    )
    watched, hashing = is_watched(settings), people_key(settings, keys)
    events, figures = Events(worker), Figures(redis, telemetry, worker)
    events.subscribe(figures.told)
    traces = open_traces(settings, redis, events, hashing, telemetry.trace_dropped.inc)

    def left(call_sid: str) -> None:
        """A session of the call is over."""
        drain.expect(call_sid)
        after_calls.left(call_sid)

    def expect(call_sid: str) -> None:
        """Its next session is on its way."""
        drain.expect(call_sid)
        intake.room.expect(call_sid)

    def ended(call_sid: str, outcome: Outcome) -> None:
        """Twilio has told the end of a session, or of the call."""
        if outcome not in ("resume", "returned"):
            drain.settle(call_sid)
        after_calls.ended(call_sid, outcome)

    model_name = model_names(settings, endpoint)
    trail = traces.of if watched else untraced
    effects = Effects(redis, settings.call_history_hours * 3600, key=hmac.digest(keys[0], EFFECTS_LABEL, sha256))
    calls = app[CALLS] = Calls(
        agents,
        settings.default_agent,
        model,
        model_name,
        tools,
        conversations,
        effects,
        stores.people,
        jobs,
        telemetry,
        CallLimits(**{each.name: getattr(settings, each.name) for each in fields(CallLimits)}),
        intake,
        foreseen=warmth.expect,
        begun=after_calls.begun,
        left=left,
        fresh=watch_agents.fresh,
        can_transfer=can_transfer(settings),
        trail=trail,
        worker=worker,
        spans=spans,
    )
    texts = make_texts(
        settings,
        TextParts(
            model,
            tools,
            effects,
            jobs,
            telemetry,
            intake.budget,
            TextRules(**{each.name: getattr(settings, each.name) for each in fields(TextRules)}),
            trail,
            spans or NoSpans(),
        ),
        stores,
        agents,
        model_name,
        worker=worker,
    )
    statuses = CallStatus(redis, settings.call_history_hours * 3600)
    memory = CallMemory(statuses, here=conversations.noted)
    connector = Connector(gate, agents, settings.default_agent, tickets, pause=drain.pause, expect=expect)
    handover = Handover(gate, connector, memory, destination_of(settings), people=stores.people, ended=ended)
    voice = VoiceWebhooks(
        gate,
        connector,
        handover,
        memory,
        people=stores.people,
        intake=intake,
        resume_limit=settings.resume_limit,
        ended=ended,
        draining=lambda: drain.begun,
        fresh=watch_agents.fresh,
    )
    api_token = settings.api_token.get_secret_value() if settings.api_token else ""
    dialler = Dialler(
        line_of(settings),
        rest,
        OutboundCalls(redis, settings.outbound_per_minute),
        agents,
        missing=missing_for_calls(settings),
        # Only who has the token gives keys; it does not change when an auth token of Twilio's is replaced.
        secret=api_token.encode(),
        intake=intake,
    )
    socket = RelaySocket(
        gate,
        Admission(tickets, conversations),
        telemetry,
        calls.serve,
        account_sid=settings.twilio_account_sid or "",
        setup_deadline=settings.setup_deadline,
        upgrading=warmth.ask,
        leaving=lambda: drain.handing_on,
    )
    app[RELAY_SOCKET] = socket
    monitoring = make_monitoring(settings, stores, access, agents, tools, hashing)
    pages = Pages(access, monitoring.there_is)
    subscription = Subscription(redis)
    watching = Watching(access, events, subscription)
    chat = make_chat(
        settings,
        texts,
        stores,
        telemetry,
        keys,
        address,
        ask=lambda *order: commands.ask(*order),
        fresh=watch_agents.fresh,
        draining=lambda: drain.begun,
    )
    app[LIVE_CHAT] = chat.sockets
    operate = first_of(calls.operate, chat.chats.operate)
    carry = partial(chat.carry_out, partial(carry_out, operate))
    commands = Commands(redis, worker, subscription, carry, socket_of=stores.presence.holder)
    token = settings.metrics_token.get_secret_value() if settings.metrics_token else ""
    sorry = connector.words(connector.named(), "trouble", "")

    def unanswered(call_sid: str, outcome: Outcome) -> None:
        """The call is over, and had perhaps no session."""
        intake.room.forget(call_sid)
        ended(call_sid, outcome)

    add_routes(
        app,
        Handlers(
            voice=voice,
            fallback=Fallback(gate, twiml.say_and_hangup(sorry.text, language=sorry.language)),
            handover=handover,
            progress=CallProgress(gate, connector, statuses, memory, calls=rest, ended=unanswered),
            outbound=OutboundRoute(
                Bearer(api_token),
                dialler,
                settings.default_agent,
                draining=lambda: drain.begun,
                fresh=watch_agents.fresh,
            ),
            relay=socket,
            status=TwilioStatus(gate, stores.messages),
            health=Health(version("relay"), _checks(redis, warmth, endpoint), draining=lambda: drain.begun),
            metrics=Metrics(telemetry, token, public=settings.public_url is not None),
            login=Login(access, pages, shows_words=bool(settings.dashboard_show_words)),
            pages=pages,
            monitoring=monitoring,
            summary=Summary(access, Overview(redis, priced=prices is not None).summary),
            watching=watching,
            operator=OperatorRoutes(access, worker, operate, commands),
            access=access,
        ),
        twilio_closed=gate.is_closed,
        outbound_closed=not api_token,
    )
    ChatPages(agents, settings.chat_agent, fresh=watch_agents.fresh).add_routes(app)

    debates = Debates(redis)
    debater = Debater(
        texts,
        debates,
        deadline=settings.debate_deadline,
        history=settings.debate_history,
        fresh=watch_agents.fresh,
    )
    make_debate(settings, debater, debates, stores.monitor, lambda: drain.begun).add_routes(app)
    chat.add_routes(app)

    memories: dict[str, Sized] = {
        "conversations": conversations,
        "jobs": jobs,
        "calls_ended": after_calls,
        "answers": voice,
        "tickets": tickets,
        "text_turns": texts.leases,
        "chats": chat.chats,
    }
    for what, entries in memories.items():
        telemetry.remembers(what, entries)

    async def lifetime(_: web.Application) -> AsyncIterator[None]:
        watch = asyncio.create_task(telemetry.watch_loop(), name="watch loop")
        after_calls.start()
        intake.budget.start()
        traces.start()
        chat.start(subscription)
        subscription.start()
        if watched:
            figures.start()
        async with tours_kept(stores.tours, stores.house, agents.values()):
            yield
        watch.cancel()
        await asyncio.wait([watch])
        await chat.close(FLUSH_DEADLINE)
        await subscription.close()
        await commands.close()
        await watch_agents.close()
        await asyncio.gather(jobs.drain(settings.tool_deadline), dialler.close())
        await messaging.close()
        if lost := await conversations.close(FLUSH_DEADLINE):
            log.error("conversations not written", count=lost)
        await after_calls.close(AFTER_CALL_DEADLINE)
        await intake.budget.close(FLUSH_DEADLINE)
        await traces.close(TRACE_DEADLINE)
        await figures.close(FLUSH_DEADLINE)
        if reporting is not None:
            await reporting.close()
        await warmth.close()
        await model.close()
        if rest is not None:
            await rest.close()
        await redis.aclose()

    async def shutdown(_: web.Application) -> None:
        watching.close()
        chat.sockets.close()
        await debater.finish(min(settings.debate_deadline, settings.drain_seconds))

    app.cleanup_ctx.append(lifetime)
    app.on_shutdown.append(shutdown)
    harden(app, public=settings.public_url is not None)
    await asyncio.wait([warmth.ask()], timeout=WARM_PATIENCE)
    return app


def make_reports(settings: Settings, http: ClientSession) -> HttpReports:
    assert settings.report_url is not None and settings.report_secret is not None
    return HttpReports(http, settings.report_url, settings.report_secret.get_secret_value())


def _checks(redis: Redis, warmth: Warmth, endpoint: Endpoint) -> dict[str, Check]:
    async def model() -> str:
        return AWAY if not warmth.answers() else "rehearsal" if endpoint.rehearsal else "ok"

    return {"redis": StoreCheck(redis), "model": model}
