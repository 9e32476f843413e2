"""What a call says: talk cycles, the ledger of what may still be playing, and its record in the history; pure.

Every method that can lead to something appends actions to the shared ``Outbox``, which also tells the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from relay.events import Action, Close, Mark, Play, Put, Say, SetLanguage, StartTimer
from relay.heard import CHARACTERS_PER_SECOND, Ledger, Utterance, from_the_cut
from relay.items import ASIDES, AssistantItem, AssistantStatus, Item
from relay.listening import EARLY
from relay.manner import MULTI, Manner
from relay.rules import CallRules

SETTLE_GRACE = 2.0  # seconds after its estimated end at which speech counts as over without proof
SAVE_EVERY = 0.25  # seconds between two saves of a reply in progress
SOUND = "sound"  # the origin of what has no words
TONE = 0.2  # seconds of a tone and the silence behind it
TONE_SECONDS = {"w": 0.5, "W": 1.0}  # of those that are pauses
MOST_TONES = 8  # sequences of tones whose report is waited for
SOUND_SECONDS = 5.0  # a sound is taken to be so long
MOST_GIVEN = 200  # utterances kept for who asks what was given to say
REMINDERS = frozenset({"still_there", "time_warning"})  # lines that answer nothing: cut, they are not taken up again


@dataclass(slots=True)
class Outbox:
    """The actions of the event being handled, and its moment in the session's seconds."""

    now: float = 0.0
    actions: list[Action] = field(default_factory=list)

    def add(self, *actions: Action) -> None:
        self.actions.extend(actions)

    def take(self) -> list[Action]:
        actions, self.actions = self.actions, []
        return actions


class Record:
    """The history of this session: items by position. A position is given out once, in the order things happened."""

    def __init__(self, outbox: Outbox) -> None:
        self.items: dict[int, Item] = {}
        self.next = 0
        self._outbox = outbox

    def add(self, item: Item) -> int:
        position = self.reserve()
        self.put(position, item)
        return position

    def reserve(self) -> int:
        self.next += 1
        return self.next - 1

    def put(self, position: int, item: Item | None, urgent: bool = True) -> None:
        """Nothing is written where nothing changes."""
        if self.items.get(position) == item:
            return
        if item is None:
            self.items.pop(position, None)
        else:
            self.items[position] = item
        self._outbox.add(Put(position, item, urgent))

    def in_order(self) -> list[Item]:
        return [self.items[position] for position in sorted(self.items)]


