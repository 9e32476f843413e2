"""Turns: one input and its answer, at most one at a time, and the tools it uses; pure.

A turn is *waiting* (for the history, for a side effect of the turn before, for the caller who has the floor),
*generating*, or it has *tools* running. What the tasks of a turn report when it is over is dropped here by its number,
which is why no word of it can follow an interrupt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from relay.changes import Changes
from relay.confirm import ASK_FIRST, Confirmations
from relay.desk import TOO_MANY_ROUNDS, Desk, Work, no_such_tool, not_possible
from relay.ending import Ending, handover
from relay.events import (
    CancelTimer,
    CancelTool,
    CancelTurn,
    Delta,
    End,
    RoundEnded,
    Say,
    StartTimer,
    StartTool,
    StartTurn,
    ToolFinished,
    ToolProgress,
    TurnEnded,
)
from relay.fillers import Fillers
from relay.heard import Utterance
from relay.items import ASIDES, NoteItem, UserItem, replace
from relay.length import Length
from relay.listening import EARLY, Listening
from relay.models.base import ToolCall
from relay.rules import CallRules, Turn
from relay.speaking import REMINDERS, SOUND, Outbox, Record, Speaking
from relay.toolbox import EndCall, Transfer

MOST_FAILURES = 3  # turns that fail in a row; then the call is handed over, or ends
LEAST_TIME = 2.0  # seconds that a turn has in any case, however long the caller has been left without words before it
TROUBLE = "technical trouble"
TROUBLE_SUMMARY = "The voice agent could not answer several times in a row."

CUT_NOTE = (
    "Your last words were cut off, and the caller said nothing more. They heard only what stands above. "
    "Go on from there in a natural way without repeating it."
)


class Turns:
    def __init__(
        self,
        rules: CallRules,
        outbox: Outbox,
        record: Record,
        speaking: Speaking,
        listening: Listening,
        ending: Ending,
        changes: Changes,
    ) -> None:
        self.current: Turn | None = None
        self.held = False  # the caller has the floor, or the call is ending: nothing new is begun
        self.before_asking: Callable[[], object] = lambda: None  # done before each request
        self._rules = rules
        self._out = outbox
        self._record = record
        self._speaking = speaking
        self._listening = listening
        self._ending = ending
        self._changes = changes
        self._desk = Desk(rules.policy, rules.canonical)
        self._confirmations = Confirmations(record.items)
        self._fillers = Fillers(rules, outbox, speaking, listening)
        self._number = 0
        self._prepared = False
        self._effects_waited = True
        self._ask_again = False  # what was cut is asked for again if the caller says nothing
        self._untold = False  # a result came that no request has carried
        self._words: list[UserItem] = []  # prompts that wait for a turn that may not be interrupted
        self._failures = 0  # turns that failed since one ended well
        self.collecting = False  # a tool waits for keys: the caller is not to be disturbed
        self._wordless: float | None = None  # since when a caller who says more and more has heard nothing
        self._length = Length(rules.reply_max_chars)

    @property
    def floor_free(self) -> bool:
        """Whether all is ready, and the caller has not taken the floor."""
        return self._prepared and not self.held

    @property
    def at_rest(self) -> bool:
        """Whether all is ready, and nothing is being done or about to be."""
        return self.floor_free and self.current is None

    @property
    def idle(self) -> bool:
        """A prompt would be answered at once, with no history but that of now."""
        return self._prepared and self.current is None and not self._desk.running_effects()

    def leaves_nothing(self) -> bool:
        """Nothing is being done that goes on without the call, and whose end is to be told in it."""
        return not self._desk.running_effects()

    @property
    def words_wait(self) -> bool:
        """Words of the caller's are not on record yet."""
        return bool(self._words)

    def waits_for(self, key: int) -> bool:
        """Whether the turn in progress waits for this running tool."""
        return self.current is not None and self.current.number in self._desk.reporting(key)

    # -- what begins, holds and ends a turn

    def prepared(self) -> None:
        """History, person and tools are ready, or have taken too long."""
        self._prepared = True
        self.go_on()

    def prompt(self, words: UserItem) -> None:
        """The caller's words; those that come in a turn that may not be interrupted wait for its end."""
        turn = self.current
        if turn is None or self._rules.interruptible or turn.part == "waiting":
            self._answer(words)
            return
        if turn.part == "tools" and (turn.said or turn.filled) and not self._words:
            self._out.add(StartTimer("turn", self._rules.turn_deadline))
        self._words.append(words)
        self.go_on()

    def key(self, call: ToolCall, line: Utterance | None) -> None:
        """A key whose tool runs at once, with the line it said."""
        turn = self._begin(None)
        turn.said, turn.utterance = line is not None, line
        self._take_calls(turn, (call,), agreed=True)

    def begin(self) -> None:
        """A turn for what is on record."""
        self._begin(None)
        self._go()

    def supersede(self) -> None:
        """The turn, if there is one, is over before its end: what was said of it stands, what it wanted ends."""
        turn = self.current
        if turn is not None:
            self._drop_work(turn)
            self._speaking.supersede(turn.number)
            self._end("superseded")

    def interrupted(self, cut: Sequence[Utterance]) -> None:
        """Speech was cut. Was it the turn's: what it generates is lost, its tools go on, the caller has the floor."""
        turn = self.current
        if turn is None:
            if not all(u.all_heard or u.origin in REMINDERS for u in cut):
                self.held = self._ask_again = True
        elif any(u.turn == turn.number for u in cut):
            turn.disturbed = self.held = True
            self._desk.disturb(turn.number)
            # A reply that has not begun is not lost with the filler before it.
            own = any(u.turn == turn.number and u.origin not in (*ASIDES, SOUND) for u in cut)
            if turn.part == "generating" and own:
                self._out.add(CancelTurn(turn.number))
                self._end("interrupted")
                self._ask_again = True

    def released(self) -> None:
        """The caller has gone on: what was cut is not asked for again."""
        self.held = self._ask_again = False

    def resume(self) -> None:
        """Nothing followed an interrupt: the turn goes on by itself."""
        again = self._ask_again
        self.released()
        if self.current is None and again:
            self._record.add(NoteItem(CUT_NOTE))
            self.begin()
        else:
            self._fillers.again()
            self.go_on()

    def go_on(self) -> None:
        """What had to wait may go on: the turn, or telling of a result that came late."""
        if self.current is not None:
            self.start_tools()
            self._go()
        elif self._untold and not self.held:
            self.begin()

    def tell_late(self) -> None:
        """A result came that no request has carried."""
        self._untold = True
        self.go_on()

    def deadline(self) -> None:
        """The turn's time is up, unless the model is speaking."""
        turn = self.current
        if turn is None:
            return
        left = turn.last_words + self._rules.turn_deadline - self._out.now
        if turn.part == "generating" and turn.said and left > EARLY:
            self._out.add(StartTimer("turn", left))
        else:
            self.fail()

    def fail(self) -> None:
        """Nothing usable came: the caller hears an apology, and the call goes on."""
        turn = self.current
        if turn is None:
            return
        if turn.full:
            self.full()
            return
        self._drop_work(turn)
        self._failures += 1
        if self._failures < MOST_FAILURES:
            self._speaking.line("apology")
            self._end("failed")
            self._after()
        else:
            self._end("failed")
            self.cease()
            if self._rules.can_transfer:
                end = handover(TROUBLE, TROUBLE_SUMMARY, self._speaking.language)
                self._ending.after("trouble_bridge", end, final=True)
            else:
                self._ending.after("trouble", End(None, "trouble"), final=True)

    def refused(self) -> None:
        """No model is asked any more: the caller is told, and the call ends."""
        self.cease()
        self._ending.after("budget", End(None, "budget"), final=True)

    def cease(self) -> None:
        """The call is about to end: the turn is over, and none begins any more."""
        self.supersede()
        if self._words:
            self._record.add(self._waiting_words())
        self.held = True

    def stopped(self) -> None:
        """The socket is gone: what the caller said is left on record."""
        if self.current is not None:
            self._drop_work(self.current)
            self._end("interrupted")
        if self._words:
            self._record.add(self._waiting_words())

    # -- the model

    def delta(self, event: Delta) -> None:
        turn = self.current
        if turn is None or turn.number != event.turn or turn.part != "generating":
            return
        turn.last_words = self._out.now
        turn.length += len(event.text)
        if turn.length > self._length.free:
            self._near_the_limit(turn, event.text)
        else:
            self._say(turn, event.text)

    def _say(self, turn: Turn, text: str) -> None:
        utterance = turn.utterance
        if utterance is not None and utterance.open:
            self._speaking.more(utterance, text)
        elif not text.strip():
            return
        else:
            turn.utterance = self._speaking.begin(turn.number, text, tongue=turn.tongue)
            turn.said = True
        self._out.add(Say(turn.number, text))

    def _near_the_limit(self, turn: Turn, text: str) -> None:
        """More of a reply that may not get much longer."""
        if turn.full:
            return
        said = turn.utterance.text if turn.utterance is not None and turn.utterance.open else ""
        fits = self._length.fit(said, text, turn.length)
        if fits is None:
            self._say(turn, text)
            return
        turn.full = True
        if fits:
            self._say(turn, text[:fits])
        self._out.add(StartTimer("full", 0.0))  # words are sent only while their turn is current

    def full(self) -> None:
        """The reply is as long as one may be: what was said of it stands."""
        turn = self.current
        if turn is None or not turn.full:
            return
        if not turn.said:  # so much white space
            turn.full = False
            self.fail()
            return
        self._drop_work(turn)
        self._speaking.close(turn.utterance)
        self._over(turn, shortened=True)

    def round_ended(self, event: RoundEnded) -> None:
        turn = self.current
        if turn is None or turn.number != event.turn or turn.part != "generating":
            return
        if turn.full:
            self.full()  # what it called for after so many words is lost with the rest of them
            return
        self._speaking.close(turn.utterance)
        if event.calls:
            self._take_calls(turn, event.calls)
        elif turn.said or event.reason == "nothing":
            self._over(turn)
        else:
            self.fail()  # a model that says nothing must not leave the caller in silence

    # -- tools

    def reader_ran(self) -> None:
        """The reader has taken in what had arrived when the calls were complete."""
        if self.current is not None:
            self.current.settled = True
            self.start_tools()

    def effects_waited(self) -> None:
        """A side effect of a turn before has been waited for long enough."""
        self._effects_waited = True
        self._go()

    def start_tools(self) -> None:
        """Begins what may begin by now."""
        turn = self.current
        if turn is None or turn.part != "tools" or not self._prepared:
            return
        free = turn.settled and not self.held and not self._listening.left(self._out.now)
        for work in self._desk.startable(turn.number, turn.round, free):
            if work.state == "running":
                if work.policy.confirm:
                    self._confirmations.use(self._desk.wish(work), turn.number)
                self._out.add(StartTool(work.key, work.call, turn.number, work.policy.side_effect))
            else:
                self._report(work)
        self._next_round(turn)

    def tool_finished(self, event: ToolFinished) -> None:
        outcome = event.outcome
        if (missing := self._changes.missing(outcome.effects)) and not self._desk.lasting(event.key):
            outcome = not_possible(missing)
        for work in self._desk.finish(event.key, outcome):
            self._report(work)
        if not self._effects_waited and not self._desk.running_effects():
            self._effects_waited = True
            self._out.add(CancelTimer("side_effect"))
        if not self._ending.done:
            self.go_on()

    def tool_progress(self, event: ToolProgress) -> None:
        """A running tool tells how far it is."""
        turn = self.current
        if turn is not None and turn.part == "tools" and turn.number in self._desk.reporting(event.key):
            self._filled(turn, self._fillers.report(event.text, self.held or self.collecting))

    def fill(self) -> None:
        """The tools take long enough for the caller to be told, if nobody speaks."""
        if self.current is not None:
            self._filled(self.current, self._fillers.due(self.held or self.collecting))

    def keys_wanted(self) -> None:
        """A tool of the turn waits for keys: the caller is busy with them, and needs no words meanwhile."""
        if self.current is not None:
            self._filled(self.current, True)

    # -- inside

    def _filled(self, turn: Turn, filled: bool) -> None:
        """The caller has heard something: that gives a tool the time of its own deadline."""
        turn.filled = turn.filled or filled
        if filled and not turn.said and not self._words:
            longest = max((work.policy.deadline or 0.0 for work in self._desk.unfinished(turn.number)), default=0.0)
            self._out.add(StartTimer("turn", self._rules.turn_deadline + longest))

    def _answer(self, words: UserItem) -> None:
        """A turn for these words; together with those of the turn before where nothing of that one has happened."""
        turn = self.current
        position: int | None = None
        if turn is not None and turn.user is not None and turn.user == self._record.next - 1:
            position, before = turn.user, self._record.items[turn.user]
            assert isinstance(before, UserItem)
            words = replace(words, text=f"{before.text} {words.text}")
        self.supersede()
        if position is None:
            position = self._record.reserve()
        self._record.put(position, words)
        self._begin(position)
        self._go()

    def _begin(self, user: int | None) -> Turn:
        self._number += 1
        turn = self.current = Turn(self._number, user=user)
        self._effects_waited = not self._desk.running_effects()
        if self._wordless is None:
            self._wordless = self._out.now
        left = self._wordless + self._rules.turn_deadline - self._out.now
        self._out.add(StartTimer("turn", max(left, min(LEAST_TIME, self._rules.turn_deadline))))
        if not self._effects_waited:
            self._out.add(StartTimer("side_effect", self._rules.side_effect_wait))
        return turn

    def _go(self) -> None:
        """Asks the model, if a turn waits for nothing any more."""
        turn = self.current
        if turn is None or turn.part != "waiting" or self.held or not (self._prepared and self._effects_waited):
            return
        self.before_asking()
        turn.part = "generating"
        turn.utterance = None
        self._untold = False
        turn.tongue = self._speaking.tongue(self._speaking.language)
        tools = turn.round < self._rules.tool_rounds
        self._out.add(StartTurn(turn.number, turn.round, tools, self._speaking.told(turn.tongue)))

    def _take_calls(self, turn: Turn, calls: Iterable[ToolCall], agreed: bool = False) -> None:
        """``agreed``: the caller wants this, nobody needs to ask."""
        turn.part = "tools"
        turn.settled = False
        if turn.said:
            self._out.add(CancelTimer("turn"))  # each tool has a deadline of its own
        for call in calls:
            work = self._desk.add(self._record.reserve(), call, turn.number, turn.round)
            if turn.round >= self._rules.tool_rounds:
                self._desk.finish(work.key, TOO_MANY_ROUNDS)
            elif work.state == "held" and not agreed and not self._may_use(call.name):
                self._desk.finish(work.key, no_such_tool(call.name))
            elif work.policy.confirm and work.state == "held" and not agreed:
                self._ask_first(work)
            self._report(work)
        if turn.round >= self._rules.tool_rounds:
            self.fail()
        else:
            self._out.add(StartTimer("reader", 0.0))
            if unfinished := self._desk.unfinished(turn.number):
                self._fillers.begin(turn.number, max(work.policy.expected for work in unfinished))
            self.start_tools()

    def _may_use(self, tool: str) -> bool:
        manner = self._speaking.manner
        return manner.may_use(tool) or tool in manner.signals

    def _ask_first(self, work: Work) -> None:
        wish = self._desk.wish(work)
        if not self._confirmations.given(wish, work.turn):
            # Nobody is asked to agree to what cannot be done.
            if (objection := self._rules.objection(work.call, self._speaking.language)) is not None:
                self._desk.finish(work.key, objection)
                return
            self._confirmations.ask(wish, work.turn, work.key)
            self._desk.finish(work.key, ASK_FIRST)

    def _report(self, work: Work) -> None:
        """Puts work on record as it stands; finished, it may lead to something."""
        self._record.put(work.key, work.item())
        if work.outcome is None:
            return
        turn = self.current
        own = turn is not None and work.turn == turn.number
        for effect in work.outcome.effects:
            if not isinstance(effect, EndCall | Transfer):
                self._changes.make(effect)
            elif turn is not None and own:
                turn.effect = effect
        if turn is None or not own:
            self._untold = True
            return
        for name, arguments in work.outcome.offers if work.outcome.ok else ():
            self._confirmations.ask((name, self._rules.canonical(name, arguments)), work.turn, work.key)
        if work.outcome.play and work.outcome.play not in turn.sounds:
            turn.sounds.append(work.outcome.play)

    def _next_round(self, turn: Turn) -> None:
        """When every tool of the round is over: what it led to, or the model's next round."""
        if self.held or self._desk.unfinished(turn.number):
            return
        self._fillers.over()
        for sound in turn.sounds:
            self._speaking.play(turn.number, sound, firm=True)
        turn.sounds.clear()
        if turn.effect is not None:
            self._over(turn)
            return
        if self._speaking.manner.signals and self._desk.was_to_end(turn.number, turn.round):
            self._speaking.line("nobody")  # which a model would say in words of its own
            self._over(turn)
            return
        if (turn.said or turn.filled) and not self._words:
            self._out.add(StartTimer("turn", self._rules.turn_deadline))
        turn.round += 1
        turn.part = "waiting"
        self._go()

    def _over(self, turn: Turn, *, shortened: bool = False) -> None:
        if not turn.disturbed:
            self._desk.settle()
        self._end("interrupted" if turn.disturbed else "done", shortened)
        if turn.effect is not None and not self._words:
            self.held = True
            self._ending.begin(turn.effect, said=turn.utterance is not None)
        else:
            self._after()

    def _after(self) -> None:
        if self._words:
            self._answer(self._waiting_words())
        else:
            self.go_on()

    def _waiting_words(self) -> UserItem:
        words, self._words = self._words, []
        return UserItem(" ".join(item.text for item in words), words[-1].lang)

    def _drop_work(self, turn: Turn) -> None:
        """Stops what a turn had going; side effects go on by themselves."""
        if turn.part == "generating":
            self._out.add(CancelTurn(turn.number))
        ended, running = self._desk.abandon(turn.number)
        self._out.add(*(CancelTool(work.key) for work in running))
        for work in ended:
            self._record.put(work.key, work.item())

    def _end(self, outcome: str, shortened: bool = False) -> None:
        turn = self.current
        assert turn is not None
        if outcome == "done" or (turn.length and outcome != "failed"):
            self._failures = 0
        if outcome != "superseded" or turn.said or turn.filled:
            self._wordless = None
        self._fillers.over()
        self._out.add(CancelTimer("turn"), CancelTimer("side_effect"), TurnEnded(turn.number, outcome, shortened))
        self.current = None
