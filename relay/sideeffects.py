"""Tools with a side effect, carried out by the process: begun once, ended by their own deadline, never by a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
import structlog

from relay.errors import Fenced, StoreError
from relay.jobs import Jobs
from relay.masks import Masks
from relay.models.base import ToolCall
from relay.store.effects import Answered, Effects, InDoubt
from relay.toolbox import ToolBox, ToolContext, ToolOutcome

log = structlog.get_logger()


def _failure(error: str, message: str) -> ToolOutcome:
    return ToolOutcome(orjson.dumps({"error": error, "message": message}).decode(), ok=False)


IN_DOUBT = _failure("unknown_outcome", "This may have been done already. Check before doing it again.")
REFUSED = _failure("busy", "This could not be started just now. Try again in a moment.")
TAKEN_OVER = _failure("not_done", "This was not done: the call goes on elsewhere.")


class SideEffects:
    """The side effects of one session. The record in Redis is for other processes; while it cannot be reached, this
    process's own knowledge (the call's) decides. ``masks``: of what callers key in; none reaches the record."""

    def __init__(
        self,
        tools: ToolBox,
        effects: Effects,
        jobs: Jobs,
        context: ToolContext,
        epoch: int,
        masks: Masks | None = None,
    ) -> None:
        self._tools = tools
        self._effects = effects
        self._jobs = jobs
        self._context = context
        self._epoch = epoch
        self._masks = masks or Masks()
        self._job = f"effect {context.conversation} "  # names of jobs: this and the owner
        self._dirty = True  # something may be on record that the end of a turn closes, of a session before also
        self._owed = False  # an end of a turn that the record does not know yet
        self._order = asyncio.Lock()  # the record learns of results, ends of turns and new wishes in their order

    def start(self, call: ToolCall, key: int, context: ToolContext, done: Callable[[ToolOutcome], None]) -> None:
        """Runs the call in the background and hands its outcome to ``done``, also after the session has ended."""
        owner = f"{self._epoch}:{key}"
        if self._jobs.start(self._carry_out(call, owner, context, done), f"{self._job}{owner}") is None:
            # Not at once: whoever asked is still busy with what it decided.
            asyncio.get_running_loop().call_soon(done, REFUSED)

    def settle(self) -> None:
        """A turn ended undisturbed: what was done before is no answer to the same wish made again."""
        if self._dirty:
            self._owed = True
            self._jobs.start(self._settle(), f"settle {self._context.conversation}")

    async def _settle(self) -> None:
        async with self._order:
            await self._pay()

    async def _pay(self) -> None:
        """Settles what is owed, in order; what Redis did not take stays owed and comes before the next wish."""
        if not self._owed:
            return
        # Not only this session's: what one before it has begun may be running still.
        running = {name.removeprefix(self._job) for name in self._jobs.names() if name.startswith(self._job)}
        self._owed, self._dirty = False, bool(running)
        try:
            await self._effects.settle(self._context.conversation, self._epoch, running)
        except Fenced:
            return
        except StoreError as error:
            self._owed = self._dirty = True
            log.warning("effects not settled", code=error.code)

    async def _carry_out(
        self, call: ToolCall, owner: str, context: ToolContext, done: Callable[[ToolOutcome], None]
    ) -> None:
        canonical = self._tools.canonical(call.name, call.arguments)
        async with self._order:
            await self._pay()
            self._dirty = True
            # A record that has not learnt of the end of a turn cannot tell, and one that did not answer just now is not
            # asked again while the caller waits.
            outcome = None if self._owed else await self._known(call, canonical, owner)
        begun = outcome is None
        if outcome is None:
            outcome = await self._tools.run(call.name, call.arguments, context)
        # The caller is told at once; the record follows.
        done(outcome)
        if begun:
            async with self._order:
                await self._record(call, canonical, owner, outcome)

    async def _known(self, call: ToolCall, canonical: str, owner: str) -> ToolOutcome | None:
        """What the record answers; None where the call is to be carried out."""
        try:
            begun = await self._effects.begin(self._context.conversation, self._epoch, call.name, canonical, owner)
        except Fenced:
            return TAKEN_OVER
        except StoreError as error:
            log.warning("effect begun without a record", tool=call.name, code=error.code)
            return None
        match begun:
            case Answered(output):
                return ToolOutcome(output)
            case InDoubt():
                return IN_DOUBT
            case _:
                return None

    async def _record(self, call: ToolCall, canonical: str, owner: str, outcome: ToolOutcome) -> None:
        """Also where ``begin`` was not answered: it may have been recorded all the same. What nobody is certain of
        stays recorded as running, so that whoever asks next is told to check."""
        conversation = self._context.conversation
        try:
            if outcome.ok:
                output = self._masks.json(outcome.output)
                await self._effects.finish(conversation, self._epoch, call.name, canonical, owner, output)
            elif outcome.certain:
                await self._effects.withdraw(conversation, call.name, canonical, owner)
        except StoreError as error:
            log.warning("result of an effect not recorded", tool=call.name, code=error.code)
