"""A model that answers in time or says that it cannot: deadlines, hedges, a fallback, and replies taken up again.

    nothing yet    no first sign within the deadline -> a second request races the first; the first to speak wins.
                   an error -> the fallback at once where there is one, else once more on a new connection.
    speaking       silence for the stall deadline, or a cut -> a new request goes on from the words that were said;
                   what it repeats of them is left out (``seam.py``).

All further requests of a round go to the fallback where one is set. Their number is bounded; when nothing is left the
last error is raised, which the conversation turns into an apology. Tool calls are handed on with the terminal event
only: of a reply that breaks off before it none was made.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import structlog

from relay.errors import ModelCut, ModelError, ModelQuota, ModelRejected
from relay.genai import Operation, Place
from relay.models.base import Finished, LanguageModel, ModelEvent, ModelRequest, Sign, ToolCall
from relay.models.seam import Seam, WholeWords, going_on
from relay.telemetry import Telemetry

HEDGES = 2  # further requests for being late, before the first word and after each break
BREAKS = 3  # times one reply is taken up again
TRIES = 2  # errors before a word that are met by another request: of one model, and of a fallback once more
THINKING = 5  # times the usual deadline for a model that thinks first

log = structlog.get_logger(__name__)

Reason = Literal["late", "stall", "cut", "error", "rate_limit", "quota", "rejected"]


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds: from a request to its first sign of an answer, and between two pieces of it."""

    first_token: float = 1.2
    stall: float = 2.0


class SteadyModel:
    """A LanguageModel around another one, and perhaps a fallback. Owns both.

    ``thinks``: whether a request's model thinks before it answers, which takes longer; an agent's own deadline goes
    before that. The fallback is asked by the name it was made with, without the wishes meant for another model.
    ``places``: where the two are asked, for the metrics.
    """

    def __init__(
        self,
        model: LanguageModel,
        fallback: LanguageModel | None,
        telemetry: Telemetry,
        *,
        deadlines: Deadlines = Deadlines(),
        thinks: Callable[[ModelRequest], bool] = lambda request: request.reasoning not in ("", "none"),
        places: tuple[Place, Place] = (Place(), Place()),
    ) -> None:
        self._model = model
        self._fallback = fallback
        self._telemetry = telemetry
        self._deadlines = deadlines
        self._thinks = thinks
        self._places = places
        self._fallback_problem = ""

    def stream(self, request: ModelRequest) -> SteadyStream:
        first, stall = request.first_token_deadline, request.stall_deadline
        if first is None:
            first = self._deadlines.first_token * (THINKING if self._thinks(request) else 1)
        deadlines = Deadlines(first, self._deadlines.stall if stall is None else stall)
        return SteadyStream(self._model, self._fallback, request, deadlines, self._telemetry, self._places)

    async def warm(self) -> str:
        """What is wrong with the first model; a fallback that is not there is only told to the operator."""
        if self._fallback is None:
            return await self._model.warm()
        problem, spare = await asyncio.gather(self._model.warm(), self._fallback.warm())
        if spare and spare != self._fallback_problem:
            log.warning("the fallback model is not ready", problem=spare)
        self._fallback_problem = spare
        return problem

    async def close(self) -> None:
        await self._model.close()
        if self._fallback is not None:
            await self._fallback.close()


@dataclass(slots=True, eq=False)
class _Attempt:
    """One request. ``spare``: of the fallback. ``hedge``: made because another was late."""

    spare: bool
    hedge: bool
    seam: Seam
    operation: Operation
    chunks: int = 0  # pieces that came
    words: WholeWords = field(default_factory=WholeWords)
    calls: list[ToolCall] = field(default_factory=list)
    complete: bool = False


