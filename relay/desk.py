"""The tool calls of a call: which wait, which run, which may start; pure.

Tools without a side effect belong to their turn and start at once. A tool with one starts only while its turn is
current, after the reader has had a chance to bring an interrupt (``settled``), and when the caller is quiet; begun, it
runs to its own end whatever happens to the turn. A terminal tool starts last, and only if no sibling failed.

The same call with a side effect, made again in its turn, or after it because the turn was superseded or interrupted, is
answered by the first one; a turn that ends undisturbed closes that account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import orjson

from relay.items import ToolItem, ToolStatus
from relay.models.base import ToolCall
from relay.toolbox import EndCall, ToolOutcome, ToolPolicy, Transfer


def _output(error: str, message: str) -> str:
    return orjson.dumps({"error": error, "message": message}).decode()


STILL_RUNNING = orjson.dumps({"status": "running", "message": "Still running; there is no result yet."}).decode()
INTERRUPTED = _output("interrupted", "This did not happen: the conversation went on before it was done.")
SIBLING_FAILED = ToolOutcome(
    _output("not_done", "This was not done because another tool of the same step failed."), ok=False
)
TOO_MANY_ROUNDS = ToolOutcome(
    _output("too_many_steps", "No more tools can be used now. Answer with what is known."), ok=False
)


def no_such_tool(name: str) -> ToolOutcome:
    """For a name that is none of the agent's tools, or not any more."""
    return ToolOutcome(
        _output("unknown_tool", f"There is no tool named {name[:64]!r}. Use only the tools listed."), ok=False
    )


def not_possible(message: str) -> ToolOutcome:
    """For a tool whose effects cannot be carried out."""
    return ToolOutcome(_output("failed", message), ok=False)


def _echo(outcome: ToolOutcome) -> ToolOutcome:
    """The answer to a repeated call: what the first one has changed of the call is changed already. An end of the call
    it asked for was lost with its turn."""
    if not outcome.effects:
        return outcome
    return replace(outcome, effects=tuple(each for each in outcome.effects if isinstance(each, EndCall | Transfer)))


State = Literal["held", "running", "finished"]


@dataclass(slots=True, eq=False)
class Work:
    """One tool call. ``key`` is its position in the history. ``disturbed``: its turn was interrupted or superseded."""

    key: int
    call: ToolCall
    turn: int
    round: int
    policy: ToolPolicy
    state: State = "held"
    outcome: ToolOutcome | None = None
    disturbed: bool = False
    followers: list[Work] = field(default_factory=list)  # the same call made again, answered by this one

    def item(self) -> ToolItem:
        status: ToolStatus = "running"
        output = STILL_RUNNING
        if self.outcome is not None:
            output = self.outcome.output
            status = "done" if self.outcome.ok else "failed"
            if output is INTERRUPTED:
                status = "interrupted"
        return ToolItem(self.call.call_id, self.call.name, self.call.arguments, output, status, self.round)


