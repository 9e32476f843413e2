"""One turn of a debate: whose turn it is, what is debated, our reply, and the one write at its end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import uuid4

import structlog
from aiohttp import web

from handlers.bearer import problem
from handlers.debate_api import away, no_such_conversation
from handlers.debate_request import Post, is_id
from handlers.texts import Texts
from relay.cast import Cast, Role
from relay.chats import Answered, Done, OpenTurn, said
from relay.debating import MOST_WORDS, Debate, read_debate
from relay.errors import ModelError, StoreError, TooManyTurns, TurnTimeout, UnknownConversation
from relay.items import AssistantItem, Item, ToolItem, UserItem
from relay.store.debates import Debates
from relay.store.person import person_id
from relay.textparts import EMPTY, LATE, Answer, Asked
from relay.textturn import TextTurn
from relay.trace import Round
from relay.turn import tokens_spent
from relay.word_limit import WordLimit

CHANNEL = AGENT = "debate"

GUESSED = 16
"""Characters of a key below which others may have the same one."""

GUIDELINES = "- Plain text only: no Markdown, no lists, no headings.\n"

log = structlog.get_logger(__name__)


class Debater:
    """``deadline``: seconds from a request to its answer. ``history``: messages of an answer, the latest. ``fresh``:
    awaited before the agent is looked up."""

    def __init__(
        self,
        texts: Texts,
        debates: Debates,
        *,
        deadline: float,
        history: int,
        fresh: Callable[[], Awaitable[object]],
    ) -> None:
        self.chats = texts.chats(CHANNEL)
        self._texts = texts
        self._parts = texts.parts
        self._debates = debates
        self._deadline = deadline
        self._history = history
        self._fresh = fresh
        self._turns = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def finish(self, seconds: float) -> None:
        """Waits for the turns in hand, so long at most; no new ones come."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("debates cut off", turns=self._turns)

    async def reply(self, post: Post, stranger: str, on_text: Callable[[str], None]) -> dict[str, Any]:
        """The answer. ``stranger``: whose short keys are their own. ``on_text``: told the pieces of our reply.

        Raises 404, 409, 429, 502, 503, 504; then, as after a cancel, nothing was stored, but for a 503, which
        cannot tell: a retry with its key does."""
        self._turns += 1
        self._idle.clear()
        try:
            return await self._in_time(post, stranger, on_text)
        except UnknownConversation:
            raise no_such_conversation() from None
        except TooManyTurns:
            raise crowded() from None
        except (TimeoutError, TurnTimeout):
            raise late() from None
        except StoreError as error:
            log.warning("debate not stored", code=error.code)
            raise away() from None
        finally:
            self._turns -= 1
            if not self._turns:
                self._idle.set()

    async def _in_time(self, post: Post, stranger: str, on_text: Callable[[str], None]) -> dict[str, Any]:
        read = asyncio.get_running_loop().time()
        async with asyncio.timeout(self._deadline) as deadline:
            await self._fresh()
            conversation, create = await self._conversation(post, stranger)
            async with self.chats.turn(conversation, create=create, wait=self._deadline) as turn:
                if before := turn.answered(post.key):
                    return self._again(post, conversation, before, on_text)
                done = await self._turn(turn, post, read, on_text)
                deadline.reschedule(None)  # the answer is there; Redis has deadlines of its own
                await turn.put(done)
                return self._answer(conversation, [*turn.items, *done.items])

    async def _conversation(self, post: Post, stranger: str) -> tuple[str, bool]:
        """Its id, and whether it may be a new one. Raises 409 for a key that was used for another request."""
        conversation = str(uuid4()) if post.conversation is None else post.conversation
        if not is_id(conversation):
            raise no_such_conversation()
        if post.key:
            # A key that can be guessed is known from the same address only.
            key = f"{stranger if len(post.key) < GUESSED else ''}\n{post.key}"
            fingerprint = post.fingerprint()
            claimed = await self._debates.claim(key, conversation, fingerprint)
            if claimed.fingerprint != fingerprint:
                raise reused()
            conversation = claimed.conversation
        return conversation, post.conversation is None

    def _again(self, post: Post, conversation: str, before: Answered, on_text: Callable[[str], None]) -> dict[str, Any]:
        """The answer to a request that was answered before."""
        own = said(before.items)
        if ("user", post.message) not in own:
            raise reused()
        for side, text in own:
            if side == "assistant":
                on_text(text)
        return self._answer(conversation, before.upto)

    def _answer(self, conversation: str, items: Sequence[Item]) -> dict[str, Any]:
        return {"conversation_id": conversation, "message": messages(items)[-self._history :]}

    async def _turn(self, turn: OpenTurn, post: Post, read: float, on_text: Callable[[str], None]) -> Done:
        person = person_id(CHANNEL, "", turn.conversation)
        self._afford(person)
        debate = Debate.kept(turn.state).given(post.topic, post.stance)
        if debate is None:
            raise problem(409, "settled", "Topic and stance of this debate are settled: they cannot be changed.")
        try:
            cast = self._texts.cast(AGENT, person, GUIDELINES)
        except KeyError:
            raise problem(503, "no_agent", f"There is no agent {AGENT!r} in AGENTS_DIR.") from None
        items = [*turn.items, UserItem(post.message)]
        before: tuple[Round, ...] = ()
        role = cast.role(AGENT)
        assert role is not None
        if not (debate.settled or role.request.keeps_state):  # such an engine would take what it is asked for said
            debate, reading = await self._read(role, items, debate, person)
            before = (reading,)
            self._afford(person)
        limit = WordLimit(MOST_WORDS)
        asked = Asked(turn.conversation, CHANNEL, turn.number, turn.epoch, AGENT, items, read, person, before=before)

        def heard(text: str) -> None:
            if piece := limit.feed(text):
                on_text(piece)
            if limit.full:
                replying.stop()

        replying = TextTurn(self._parts, asked, _DebateCast(cast, debate), heard)
        answer = await replying.run()
        if answer.outcome == "failed" and not answer.items:
            raise late() if answer.code == LATE else failed(answer.code)
        if rest := limit.end():
            on_text(rest)
        if not limit.text:  # tools were called in the place of words
            raise failed(EMPTY)
        return Done(
            [items[-1], *_tools(answer), AssistantItem(limit.text)],
            agent=answer.agent,
            person=person,
            key=post.key,
            first_text=answer.first_text,
            usage=answer.usage,
            state=debate.state(),
        )

    async def _read(self, role: Role, items: Sequence[Item], known: Debate, person: str) -> tuple[Debate, Round]:
        """What is debated, as the words tell, and the request that has found out."""
        asked = Round(role.request.model, asyncio.get_running_loop().time())
        try:
            debate = await read_debate(self._parts.model, role.request, items, known, asked)
        except ModelError as error:
            log.warning("model failed", code=error.code, received=error.received, **error.fields)
            raise failed(error.code) from None
        if self._parts.budget.limited:
            self._parts.budget.spend(person, tokens_spent(asked.usage, asked.shown, 0))
        return debate, asked

    def _afford(self, person: str) -> None:
        """Raises 429 where a budget is used up."""
        if over := self._parts.budget.over(person):
            self._parts.telemetry.refused.labels(over).inc()
            wait = str(math.ceil(self._parts.budget.until_tomorrow))
            raise problem(429, "budget", "The budget of the day is used up.", {"Retry-After": wait})