class SteadyStream:
    """The ModelStream of one round. For one task; enter it once.

    Each request runs in a task of its own, which this object owns: leaving the context, or a cancel, ends them all and
    returns when their connections are closed. Text is handed on in whole words; an empty piece says that the answer has
    begun.
    """

    def __init__(
        self,
        model: LanguageModel,
        fallback: LanguageModel | None,
        request: ModelRequest,
        deadlines: Deadlines,
        telemetry: Telemetry,
        places: tuple[Place, Place],
    ) -> None:
        self._model = model
        self._fallback = fallback
        self._request = request
        self._deadlines = deadlines
        self._telemetry = telemetry
        self._places = places
        self._tasks: set[asyncio.Task[None]] = set()
        self._live: dict[_Attempt, asyncio.Task[None]] = {}
        self._speaker: _Attempt | None = None  # whose answer is handed on
        self._heard_at = 0.0  # when it last gave a sign of life
        self._said = ""  # all that was handed on
        self._unfinished = ""  # the word after it, if the reply broke off there
        self._spaced: bool | None = None  # whether the reply began with white space
        self._hedges = self._errors = 0  # since the last word
        self._breaks = 0
        self._refused: set[bool] = set()  # whether the first model, or the fallback, refused the request itself
        self._out: deque[ModelEvent] = deque()
        self._failure: Exception | None = None
        self._done = False
        self._news: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # -- the stream

    async def __aenter__(self) -> Self:
        self._ask(None)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._disarm()
        self._live.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ModelEvent:
        while not self._out:
            if self._failure is not None:
                raise self._failure
            if self._done:
                raise StopAsyncIteration
            self._news = asyncio.get_running_loop().create_future()
            try:
                await self._news
            finally:
                self._news = None
        return self._out.popleft()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # -- requests

    def _start(self, reason: Reason | None) -> None:
        """Makes a request: the round's own, or, for a reason, a further one."""
        request, model, spare = going_on(self._request, self._said), self._model, False
        if reason is not None:
            if request.on_further is not None:
                request.on_further(reason)
            request = replace(request, fresh=True)
            if self._fallback is not None and True not in self._refused:
                model, spare = self._fallback, True
                request = replace(request, model="", reasoning="", carry=())
                self._telemetry.fallbacks.labels(reason).inc()
        # White space at the beginning tells nothing of a model that always begins with it.
        seam = Seam(self._said, "" if self._spaced else self._unfinished)
        loop = asyncio.get_running_loop()
        attempt = _Attempt(spare, self._hedges > 0, seam, Operation(loop.time()))
        task = loop.create_task(self._run(attempt, model, request), name="model request")
        self._live[attempt] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, attempt: _Attempt, model: LanguageModel, request: ModelRequest) -> None:
        try:
            async with model.stream(request) as stream:
                async for event in stream:
                    self._take(attempt, event)
            if not self._done:
                raise ModelCut("ended without a terminal event", received=True)
        except ModelError as error:
            attempt.operation.problem = error.code
            self._failed(attempt, error)
        except Exception as error:  # a bug, for whoever reads the stream
            attempt.operation.problem = "bug"
            if attempt in self._live:
                self._give_up(error)
        finally:
            now = asyncio.get_running_loop().time()
            place = self._places[attempt.spare]
            self._telemetry.operations.observe(place, request.model, attempt.operation, now)

    def _drop(self, attempt: _Attempt) -> None:
        if (task := self._live.pop(attempt, None)) is not None:
            task.cancel()

    def _take(self, attempt: _Attempt, event: ModelEvent) -> None:
        if attempt not in self._live:
            return
        if attempt is not self._speaker:
            if event is Sign.THINKING:
                return
            self._speaks(attempt)
        if isinstance(event, Finished):
            self._finish(attempt, event)
            return
        attempt.chunks += 1
        if type(event) is not str or not event.isspace():  # which nobody hears
            self._heard_at = asyncio.get_running_loop().time()
        if type(event) is str:
            self._say(attempt, attempt.words.feed(event))
        elif isinstance(event, ToolCall):
            attempt.calls.append(event)
        elif event is Sign.COMPLETE:
            attempt.complete = True

    def _speaks(self, attempt: _Attempt) -> None:
        """The first to answer: the others are not needed any more."""
        for other in [each for each in self._live if each is not attempt]:
            self._drop(other)
        if self._hedges:
            self._telemetry.hedges.labels("second" if attempt.hedge else "first").inc()
        if not self._said:
            self._out.append("")
            self._tell()
        self._speaker = attempt
        self._heard_at = attempt.operation.first = asyncio.get_running_loop().time()
        self._arm(self._deadlines.stall, self._watch)

    def _say(self, attempt: _Attempt, words: str, *, last: bool = False) -> None:
        text = attempt.seam.feed(words) if words else ""
        if last:
            text += attempt.seam.finish()
        if text:
            self._said += text
            self._hedges = self._errors = 0
            self._out.append(text)
            self._tell()

    def _finish(self, attempt: _Attempt, end: Finished) -> None:
        self._say(attempt, attempt.words.rest(), last=True)
        now = asyncio.get_running_loop().time()
        attempt.operation.finished(now, self._heard_at, attempt.chunks, end.usage)
        self._telemetry.spent(end.usage)
        if attempt.spare:
            end = replace(end, carry=())  # means nothing to the first model
        self._out += [*attempt.calls, end]
        self._done = True
        self._disarm()
        self._tell()

    # -- what goes wrong

    def _late(self) -> None:
        """Nobody has spoken by the deadline: another request joins in."""
        if self._hedges < HEDGES and self._may_ask():
            self._hedges += 1
            log.info("model late", waiting=len(self._live))
            self._ask("late")

    def _watch(self) -> None:
        """Looks whether the speaker has fallen silent."""
        attempt = self._speaker
        if attempt is None:
            return
        left = self._heard_at + self._deadlines.stall - asyncio.get_running_loop().time()
        if left > 0:
            self._arm(left, self._watch)
        else:
            self._broken(attempt, ModelCut("the model fell silent", received=True, fields={"reason": "stall"}))

    def _failed(self, attempt: _Attempt, error: ModelError) -> None:
        if self._done:
            return
        if attempt is self._speaker:
            self._broken(attempt, error)
        elif self._live.pop(attempt, None) is not None:
            self._refuse(attempt, error)
            self._again(error)

    def _broken(self, attempt: _Attempt, error: ModelError) -> None:
        """The reply has broken off: it is taken up again from what was said of it."""
        self._speaker = None
        self._drop(attempt)
        if attempt.complete:
            self._finish(attempt, Finished("tools" if attempt.calls else "stop"))
            return
        words, unfinished = attempt.words.broken_off()
        self._say(attempt, words)
        if self._spaced is None:
            self._spaced = attempt.seam.spaced
        if attempt.seam.passed or not self._said:
            self._unfinished = unfinished
        self._breaks += 1
        self._telemetry.stalls.inc()
        log.warning("reply broke off", code=error.code, said=len(self._said), **error.fields)
        self._refuse(attempt, error)
        if self._breaks > BREAKS or not self._may_ask():
            self._give_up(error)
        else:
            self._ask("stall" if error.fields.get("reason") == "stall" else "cut")

    def _again(self, error: ModelError) -> None:
        """A request failed before a word: another at once, while there is one to be had."""
        self._errors += 1
        if self._errors < TRIES + (self._fallback is not None) and self._may_ask():
            log.info("model failed, asked again", code=error.code, **error.fields)
            self._ask(_reason(error))
        elif not self._live:
            self._give_up(error)

    def _ask(self, reason: Reason | None) -> None:
        self._start(reason)
        self._arm(self._deadlines.first_token, self._late)

    def _refuse(self, attempt: _Attempt, error: ModelError) -> None:
        """A request that was refused is refused again by the same model."""
        if isinstance(error, ModelRejected):
            self._refused.add(attempt.spare)

    def _may_ask(self) -> bool:
        return False not in self._refused or (self._fallback is not None and True not in self._refused)

    def _give_up(self, error: Exception) -> None:
        self._failure = error
        self._disarm()
        if self._hedges and self._speaker is None:
            self._telemetry.hedges.labels("none").inc()
        self._tell()

    # -- the clock

    def _arm(self, delay: float, due: Callable[[], None]) -> None:
        self._disarm()
        self._timer = asyncio.get_running_loop().call_later(delay, due)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _reason(error: ModelError) -> Reason:
    if isinstance(error, ModelQuota):
        return "quota"
    if isinstance(error, ModelRejected):
        return "rejected"
    return "rate_limit" if error.fields.get("status") == 429 else "error"
