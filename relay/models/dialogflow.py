"""Dialogflow as a language model: ES, or CX with its partial responses as they come.

Dialogflow keeps the conversation: one session of its a conversation of ours, and a request is what the person said
last. So nothing is asked twice where it may have been taken (no second request races a late one, and a reply that
breaks off is not taken up again), never two requests of a session at once, and nothing ahead of its turn.

Its instructions and tools are its own: those of a request are not sent, and nobody tells it what became of a tool. What
it wants of us it says by signals: a person is to take over, or the conversation is over. Both become calls of our
tools, behind the answer's words.
"""

from __future__ import annotations

import asyncio
import hmac
import random
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from hashlib import sha256

import orjson
import structlog

from relay.errors import ModelError, ModelRejected, ModelUnavailable
from relay.genai import Operation
from relay.items import ToolItem, UserItem
from relay.manner import MULTI
from relay.models.base import Finished, ModelEvent, ModelRequest, ModelStream, ToolCall
from relay.models.dialogflow_answer import Reply, unsaid
from relay.models.dialogflow_client import Bot, DialogflowClient
from relay.models.dialogflow_input import OWN_CALL, Input, unanswered, unheard
from relay.models.turnstile import Turnstile
from relay.telemetry import Telemetry

END, HANDOFF = "end_call", "transfer_to_human"
"""Tools that Dialogflow may use, whatever the agent names."""

PHONE = "voice"  # the channel on which answers are spoken
MOST_CHARACTERS = 256  # of a text; ES refuses longer ones, and CX may
TRIES = 3
AGAIN = {"UNAVAILABLE": 0.1, "RESOURCE_EXHAUSTED": 1.0}
"""Statuses with which a request is made again, by Google's own clients too, and seconds to wait before that."""

log = structlog.get_logger(__name__)


class DialogflowModel:
    """A LanguageModel. ``key``: the names of sessions are made with it, the same in every process. ``deadline``:
    seconds for a request, with all that is waited for."""

    def __init__(self, bot: Bot, key: bytes, telemetry: Telemetry, *, deadline: float) -> None:
        self._bot = bot
        self._key = key
        self._telemetry = telemetry
        self._deadline = deadline
        self._client = DialogflowClient(bot)
        self._sessions = Turnstile()
        self._short = not bot.agent  # whether texts are known to be limited

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelStream]:
        async with aclosing(self._events(request)) as events:
            yield events

    async def warm(self) -> str:
        return await self._client.reach()

    async def close(self) -> None:
        await self._client.close()

    async def _events(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        asked = unanswered(request.items)
        if asked is None:
            if rest := unheard(request.items):
                yield rest
            # Nobody needs to hear of a tool's result; a note without words of the caller's is for an apology.
            last = request.items[-1] if request.items else None
            yield Finished("nothing" if isinstance(last, ToolItem) else "stop")
            return
        if not request.conversation:
            raise ModelRejected("a conversation without a name", fields={"reason": "no conversation"})
        session = session_name(self._key, request.channel, request.conversation)
        now = asyncio.get_running_loop().time
        operation, until, pieces = Operation(now()), now() + self._deadline, 0
        try:
            async with (
                self._sessions.through(session, self._deadline),
                aclosing(self._answer(request, session, asked, until)) as answer,
            ):
                async for event in answer:
                    if type(event) is str:
                        operation.last, pieces = now(), pieces + 1
                        operation.first = operation.first or operation.last
                    elif isinstance(event, Finished):
                        operation.finished(now(), operation.last, pieces, event.usage)
                    yield event
        except TimeoutError:
            operation.problem = ModelUnavailable.code
            raise ModelUnavailable("the session is busy", fields={"reason": "busy"}) from None
        except ModelError as error:
            operation.problem = error.code
            raise
        finally:
            self._telemetry.operations.observe(self._bot.place, self._bot.model, operation, now())

    async def _answer(
        self, request: ModelRequest, session: str, asked: Input, until: float
    ) -> AsyncGenerator[ModelEvent, None]:
        """Words as they come, then what Dialogflow wants of us."""
        said: list[str] = []
        signals: dict[str, ToolCall] = {}
        async with aclosing(self._replies(request, session, asked, until)) as replies:
            async for reply in replies:
                if new := unsaid(said, reply.texts):
                    said += new
                    # White space tells that the last word is whole: it is spoken without waiting for what follows.
                    end = "\n\n" if not reply.final else "\n" if request.channel == PHONE else ""
                    yield "\n\n".join(new) + end
                _signal(reply, signals)
                if request.on_found is not None:
                    for name, value in reply.found.items():
                        request.on_found(name, value)
        if call := signals.get(HANDOFF) or signals.get(END):
            yield call
        yield Finished("tools" if signals else "stop")

    async def _replies(
        self, request: ModelRequest, session: str, asked: Input, until: float
    ) -> AsyncGenerator[Reply, None]:
        """The responses to one request, which is made again where Dialogflow does not seem to have taken it."""
        now = asyncio.get_running_loop().time
        sessions = await self._client.open(until - now())
        language, spoken = language_of(request), request.channel == PHONE
        if self._short:
            asked = _cut(asked)
        if request.on_sent is not None:
            request.on_sent()
        tries, received = 0, False
        while True:
            tries += 1
            try:
                answer = sessions.ask(session, asked, language, spoken=spoken, timeout=until - now())
                async with aclosing(answer) as replies:
                    async for reply in replies:
                        received = True
                        yield reply
                return
            except ModelError as error:
                reason = str(error.fields.get("reason"))
                if reason == "INVALID_ARGUMENT" and not received and len(asked.text) > MOST_CHARACTERS:
                    break  # this agent may take no longer texts than those of ES
                wait = AGAIN.get(reason, 0.0) * 2 ** (tries - 1) * random.uniform(0.75, 1.0)
                if received or reason not in AGAIN or tries >= TRIES or now() + wait >= until:
                    raise
                log.info("Dialogflow asked again", code=error.code, **error.fields)
                if request.on_further is not None:
                    request.on_further("rate_limit" if error.fields.get("status") == 429 else "error")
            await asyncio.sleep(wait)
        answer = sessions.ask(session, _cut(asked), language, spoken=spoken, timeout=until - now())
        async with aclosing(answer) as replies:
            async for reply in replies:
                self._short = True
                yield reply


def _cut(asked: Input) -> Input:
    cut = asked.cut(MOST_CHARACTERS)
    if cut is not asked:
        log.info("text cut for Dialogflow", characters=len(asked.text), sent=len(cut.text))
    return cut


def session_name(key: bytes, channel: str, conversation: str) -> str:
    """32 characters (36 are allowed) that tell nothing of the person; the same for a conversation in every process."""
    return hmac.digest(key, f"{channel}\0{conversation}".encode(), sha256).hex()[:32]


def language_of(request: ModelRequest) -> str:
    """The tag Dialogflow is to understand and answer in: the one the conversation is in, else that of the words."""
    tags = [request.language, *(item.lang for item in reversed(request.items) if isinstance(item, UserItem))]
    return next((tag for tag in tags if tag not in ("", MULTI)), "en")


def _signal(reply: Reply, signals: dict[str, ToolCall]) -> None:
    if reply.handoff is not None:
        told = {"reason": reply.handoff.reason, "summary": reply.handoff.summary}
        signals.setdefault(HANDOFF, _call(HANDOFF, told))
    if reply.ends:
        signals.setdefault(END, _call(END, {}))


def _call(name: str, arguments: dict[str, str]) -> ToolCall:
    return ToolCall(f"{OWN_CALL}{secrets.token_hex(12)}", name, orjson.dumps(arguments).decode())