class _DebateCast:
    """Satisfies ``relay.cast.Cast``: whoever talks is told what is debated."""

    def __init__(self, cast: Cast, debate: Debate) -> None:
        self._cast = cast
        self._debate = debate
        self.role = cast.role
        self.look_up = cast.look_up

    def instructions(self, agent: str, language: str = "") -> str:
        return self._debate.instructions(self._cast.instructions(agent, language))


def messages(items: Sequence[Item]) -> list[dict[str, str]]:
    """As they are told, the latest last."""
    return [{"role": "user" if side == "user" else "bot", "message": text} for side, text in said(items)]


def late() -> web.HTTPException:
    return problem(504, "deadline", "There was no answer in time. Nothing was stored; the same may be asked again.")


def crowded() -> web.HTTPException:
    told = "Too many messages of this debate wait for their turn. Nothing was stored; the same may be asked again."
    return problem(429, "too_many_turns", told, {"Retry-After": "1"})


def failed(code: str) -> web.HTTPException:
    return problem(502, code, "The model did not answer. Nothing was stored; the same may be asked again.")


def reused() -> web.HTTPException:
    return problem(409, "key_reused", "This Idempotency-Key was used for another request.")


def _tools(answer: Answer) -> list[Item]:
    return [item for item in answer.items if isinstance(item, ToolItem)]


__all__ = ["AGENT", "CHANNEL", "Debater", "messages"]