class Speaking:
    """Everything that is said goes through here. At most one utterance is open: that of the turn in progress.

    ``manner``: of the agent that has the call. ``language``: the caller's, as far as it is known. ``spoken``: what
    Twilio makes of words that are not marked with another language."""

    def __init__(self, outbox: Outbox, record: Record, rules: CallRules) -> None:
        self.ledger = Ledger()
        self.info = False  # info frames have been seen in this session
        self.agent_on_at: float | None = None  # since when Twilio reports the agent as speaking
        self._spoke_since = 0.0  # when the speech began whose end was reported last
        self.manner = rules.manner
        self.spoken = rules.manner.language
        self.language = rules.language or self.spoken
        self._understood = rules.manner.transcription
        self._caller_told = False  # which language is the caller's
        self._tongue = self.spoken  # of the utterance given last
        self._marked = ""  # with what its words are marked
        self._outbox = outbox
        self._record = record
        self._rules = rules
        self._saved = 0.0
        self._given: deque[Utterance] = deque(maxlen=MOST_GIVEN)
        self._spoken_to = 0  # the position from which on something may still be being said

    # -- who speaks, and in which language

    def become(self, manner: Manner) -> None:
        """Another agent has the call. It goes on in the language spoken until now where it can, else in its own."""
        self.manner = manner
        spoken = manner.declared(self.spoken) or manner.language
        if not manner.declared(self.language):
            self.language = spoken
        self._speak(spoken)

    def speak(self, language: str) -> None:
        """This language from now on, for both sides: one of the agent's own, under its tag there."""
        self.language = language
        self._speak(language)

    def caller_speaks(self, language: str) -> None:
        """The recogniser has told the caller's language; one that finds it out may tell no more than that."""
        if language.casefold() != MULTI:
            self.language, self._caller_told = language, True

    def restore(self, manner: Manner, spoken: str, language: str) -> None:
        """As an earlier session of the call left it. What the caller has said since tells their language better."""
        self.manner = manner
        self._speak(manner.declared(spoken) or manner.declared(self.spoken) or manner.language)
        if not self._caller_told:
            self.language = language or self.spoken

    def tongue(self, language: str) -> str:
        """What words in this language are answered in."""
        if not self.manner.follow_language:
            return self.spoken
        return language if self.spoken == MULTI else self.manner.declared(language) or self.spoken

    def told(self, tongue: str) -> str:
        """What the model is to be told of that: "" where its instructions are enough."""
        own = not self.manner.follow_language and tongue == self.manner.language
        return "" if own or tongue == MULTI else tongue

    def _speak(self, spoken: str) -> None:
        understood = self.manner.understood(spoken)
        if (spoken, understood) != (self.spoken, self._understood):
            changed = spoken if spoken != self.spoken else ""
            self._outbox.add(SetLanguage(changed, understood if understood != self._understood else ""))
        self.spoken, self._understood = spoken, understood
        if any(utterance.open for utterance in self.ledger.utterances):
            self._mark(self._tongue)  # it goes on in the language it has begun in

    def _mark(self, tongue: str) -> None:
        self._tongue = tongue
        mark = "" if MULTI in (self.spoken, tongue) or tongue == self.spoken else tongue
        if mark != self._marked:
            self._marked = mark
            self._outbox.add(Mark(mark))

    # -- giving

    def begin(self, turn: int, text: str, origin: str = "", tongue: str = "") -> Utterance:
        """The first words of an utterance. Those of a turn stay open for more; the rest is complete at once.
        ``tongue``: the tag of their language, "" for what is spoken anyway."""
        utterance = self._open(turn, origin, firm=self._firm(origin))
        self._mark(tongue or self.spoken)
        utterance.append(text)
        self._save(utterance)
        return utterance

    def more(self, utterance: Utterance, text: str) -> None:
        utterance.append(text)
        if self._outbox.now - self._saved >= SAVE_EVERY:
            self._save(utterance, urgent=False)

    def line(self, name: str) -> Utterance | None:
        """One of the agent's fixed lines, in the caller's language."""
        manner = self.manner
        return self.words(manner.line(name, self.language), name, manner.line_language(name, self.language))

    def words(self, text: str, origin: str, language: str = "") -> Utterance | None:
        """Fixed words, in a talk cycle of their own; none if there are none.
        ``language``: theirs, "" for the agent's."""
        self._close_all()
        if not text:
            return None
        utterance = self.begin(0, text, origin, self.manner.declared(language or self.manner.language))
        self._outbox.add(Say(0, text))
        self.close(utterance)
        return utterance

    def aside(self, turn: int, text: str, origin: str) -> None:
        """Words for the time a tool of this turn takes: a talk cycle of their own, which the reply waits for."""
        self._close_all()
        utterance = self.begin(turn, text, origin, self.manner.declared(self.language))
        self._outbox.add(Say(0, text, aside=True))
        self._shut(utterance)

    def again(self, utterance: Utterance) -> None:
        """What a tool of the turn waits for was cut by mistake: the caller hears the rest of it."""
        self.aside(utterance.turn, from_the_cut(utterance.text, utterance.heard()), "repeat")

    def play(self, turn: int, source: str, *, firm: bool) -> None:
        """A sound, between talk cycles. ``firm``: the reply waits for its end. Nothing tells how long it is or where it
        ends; it leaves no trace in the history."""
        self._close_all()
        utterance = self._open(turn, SOUND, firm=firm, seconds=SOUND_SECONDS)
        self._outbox.add(Play(source, not firm, self._rules.interruptible))
        self._shut(utterance)

    def tones(self, digits: str) -> None:
        """Tones for the other end of the line, between talk cycles; for the words around them they are a sound."""
        self._close_all()
        seconds = sum(TONE_SECONDS.get(digit, TONE) for digit in digits)
        utterance = self._open(0, SOUND, firm=self._firm(SOUND), seconds=seconds)
        self.ledger.tones = [*self.ledger.tones[1 - MOST_TONES :], (digits, utterance)]
        self._shut(utterance)

    def greeting(self, text: str) -> None:
        """Twilio speaks it by itself: no frame of ours, but words the caller may hear and cut."""
        self._shut(self.begin(0, text, "greeting"))

    def plays_on(self, items: Sequence[tuple[int, Item]]) -> None:
        """Twilio went on playing these while the socket was lost. They keep their positions, which lie before all of
        this socket's."""
        self._record.items |= dict(items)
        for position, item in items:
            if isinstance(item, AssistantItem) and item.status == "open":
                started = (item.started - self._rules.epoch) / 1000
                utterance = Utterance(position, 0, started, origin=item.origin, firm=self._firm(item.origin))
                utterance.heard_words = item.heard
                utterance.append(item.text)
                self.ledger.utterances.append(utterance)
                self._shut(utterance)
                self._spoken_to = min(self._spoken_to, position)

    def not_greeted(self) -> None:
        """A greeting nobody is known to have heard was not spoken: the socket goes on with an earlier conversation."""
        unheard = [u for u in self.ledger.utterances if u.origin == "greeting" and not u.cut and not u.heard_words]
        for utterance in unheard:
            self.ledger.utterances.remove(utterance)
            if utterance.position is not None:
                self._record.put(utterance.position, None)

    def close(self, utterance: Utterance | None) -> None:
        """Nothing more of this utterance will be sent."""
        if utterance is None or not utterance.open:
            return
        self._outbox.add(Close())
        self._shut(utterance)
        self._save(utterance)

    def supersede(self, turn: int) -> None:
        """The caller went on: what was sent of the turn and is not over stays, marked, and is still played."""
        for utterance in self.ledger.utterances:
            if utterance.turn == turn:
                utterance.superseded = True
                self.close(utterance)
                self._save(utterance)

    def _shut(self, utterance: Utterance) -> None:
        utterance.open = False
        self._outbox.add(StartTimer("settle", max(0.0, self.ledger.expected_end() - self._outbox.now) + SETTLE_GRACE))

    def _open(self, turn: int, origin: str, *, firm: bool, seconds: float = 0.0) -> Utterance:
        now = self._outbox.now
        for utterance in self.ledger.preempt(now):
            self._save(utterance)
        utterance = Utterance(self._record.reserve(), turn, now, origin=origin, firm=firm, seconds=seconds)
        self._given.append(utterance)
        return self.ledger.open(utterance)

    def _firm(self, origin: str) -> bool:
        return not self._rules.preemptible or origin in ("greeting", *ASIDES)

    def _close_all(self) -> None:
        for utterance in self.ledger.utterances:
            self.close(utterance)

    def given(self) -> list[Utterance]:
        """What was given since this was last asked, the latest of it."""
        given = [*self._given]
        self._given.clear()
        return given

    # -- reports

    def interrupted(self, text: str, position: int) -> list[Utterance]:
        """Speech was stopped: returns what this cut, nothing if there was nothing left to cut. Utterances from this
        position on were given after the moment the interrupt tells of."""
        ledger = self.ledger
        later = [u for u in ledger.utterances if u.position >= position]
        ledger.utterances = [u for u in ledger.utterances if u.position < position]
        cut: list[Utterance] = []
        # Every interrupt cuts the last one: if it is cut, this is the same interrupt told twice.
        if ledger.utterances and not ledger.utterances[-1].cut:
            self._outbox.add(Close())
            for utterance in ledger.interrupted(text, self._outbox.now):
                self._save(utterance, over=True)
            cut = list(ledger.utterances)
            for utterance in cut:
                utterance.open = False
                self._save(utterance)
        ledger.utterances += later
        return cut

    def played(self, text: str) -> bool:
        """Proof that words were heard: returns whether they were ours."""
        self.info = True
        if not self.ledger.played(text):
            return False
        for utterance in (*self.ledger.preempted, *self.ledger.utterances):
            self._save(utterance)
        return True

    def agent(self, on: bool) -> None:
        """``agentSpeaking``: silence settles what had been heard, or, without proof, what must have been."""
        self.info = True
        self._spoke_since = self._spoke_since if on or self.agent_on_at is None else self.agent_on_at
        self.agent_on_at = self._outbox.now if on else None
        if not on:
            for utterance in self.ledger.settle_heard():
                self._save(utterance, over=True)
            self._settle(SETTLE_GRACE if self.ledger.proof else 0.0)

    def tick(self) -> None:
        """Time has passed: without info frames the clock alone tells what is over."""
        if not self.info and self.ledger.utterances:
            self._settle(SETTLE_GRACE)

    def settle_due(self) -> None:
        """The timer ``settle`` fired. While the agent is reported speaking its silence will settle what is over."""
        if self.agent_on_at is None:
            self._settle(SETTLE_GRACE - EARLY)

    def stopped(self, *, plays_on: bool = False, proven: bool = False) -> None:
        """Nothing more will be sent. Nor played, unless it ``plays_on``: what is on record becomes what was heard, or
        what was ``proven`` to be."""
        if plays_on:
            for utterance in self.ledger.utterances:
                self._save(utterance)
            return
        self.ledger.stopped(self._outbox.now, proven=proven)
        for utterance in self.ledger.utterances:
            utterance.open = False
            self._save(utterance, over=True)
        self.ledger.utterances.clear()

    def end(self, since: float = -inf) -> float | None:
        """Estimate of when all that was sent, from this position on, will have been heard, which may be past; None when
        it has been. A sound that our next words cut is not waited for."""
        now, proof = self._outbox.now, self.ledger.proof
        given = [(u, end) for u, _, end in self.ledger.times() if u.position >= since]
        left = [(u, end) for u, end in given if not u.cut and (u.firm or not u.seconds)]
        ends = [end for u, end in left if (end > now if u.seconds else not u.all_heard and not proof)]
        if proof and (rest := [u for u, _ in left if not u.all_heard]):
            ends.append(now + sum(len(u.text) - len(u.heard()) for u in rest) / CHARACTERS_PER_SECOND)
        return max(ends, default=None)

    @property
    def silent(self) -> bool:
        """Whether Twilio has reported the end of speech that began after all that was sent."""
        given = [u.started for u in self.ledger.utterances if not u.cut]
        return self.agent_on_at is None and max(given, default=0.0) < self._spoke_since

    @property
    def busy(self) -> bool:
        """Whether something is being said, or played that our next words wait for, as far as is known."""
        end = self.end(self._spoken_to)
        return end is not None and end > self._outbox.now + EARLY

    def spoken_to(self) -> None:
        """The caller has said something, which ends what may be interrupted: none of it is being said any more."""
        if self._rules.interruptible:
            self._spoken_to = self._record.next

    # -- the record

    def _settle(self, grace: float) -> None:
        for utterance in self.ledger.settle(self._outbox.now, grace):
            self._save(utterance, over=True)

    def _save(self, utterance: Utterance, *, over: bool = False, urgent: bool = True) -> None:
        """Puts the utterance on record as it stands; ``over``: nothing will change any more."""
        self._saved = self._outbox.now
        status: AssistantStatus = "done" if over else "open"
        if utterance.cut:
            status = "interrupted"
        elif utterance.superseded:
            status = "superseded"
        started = self._rules.epoch + int(utterance.started * 1000)
        text = utterance.heard() if utterance.cut else utterance.text
        heard = utterance.heard_words if status == "open" else 0
        sent = utterance.text if utterance.cut and text != utterance.text else ""
        item = AssistantItem(text, status, heard, started, utterance.origin, sent) if text else None
        self._record.put(utterance.position, item, urgent)
