"""The state machine of one phone call. Pure: ``receive(event, now)`` returns what is to be done and does nothing.

    AWAITING_SETUP -> TALKING <-> ENDING -> ENDED

While talking two things are tracked apart. The *turn* (``turns.py``, its tools on the ``desk.py``): one input and its
answer. The *ledger* (``speaking.py``, ``heard.py``): everything given to Twilio to say that is not yet known to be
over, with the cursor that tells how far speech has got. Here the caller's side is told to both: words, keys,
interrupts, and who has the floor.

Only this class and its parts change the history. Tasks and tools report; what they report of a turn that is over is
dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never

from relay.changes import Changes
from relay.collecting import Collecting
from relay.ending import HANDED_ON, Ending
from relay.events import (
    Action,
    CancelTimer,
    CloseSocket,
    CollectDigits,
    Delta,
    DigitsCollected,
    Drain,
    End,
    Event,
    LateResult,
    Noted,
    Operator,
    Order,
    OutOfBudget,
    Prepared,
    Reconnected,
    Restored,
    RoundEnded,
    SocketClosed,
    StartTimer,
    TimerFired,
    ToolFinished,
    ToolProgress,
    TurnFailed,
)
from relay.frames import (
    AgentSpeaking,
    ClientSpeaking,
    Dtmf,
    Interrupt,
    PeerError,
    Prompt,
    Setup,
    TokensPlayed,
    Unknown,
)
from relay.heard import Utterance
from relay.items import ASIDES, MOVING, AssistantItem, Item, NoteItem, ToolItem, UserItem, last_of
from relay.keypad import PRESSED, Key, Keypad
from relay.listening import Listening
from relay.manner import Manner
from relay.models.base import ToolCall
from relay.operator import Operating, Refusal
from relay.quiet import Quiet
from relay.rules import CallRules, Phase, Turn
from relay.speaking import REMINDERS, SOUND, Outbox, Record, Speaking
from relay.speculation import Speculation
from relay.toolbox import DigitsWanted, Keyed
from relay.trouble import SPEAKING, ProviderTrouble
from relay.turns import CUT_NOTE, Turns

KEY_ECHO = 0.5  # seconds within which an interrupt is the work of the key reported before it, or after it

Pressed = Literal["input", "collected", "late"]
"""What a key was: the caller's input, a key that a tool waited for, the end of those that came late."""


