"""What a live chat does in a turn: a message answered, an operator's line said, a dead process' turn told of."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from typing import Protocol

import structlog

from relay.cast import Cast
from relay.chats import Answered, Chats, Done, OpenTurn
from relay.errors import Fenced, StoreError, TurnTimeout, UnknownConversation
from relay.items import OPERATOR, AssistantItem, UserItem
from relay.live.line import Wish
from relay.live.problems import FINAL, PROBLEMS
from relay.textparts import Answer, Asked, TextParts
from relay.textturn import TextTurn

WAIT = 60.0  # seconds for the turns before, in other processes

log = structlog.get_logger(__name__)


class Told(Protocol):
    """The conversation, as a turn sees it: ``LiveConversation``, or a socket that speaks the plain contract.

    ``begin``, ``repeat``, ``look`` and ``over`` raise StoreError; the others do not wait. ``failed``: where the turn
    has not begun, its message may be sent again."""

    name: str
    agent: str
    person: str

    @property
    def watched(self) -> bool:
        """Whether anybody is there to be told."""
        ...

    async def begin(self, turn: OpenTurn, wish: Wish) -> None: ...

    async def repeat(self, wish: Wish, answered: Answered) -> None: ...

    async def look(self, turn: OpenTurn) -> None: ...

    async def over(self) -> None: ...

    def delta(self, wish: Wish, text: str) -> None: ...

    def done(
        self, wish: Wish, text: str, *, stopped: bool = False, ended: bool = False, handoff: bool = False
    ) -> None: ...

    def failed(self, wish: Wish, code: str, message: str, retryable: bool) -> None: ...


class Answering:
    """``cast``: who may talk in a conversation that this agent has, with this person; the agent may be gone by now.
    ``wait``: seconds for the turns before."""

    def __init__(
        self, chats: Chats, parts: TextParts, cast: Callable[[str, str], tuple[str, Cast]], *, wait: float = WAIT
    ) -> None:
        self._chats = chats
        self._parts = parts
        self._cast = cast
        self._wait = wait

    async def answer(self, told: Told, wish: Wish) -> None:
        """Does it, and tells of it whatever happens. A cancel leaves the conversation as it was, and the next process
        to find out."""
        code = await self._try(told, wish)
        while code == "busy" and wish.kind == "look" and told.watched:
            code = await self._try(told, wish)
        if code and wish.kind == "message":
            told.failed(wish, code, *PROBLEMS[code])

    async def _try(self, told: Told, wish: Wish) -> str:
        """Why it was not done, "" where it was."""
        code = "error"
        try:
            async with self._chats.turn(told.name, create=True, wait=self._wait) as turn:
                await self._in_turn(told, wish, turn)
            return ""
        except TurnTimeout:
            code = "busy"
        except UnknownConversation:
            code = "forgotten"
        except Fenced:
            code = "lost"
        except StoreError as error:
            log.warning("chat not stored", conversation=told.name, code=error.code)
            code = "store"
        except Exception as error:
            log.error("bug in a chat", error=type(error).__name__, exc_info=error)
        return code

    async def _in_turn(self, told: Told, wish: Wish, turn: OpenTurn) -> None:
        if wish.kind == "look":
            await told.look(turn)
            return
        if (answered := turn.answered(wish.key)) is not None:
            await told.repeat(wish, answered)
            return
        wish.turn = f"t_{secrets.token_urlsafe(9)}"
        await told.begin(turn, wish)
        if wish.kind == "say":
            await self._say(told, wish, turn)
        else:
            await self._reply(told, wish, turn)
        wish.over = True
        try:
            await told.over()
        except StoreError as error:
            log.warning("end of a chat's turn not noted", conversation=told.name, code=error.code)

    async def _reply(self, told: Told, wish: Wish, turn: OpenTurn) -> None:
        person = turn.state.get("person") or told.person
        agent, cast = self._cast(turn.state.get("agent") or told.agent, person)
        said = UserItem(wish.text)
        asked = Asked(
            told.name,
            self._chats.channel,
            turn.number,
            turn.epoch,
            agent,
            [*turn.items, said],
            wish.read,
            person,
            turn.state.get("language", ""),
            reads=wish.language,
        )
        await cast.look_up()
        answering = TextTurn(self._parts, asked, cast, partial(told.delta, wish))
        wish.ending = answering.stop
        if wish.stopped:
            answering.stop()
        try:
            answer = await answering.run()
        finally:
            wish.let_go()
        if answer.outcome == "failed" and not answer.items:
            role = cast.role(answer.agent) or cast.role(agent)
            line = role.manner.line("apology", answer.language or wish.language) if role is not None else ""
            told.failed(wish, answer.code, line, answer.code not in FINAL)
            return
        await turn.put(_done(answer, said, wish, person))
        told.done(
            wish,
            answer.text,
            stopped=answer.outcome == "stopped",
            ended="end" in answer.signals,
            handoff="handoff" in answer.signals,
        )

    async def _say(self, told: Told, wish: Wish, turn: OpenTurn) -> None:
        agent, language = turn.state.get("agent") or told.agent, turn.state.get("language", "")
        item = AssistantItem(wish.text, origin=OPERATOR)
        await turn.put(Done([item], agent=agent, person=told.person, language=language))
        told.done(wish, wish.text)


def _done(answer: Answer, said: UserItem, wish: Wish, person: str) -> Done:
    return Done(
        [said, *answer.items],
        agent=answer.agent,
        person=person,
        language=answer.language,
        key=wish.key,
        turn=wish.turn,
        first_text=answer.first_text,
        usage=answer.usage,
    )


__all__ = ["Answering", "Told"]