class Desk:
    """Holds every piece of work that is not over, and what was begun with a side effect in a disturbed turn."""

    def __init__(self, policy: Callable[[str], ToolPolicy], canonical: Callable[[str, str], str]) -> None:
        self._policy = policy
        self._canonical = canonical
        self.work: dict[int, Work] = {}
        self._begun: dict[tuple[str, str], Work] = {}

    def add(self, key: int, call: ToolCall, turn: int, round: int) -> Work:
        """Takes a call in. It is finished already if an earlier one answers it."""
        work = Work(key, call, turn, round, self._policy(call.name))
        self.work[key] = work
        self._answer(work)
        return work

    def _answer(self, work: Work) -> bool:
        """Whether an equal call, begun in this turn or in one that was disturbed, answers this one, now or later.

        One that failed without effect answers nothing: trying again is what is wanted then."""
        twin = self._begun.get(self.wish(work)) if work.policy.side_effect else None
        if twin is None or not (twin.disturbed or twin.turn == work.turn):
            return False
        if twin.outcome is None:
            work.state = "running"
            twin.followers.append(work)
        elif twin.outcome.ok or not twin.outcome.certain:
            self._finish(work, _echo(twin.outcome))
        return work.state != "held"

    def startable(self, turn: int, round: int, free: bool) -> Iterator[Work]:
        """What of this round starts now, ``running`` from here on; terminal work whose sibling failed is finished
        instead. ``free``: what cannot be taken back may start too."""
        siblings = [w for w in self.work.values() if (w.turn, w.round) == (turn, round)]
        terminal = [w for w in siblings if w.policy.terminal]
        siblings = [w for w in siblings if not w.policy.terminal]
        for work in siblings:
            if work.state != "held" or (work.policy.side_effect and not free):
                continue
            if not self._answer(work):
                yield self._start(work)
            elif work.outcome is not None:
                yield work
        if any(w.state != "finished" for w in siblings):
            return
        failed = any(w.outcome is not None and not w.outcome.ok for w in siblings)
        for work in terminal:
            if work.state == "held" and failed:
                self._finish(work, SIBLING_FAILED)
                yield work
            elif work.state == "held" and free:
                yield self._start(work)

    def finish(self, key: int, outcome: ToolOutcome) -> list[Work]:
        """The work, and the repeated calls it answers, now finished; nothing for work that is over or unknown."""
        work = self.work.get(key)
        if work is None or work.state == "finished":
            return []
        self._finish(work, outcome)
        for follower in work.followers:
            self._finish(follower, _echo(outcome))
        return [work, *work.followers]

    def disturb(self, turn: int) -> None:
        for work in self.work.values():
            if work.turn == turn:
                work.disturbed = True

    def abandon(self, turn: int) -> tuple[list[Work], list[Work]]:
        """The turn is superseded: (all work that ends with it, finished as interrupted; of it, what was running).

        Work begun with a side effect goes on."""
        self.disturb(turn)
        ended, running = [], []
        for work in list(self.work.values()):
            if work.turn != turn or work.state == "finished":
                continue
            if work.state == "running":
                if work.policy.side_effect:
                    continue
                running.append(work)
            self._finish(work, ToolOutcome(INTERRUPTED, ok=False))
            ended.append(work)
        return ended, running

    def was_to_end(self, turn: int, round: int) -> bool:
        """Whether this round was to end the call, or to hand it over."""
        return any(w.policy.terminal for w in self.work.values() if (w.turn, w.round) == (turn, round))

    def settle(self) -> None:
        """A turn ended undisturbed: the same call made from now on is a new wish."""
        self._begun = {name: w for name, w in self._begun.items() if w.state != "finished"}
        self.work = {key: w for key, w in self.work.items() if w.state != "finished"}

    def unfinished(self, turn: int) -> list[Work]:
        return [w for w in self.work.values() if w.turn == turn and w.state != "finished"]

    def lasting(self, key: int) -> bool:
        """Whether what this work does, it does outside the conversation: whatever follows, it has been done."""
        work = self.work.get(key)
        return work is not None and work.policy.side_effect

    def reporting(self, key: int) -> set[int]:
        """The turns that wait for this running work."""
        work = self.work.get(key)
        return {w.turn for w in (work, *work.followers)} if work is not None and work.state == "running" else set()

    def running_effects(self) -> bool:
        """Whether anything begun with a side effect is still running."""
        return any(w.state == "running" and w.policy.side_effect for w in self.work.values())

    def _start(self, work: Work) -> Work:
        work.state = "running"
        if work.policy.side_effect:
            self._begun[self.wish(work)] = work
        return work

    def wish(self, work: Work) -> tuple[str, str]:
        """What is asked for: equal for two calls that ask the same."""
        return work.call.name, self._canonical(work.call.name, work.call.arguments)

    def _finish(self, work: Work, outcome: ToolOutcome) -> None:
        work.state = "finished"
        work.outcome = outcome