class Call:
    """One phone call. Not reusable; not thread-safe; needs no clean-up."""

    def __init__(self, rules: CallRules) -> None:
        self.rules = rules
        self._out = Outbox()
        self.record = Record(self._out)
        self.speaking = Speaking(self._out, self.record, rules)
        self._listening = Listening()
        self._ending = Ending(rules, self._out, self.speaking, self._listening)
        self._changes = Changes(rules, self._out, self.speaking)
        self._turns = Turns(rules, self._out, self.record, self.speaking, self._listening, self._ending, self._changes)
        self._speculation = Speculation(rules.speculation_limit if rules.speculation else 0, self._out)
        self._quiet = Quiet(rules, self._out, self.speaking, self._listening, self._turns, self._ending)
        self._operating = Operating(
            rules, self._out, self.speaking, self._listening, self._turns, self._ending, self._changes
        )
        self._provider = ProviderTrouble()
        self._keypad = Keypad()
        self._collecting = Collecting(self._out, self.speaking, self._listening, self._turns)
        self._before: tuple[Item, ...] = ()
        self._reconnected: Reconnected | None = None
        self._set_up = False
        self._pressed = (-KEY_ECHO, 0)  # the last key: when, and the position that was next
        self._pressed_as: Pressed = "input"
        self._cut_at = -KEY_ECHO  # when an interrupt last stopped speech
        self._cut: list[Utterance] = []  # that speech

    # -- what others may ask

    @property
    def phase(self) -> Phase:
        if self._ending.done:
            return Phase.ENDED
        if not self._set_up:
            return Phase.AWAITING_SETUP
        return Phase.ENDING if self._ending.under_way else Phase.TALKING

    @property
    def turn(self) -> Turn | None:
        """The turn in progress."""
        return self._turns.current

    @property
    def language(self) -> str:
        """The caller's, as far as it is known."""
        return self.speaking.language

    @property
    def spoken(self) -> str:
        """The tag of what the agent speaks where its words are not marked."""
        return self.speaking.spoken

    def told(self, language: str) -> str:
        """The language a model is to be told to answer words of this one in ("": of the caller's), "" for none."""
        return self.speaking.told(self.speaking.tongue(language or self.language))

    @property
    def manner(self) -> Manner:
        """Of the agent that has the call, with what tools have changed of it."""
        return self.speaking.manner

    @property
    def unfinished(self) -> bool:
        """The agent has more to say or do, if only when the caller has left the floor to it."""
        return self.turn is not None or self._turns.held

    @property
    def unrecorded(self) -> bool:
        """Something that the caller said or pressed is not on record yet."""
        return bool(self._keypad.digits) or self._turns.words_wait

    @property
    def collecting(self) -> bool:
        """The next key is one that a tool waits for."""
        return self._collecting.active

    @property
    def keys_waiting(self) -> int:
        """Keys pressed lately that are no input yet; a tool that waits for keys takes them."""
        return len(self._keypad.digits)

    def conversation(self) -> list[Item]:
        """Everything said so far, in order."""
        return [*self._before, *self.record.in_order()]

    def refusal(self, order: Order) -> Refusal:
        """Why an operator's order would not be carried out now; "" if it would."""
        return self._operating.refusal(order) if self._set_up or self._ending.done else "not_begun"

    @property
    def unsaid(self) -> int:
        """Lines of an operator's that have not been said."""
        return self._operating.waiting

    def current(self, turn: int) -> bool:
        """Whether words of this turn may be sent now; 0 is no turn and always may."""
        return turn == 0 or (self.turn is not None and self.turn.number == turn)

    # -- events

    def receive(self, event: Event, now: float) -> list[Action]:
        """Takes one event in and returns what to do, in this order."""
        self._out.now = now
        if type(event) is Delta:  # the token path
            self._turns.delta(event)
        elif self._set_up and not self._ending.done:
            made = self._changes.made
            self._inside(event)
            if self._operating.due() or self._changes.made != made:
                self._speculation.drop()  # it was asked before
            self.speaking.tick()
            self._collecting.watch()
            self._quiet.watch(bool(self._keypad.digits))
        else:
            self._outside(event)
        return self._out.take()

    def _inside(self, event: Event) -> None:
        match event:
            case Prompt(last=False):
                self._partial(event)
            case Prompt():
                self._prompt(event)
            case Interrupt():
                self._interrupt(event)
            case Dtmf():
                self._key(event.digit)
            case TokensPlayed():
                if self.speaking.played(event.text):
                    self._ending.heard_more()
            case AgentSpeaking():
                began = self.speaking.agent_on_at
                self.speaking.agent(event.on)
                if not event.on:
                    self._ending.silence(began)
            case ClientSpeaking():
                self._client(event.on)
            case RoundEnded():
                self._turns.round_ended(event)
            case TurnFailed():
                if self.turn is not None and self.turn.number == event.turn:
                    self._turns.fail()
            case OutOfBudget():
                if self.turn is not None and self.turn.number == event.turn:
                    self._turns.refused()
            case ToolFinished():
                self._turns.tool_finished(event)
                self._ending.heard_more()
            case ToolProgress():
                self._turns.tool_progress(event)
            case CollectDigits():
                for digit in self._collecting.asked(event, self._keypad):
                    self._unwanted(digit)
            case LateResult():
                self._late(event.item)
            case Noted():
                self.record.add(NoteItem(event.text))
                self._turns.tell_late()
            case Restored():
                self.speaking.restore(event.manner, event.spoken, event.language)
            case Reconnected():
                self._reconnect(event)
            case Prepared():
                self._ready(event)
            case Drain():
                self._drain(event.limit)
            case Operator():
                self._operating.take(event.order)
            case TimerFired():
                self._timer(event.name)
            case PeerError():
                self._peer_error(event.code)
            case SocketClosed():
                self._closed(event)
            case Setup() | Unknown() | Delta():
                pass
            case _:
                assert_never(event)

    def _timer(self, name: str) -> None:
        match name:
            case "turn":
                self._turns.deadline()
            case "after_interrupt":
                self._after_interrupt()
            case "prepare":
                self._turns.prepared()
            case "side_effect":
                self._turns.effects_waited()
            case "reader":
                self._turns.reader_ran()
            case "filler":
                self._turns.fill()
            case "quiet":
                self._turns.start_tools()
            case "full":
                self._turns.full()
            case "interdigit" if self._keypad.digits:
                self._take_digits()
            case "settle":
                self.speaking.settle_due()
            case "goodbye":
                self._ending.due()
            case "speculation":
                self._speculation.drop()
            case "time_warning":
                self._quiet.time_warning()
            case "time_up":
                self._quiet.time_up()
            case _:
                pass

    def _outside(self, event: Event) -> None:
        """Before setup and after the end: a side effect's result, the socket's end, and what ends it."""
        match event:
            case Setup() if not self._ending.done:
                self._setup()
            case ToolFinished():
                self._turns.tool_finished(event)
            case CollectDigits(wanted=DigitsWanted()):
                self._out.add(DigitsCollected(event.key, Keyed()))
            case Prompt(last=True) if self._ending.goes_on:
                self._leave(event)  # it was on its way already
            case TimerFired(name="close"):
                self._out.add(CloseSocket())
            case SocketClosed():
                self._closed(event)
            case _:
                pass

    # -- the session's beginning and end

    def _setup(self) -> None:
        self._set_up = True
        self._out.add(StartTimer("prepare", self.rules.prepare_deadline))
        self._quiet.begin()
        if self.rules.greeting:
            self.speaking.greeting(self.rules.greeting)

    def _ready(self, event: Prepared) -> None:
        self._before = event.items
        self._out.add(CancelTimer("prepare"))
        if event.elapsed:
            self._quiet.begin(event.elapsed + self._out.now)
        if self._reconnected is not None:
            self._take_up(self._reconnected)
        elif event.resumed:
            self.speaking.not_greeted()
            if self.turn is None and self.phase is Phase.TALKING:
                if not self._answered(event.items):
                    self._turns.begin()
                elif not event.handed:
                    self.speaking.line("cut_off")
                elif self._left_off(event.items):
                    self._go_on_from_the_cut()
        self._turns.prepared()

    @staticmethod
    def _answered(items: Sequence[Item]) -> bool:
        """Nothing stands at the end that the agent has not answered."""
        last = last_of(items)
        return last is None or isinstance(last, AssistantItem)

    @staticmethod
    def _left_off(items: Sequence[Item]) -> bool:
        """The agent was in the middle of what stands at the end."""
        last = last_of(items)
        if not isinstance(last, AssistantItem) or last.origin in REMINDERS:
            return False
        return last.status == "superseded" or bool(last.sent)

    def _go_on_from_the_cut(self) -> None:
        self.record.add(NoteItem(CUT_NOTE))
        self._turns.begin()

    def _reconnect(self, event: Reconnected) -> None:
        self._reconnected = event
        self.speaking.not_greeted()
        self.speaking.plays_on(event.playing)

    def _take_up(self, lost: Reconnected) -> None:
        """Goes on where the socket was lost, unless the caller has gone on: what was cut then is not missed."""
        if self.turn is not None or self.phase is not Phase.TALKING:
            return
        if not self._answered(self.conversation()):
            self._turns.begin()
        elif lost.unfinished:
            self._go_on_from_the_cut()

    def _late(self, item: ToolItem) -> None:
        """The result is on record already; the caller is still to be told."""

        def now(old: Item) -> Item:
            late = isinstance(old, ToolItem) and (old.call_id, old.status) == (item.call_id, "unknown")
            return item if late else old

        self._before = tuple(map(now, self._before))
        self.record.items = {position: now(old) for position, old in self.record.items.items()}
        self._turns.tell_late()

    def _closed(self, event: SocketClosed) -> None:
        """The socket is gone."""
        self._ending.done = True
        self._stop(plays_on=event.plays_on)

    def _drain(self, limit: float) -> None:
        """The caller is told of the pause to come, and the call handed back once that is heard and nothing is being
        done that must not be left. A call that is about to end does so, a little sooner."""
        if not self._ending.under_way:
            self._speculation.drop()
            self._turns.cease()
            self._ending.after(MOVING, End(HANDED_ON, "handed_on"), final=True, free=self._turns.leaves_nothing)
        self._ending.hurry(limit)

    def _peer_error(self, code: int) -> None:
        """A provider that fails again and again: the action callback connects the call anew, with another one."""
        if not self._provider.repeated(code, self._out.now) or not self.rules.can_switch:
            return
        if self.phase is Phase.TALKING:
            self._speculation.drop()
            self._stop(proven=code in SPEAKING)
            self._ending.at_once(End({"reasonCode": "resume", "provider": "second"}, "switched"))

    def _stop(self, *, plays_on: bool = False, proven: bool = False) -> None:
        """What was heard, said and pressed until now is left on record. ``proven``: nothing counts as heard only
        because there was time to say it."""
        self.speaking.stopped(plays_on=plays_on, proven=proven)
        self._turns.stopped()
        if self._keypad.digits:
            self._note_digits()

    # -- the caller speaks

    def _partial(self, event: Prompt) -> None:
        self._listening.partial(self._out.now)
        self._listened()
        free = self._turns.idle and not self._ending.under_way
        self._speculation.partial(UserItem(event.voice_prompt.strip(), event.lang), free=free)

    def _prompt(self, event: Prompt) -> None:
        self._listening.final()
        text = event.voice_prompt.strip()
        if text and self._ending.final:
            self._leave(event)
        elif text:
            if event.lang:
                self.speaking.caller_speaks(event.lang)
            self._take_floor()
            self.speaking.spoken_to()
            self._speculation.final()
            self._turns.prompt(UserItem(text, event.lang))
            self._collecting.spoken_over()
        else:
            self._speculation.drop()
            self._listened()

    def _leave(self, event: Prompt) -> None:
        """The words stay on record, without an answer: the next session, if there is one, begins with it."""
        if text := event.voice_prompt.strip():
            self.record.add(UserItem(text, event.lang))

    def _take_floor(self) -> None:
        """The caller has said or pressed something: that settles what an interrupt, or a goodbye, had left open."""
        self._quiet.caller()
        self.speaking.ledger.settle_cut()
        self._turns.released()
        self._out.add(CancelTimer("after_interrupt"))
        if self._ending.under_way:
            self._ending.call_off()

    def _interrupt(self, event: Interrupt) -> None:
        pressed_at, position = self._pressed
        by_key = self._out.now - pressed_at < KEY_ECHO
        cut = self.speaking.interrupted(event.utterance_until_interrupt, position if by_key else self.record.next)
        if by_key and self._pressed_as != "input" and all(utterance.all_heard for utterance in cut):
            # Nothing was being said when the key was pressed: this is of what the tool's keys have led to, if of any.
            later = self.speaking.interrupted(event.utterance_until_interrupt, self.record.next)
            by_key, cut = by_key and not later, later or cut
        if not cut:
            return
        self._cut_at, self._cut = self._out.now, cut
        if not all(utterance.all_heard for utterance in cut):
            self._speculation.drop()  # the answer would be to words the caller has not heard
        if self._ending.under_way:
            self._ending.interrupted()
            return
        if by_key and self._pressed_as == "collected":
            return  # the tool has the key, and what is said since is not what was stopped
        if self._collecting.active:
            self._turns.held = True  # for words; a key lets the turn go on as if nothing had been cut
        else:
            self._turns.interrupted(cut)
        if by_key and self._pressed_as == "late":
            self._take_up_again()
            return
        if by_key:
            # The key has been answered, or will be: as if the interrupt had come before it.
            self._take_floor()
            self._turns.go_on()
            return
        if self._turns.held:
            self._out.add(StartTimer("after_interrupt", self.rules.after_interrupt))
        self._listening.stopped_speech(self._out.now, self.rules.after_interrupt)
        self._listened()

    def _after_interrupt(self) -> None:
        if self.phase is not Phase.TALKING or not self._turns.held:
            return
        if self._listening.left(self._out.now):
            self._out.add(StartTimer("after_interrupt", self.rules.after_interrupt))
        else:
            self._turns.resume()

    def _client(self, on: bool) -> None:
        self.speaking.info = True
        self._listening.client(on, self._out.now)
        if not on and self._turns.held:
            wait = min(self.rules.after_interrupt, self._listening.patience(self._out.now))
            self._out.add(StartTimer("after_interrupt", wait))
        self._listened()

    def _listened(self) -> None:
        """Something has told whether the caller is speaking."""
        left = self._listening.left(self._out.now)
        if left:
            self._out.add(StartTimer("quiet", left))
        else:
            self._out.add(CancelTimer("quiet"))
            self._turns.start_tools()

    # -- the caller presses keys

    def _key(self, digit: str) -> None:
        if self._ending.final:
            return
        if not self._keypad.digits and self._collecting.belongs_to_last(digit):
            self._late_end()
            return
        if not self._collecting.keys and self._keypad.belongs_to_last(digit, self._out.now):
            return
        self._pressed, self._pressed_as = (self._out.now, self.record.next), "input"
        self._speculation.drop()
        self._listening.key()
        self._take_floor()
        if self._collecting.active:
            self._pressed_as = "collected"
            self._collecting.press(digit)
            self._listened()
            return
        key = self.manner.keys.get(digit)
        if key is not None:
            self._mapped(digit, key)
        else:
            self._unwanted(digit)

    def _unwanted(self, digit: str) -> None:
        """A key without a meaning of its own that nobody waits for."""
        if self._keypad.press(digit):
            self._take_digits()
        else:
            self._out.add(StartTimer("interdigit", self.rules.interdigit))

    def _mapped(self, digit: str, key: Key) -> None:
        collected = bool(self._keypad.digits)
        if key.tool or collected:
            self._turns.supersede()
        if collected:
            self._out.add(CancelTimer("interdigit"))
            self._note_digits()
        self.record.add(NoteItem(f"{PRESSED}{digit}."))
        text, language = key.line(self.language)
        line = self.speaking.words(text, "keypad", language)
        if key.tool:
            self._turns.key(ToolCall(f"key_{self.record.next}", key.tool, key.arguments), line)
        elif collected:
            self._turns.begin()
        else:
            self._turns.go_on()

    def _take_digits(self) -> None:
        self._out.add(CancelTimer("interdigit"))
        if self._ending.final:
            self._note_digits()
            return
        self._take_floor()
        self._turns.supersede()
        self._note_digits()
        self._turns.begin()

    def _note_digits(self) -> None:
        self.record.add(NoteItem(f"{PRESSED}{self._keypad.take(self._out.now)} on the keypad."))

    # -- keys that a tool waits for

    def _late_end(self) -> None:
        """The end of keys that a tool has got already: it is no input, and what it cut was not to be cut."""
        self._pressed, self._pressed_as = (self._out.now, self.record.next), "late"
        if self._turns.held and self.phase is Phase.TALKING and self._out.now - self._cut_at < KEY_ECHO:
            self._listening.key()  # the interrupt was no sign of words
            self._take_up_again()
            self._listened()

    def _take_up_again(self) -> None:
        """The turn, or its reply, that was cut by mistake goes on; where the caller speaks all the same, after that."""
        if not self._turns.held:
            return
        turn = self.turn
        if turn is not None and turn.part == "tools":
            for utterance in self._cut:
                if (
                    utterance.turn == turn.number
                    and utterance.origin not in (*ASIDES, SOUND)
                    and not utterance.all_heard
                ):
                    self.speaking.again(utterance)
        if self._listening.left(self._out.now):
            self._out.add(StartTimer("after_interrupt", self.rules.after_interrupt))
        else:
            self._out.add(CancelTimer("after_interrupt"))
            self._turns.resume()
