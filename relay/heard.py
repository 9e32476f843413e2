"""Which words of what was sent have been heard: words, and one cursor over all that was given to Twilio.

The sent text is split at white space (Chinese, Japanese, Korean and Thai, which write without it, character by
character) and every word is reduced to its letters and digits, so that spacing, case, quotes and dashes do not
matter. A reported fragment matches where its letters are found from the beginning of a word on; its last word may be
cut short, and is then not heard.

The cursor only moves forwards. What ``heard()`` returns is always a whole-word prefix of what was sent: text that was
never sent is never heard.

Twilio's ``utteranceUntilInterrupt`` covers, depending on circumstances, the segment being played or all of the reply,
and the same sentence may occur twice; ``tokensPlayed`` is the only live proof. Hence two rules for an interrupt:
with proof seen, the smallest end at or after the cursor of a match that starts at or before it; without, the match
that ends nearest to where speech at ``CHARACTERS_PER_SECOND`` would be by now.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

CHARACTERS_PER_SECOND = 14.0
SPEECH_DELAY = 0.35  # seconds from the first token to the first sound, measured on live calls
PREEMPT_DELAY = 2.0  # seconds from cutting speech by new output to the sound of that output, measured likewise

_DENSE = (
    "\u0e00-\u0e2f\u0e32\u0e33\u0e40-\u0e46\u1100-\u11ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003fffd"
)
_THAI_MARKS = "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
_SENTENCE = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|\Z)|[。！？]")
_WORD = re.compile(f"[{_DENSE}][{_THAI_MARKS}]*[^\\w\\s]*|[^\\s{_DENSE}]+")


def reduce(text: str) -> str:
    """The letters and digits of a text, without case."""
    return "".join(filter(str.isalnum, text.casefold()))


def words(text: str) -> Iterator[tuple[str, int]]:
    """(reduced word, end offset in the text) of every word that has a letter or digit."""
    for found in _WORD.finditer(text):
        reduced = reduce(found[0])
        if reduced:
            yield reduced, found.end()


def from_the_cut(text: str, heard: str) -> str:
    """The rest of a text of which this beginning was heard, from the beginning of the sentence that was cut."""
    start = max((found.end() for found in _SENTENCE.finditer(heard)), default=0)
    return text[start:].strip()


def whole_words(text: str, count: int) -> str:
    """The first ``count`` words of a text, as written; all of it if it has no more."""
    if count <= 0:
        return ""
    ends = [end for _, end in words(text)]
    return text if count >= len(ends) else text[: ends[count - 1]]


@dataclass(slots=True, eq=False)
class Utterance:
    """One thing given to Twilio to say.

    ``position``: of its item in the history. ``turn``: the turn it belongs to, 0 for none.
    ``started``: when its first frame was written, in the session's seconds. ``open``: more of it may still be sent.
    ``cut``: an interrupt ended it; nothing beyond ``heard_words`` will be played. ``superseded``: the caller went on
    before it was complete; what was sent of it is played all the same. ``firm``: our own next words wait for its end
    instead of cutting it. ``seconds``: of a sound, which has no words: about how long it plays. ``after``: it cannot be
    heard before this.
    """

    position: int
    turn: int = 0
    started: float = 0.0
    open: bool = True
    cut: bool = False
    superseded: bool = False
    origin: str = ""
    firm: bool = False
    seconds: float = 0.0
    after: float = -inf
    heard_words: int = 0
    _parts: list[str] = field(default_factory=list)
    _joined: int = 0
    _text: str = ""
    _words: list[str] = field(default_factory=list)
    _ends: list[int] = field(default_factory=list)

    def append(self, text: str) -> None:
        """More of it was sent. Cheap: the text is joined and split when somebody asks."""
        self._parts.append(text)

    @property
    def text(self) -> str:
        if self._parts:
            self._text += "".join(self._parts)
            self._joined += len(self._parts)
            self._parts.clear()
        return self._text

    @property
    def pieces(self) -> int:
        """In how many it was sent."""
        return self._joined + len(self._parts)

    @property
    def words(self) -> list[str]:
        text = self.text
        if text and (not self._ends or self._ends[-1] < len(text)):
            # The last word may have grown; everything before it stands.
            start = self._ends[-2] if len(self._ends) > 1 else 0
            del self._words[-1:], self._ends[-1:]
            for word, end in words(text[start:]):
                self._words.append(word)
                self._ends.append(start + end)
        return self._words

    def heard(self) -> str:
        """The heard part of the text: a whole-word prefix."""
        count = len(self.words)
        if self.heard_words >= count and count:
            return self.text
        return self.text[: self._ends[self.heard_words - 1]] if self.heard_words else ""

    @property
    def all_heard(self) -> bool:
        return self.heard_words >= len(self.words)


class Ledger:
    """The utterances given to Twilio that are not yet known to be over, in the order sent, and the cursor."""

    def __init__(self) -> None:
        self.utterances: list[Utterance] = []
        self.preempted: list[Utterance] = []  # cut by our own output; proof of them may still come
        self.proof = False  # tokensPlayed has been seen in this session
        self.tones: list[tuple[str, Utterance]] = []  # digits sent as tones that were not reported as played yet
        self._cut_until = -inf  # what follows output that was cut by ours is not heard before this
        self._free = -inf  # when what was taken out will have been spoken by the clock: the next begins after it

    def open(self, utterance: Utterance) -> Utterance:
        """A new utterance at the end. What an interrupt had cut before is settled: late proof of it would be mistaken
        for proof of the new one where the two begin alike."""
        self.utterances = [u for u in self.utterances if not u.cut]
        self.utterances.append(utterance)
        utterance.after = self._cut_until
        return utterance

    def settle_cut(self) -> None:
        self.utterances = [u for u in self.utterances if not u.cut]
        self.preempted = []

    def preempt(self, now: float) -> list[Utterance]:
        """New output is about to be sent that cuts what is being played; no report will tell. Returns what was cut:
        nothing that is firm or waits behind something firm."""
        self.settle_cut()
        yielding: list[Utterance] = []
        for u, _, end in self.times():
            over = end <= now or (u.all_heard and not u.seconds)
            if u.firm and not over:
                break
            if not u.firm:
                yielding.append(u)
                u.cut = bool(u.seconds) and not over
        self._stop(yielding, now)
        self.preempted = [u for u in self.utterances if u.cut]
        self.utterances = [u for u in self.utterances if not u.cut]
        if self.preempted:
            self._cut_until = now + PREEMPT_DELAY
        return self.preempted

    # -- reports

    def played(self, text: str) -> bool:
        """``tokensPlayed``: moves the cursor behind the first place, at or after it, where these words stand."""
        self.proof = True
        if self._tones_played(text.strip()):
            return False
        query = reduce(text)
        if not query:
            return False
        for start, end, _ in _Track(self.preempted).matches(query):
            if start == sum(u.heard_words for u in self.preempted):
                self._move(self.preempted, end)
                return True
        track = _Track(self.utterances)
        cursor = track.cursor
        for start, end, short in track.matches(query):
            # A fragment cut short is believed only right at the cursor: anywhere else one letter would match.
            if start >= cursor and (not short or start == cursor):
                self._move(self.utterances, end)
                return True
        return False

    def _tones_played(self, digits: str) -> bool:
        """Whether this reports digits just sent; they are no words, though the same may stand in some."""
        for at, (sent, utterance) in enumerate(self.tones):
            if sent == digits:
                del self.tones[: at + 1]
                self.utterances = [u for u in self.utterances if u is not utterance]
                return True
        return False

    def interrupted(self, text: str, now: float) -> list[Utterance]:
        """``interrupt``: moves the cursor to where speech was stopped, and cuts what is under and behind it. What had
        been heard to its end before is over: taken out and returned."""
        self.tones.clear()  # of what Twilio has thrown away nothing is reported
        track = _Track(self.utterances)
        cursor = track.cursor
        query = reduce(text)
        matches = [(s, e) for s, e, _ in track.matches(query) if e >= cursor] if query else []
        if self.proof:
            ends = [e for s, e in matches if s <= cursor]
            target = min(ends, default=cursor)
        elif not query:
            target = track.start_of(self._speaking(track, now))
        else:
            estimate = self._estimate(self.utterances, now)
            nearest = min((e for _, e in matches), key=lambda e: abs(track.offset(e) - estimate), default=None)
            target = track.last_before(estimate) if nearest is None else nearest
        self._move(self.utterances, max(cursor, target))
        for u in self.utterances:
            # The last one is cut even when every word of it was heard: it was being played.
            u.cut = u.cut or not u.all_heard or u is self.utterances[-1]
        over = [u for u in self.utterances if not u.cut]
        self.utterances = [u for u in self.utterances if u.cut]
        return over

    def stopped(self, now: float, *, proven: bool = False) -> None:
        """The socket is gone: cuts at the cursor, or by the clock where no proof was seen, what was not complete.
        ``proven``: at the cursor all the same."""
        self._stop(self.utterances, now, proven=proven)

    # -- time

    def expected_end(self) -> float:
        """When what was sent will have been spoken at the usual rate, if nothing had been proven; may be past."""
        return max((end for u, _, end in self.times() if not u.cut), default=0.0)

    def times(self) -> list[tuple[Utterance, float, float]]:
        """(utterance, begin, end) of what is played, by the clock: one after the other, none before it was sent."""
        times = []
        free = self._free
        for u in self.utterances:
            begin = max(free, u.started + SPEECH_DELAY, u.after)
            free = begin + len(u.text) / CHARACTERS_PER_SECOND + u.seconds
            times.append((u, begin, free))
        return times

    def settle(self, now: float, grace: float) -> list[Utterance]:
        """Takes out, and returns, what is over where no info frames come: estimated end and ``grace`` passed."""
        over: list[Utterance] = []
        for u, _, end in self.times():
            if not u.open and end + grace <= now:
                over.append(u)
                self._free = max(self._free, end)
        self.utterances = [u for u in self.utterances if u not in over]
        return over

    def settle_heard(self) -> list[Utterance]:
        """Takes out, and returns, what the cursor has passed (``agentSpeaking off`` came)."""
        over = [u for u in self.utterances if not u.open and (u.cut or u.all_heard)]
        self.utterances = [u for u in self.utterances if u not in over]
        self.preempted = []
        return over

    # -- inside

    def _stop(self, utterances: list[Utterance], now: float, *, proven: bool = False) -> None:
        track = _Track(utterances)
        target = track.cursor
        if not (self.proof or proven):
            target = max(target, track.last_before(self._estimate(utterances, now)))
        self._move(utterances, target)
        for u in utterances:
            u.cut = u.cut or u.open or not u.all_heard

    def _speaking(self, track: _Track, now: float) -> int:
        """Index of the utterance being played by the clock."""
        estimate = self._estimate(self.utterances, now)
        for index, end in enumerate(track.utterance_offsets):
            if estimate < end:
                return index
        return len(self.utterances) - 1

    def _estimate(self, utterances: list[Utterance], now: float) -> float:
        """Characters of these utterances spoken by now."""
        spoken = ((u, (now - begin) * CHARACTERS_PER_SECOND) for u, begin, _ in self.times())
        return sum(min(max(0.0, count), len(u.text)) for u, count in spoken if u in utterances)

    def _move(self, utterances: list[Utterance], target: int) -> None:
        before = 0
        for u in utterances:
            u.heard_words = max(u.heard_words, min(len(u.words), target - before))
            before += len(u.words)


class _Track:
    """The words of all utterances in a row. Word indexes count over the whole track; offsets count characters."""

    def __init__(self, utterances: list[Utterance]) -> None:
        self.sizes = [len(u.words) for u in utterances]
        self.cursor = 0
        before = 0
        for u, size in zip(utterances, self.sizes, strict=True):
            if u.heard_words:
                self.cursor = before + min(u.heard_words, size)
            before += size
        self._letters = "".join(w for u in utterances for w in u.words)
        self._starts: list[int] = []
        self._ends: list[int] = []  # where each word ends in the letters
        self._offsets: list[int] = []  # where each word ends in the characters of the track
        self.utterance_offsets: list[int] = []
        letters = characters = 0
        for u in utterances:
            for word, end in zip(u.words, u._ends, strict=True):
                self._starts.append(letters)
                letters += len(word)
                self._ends.append(letters)
                self._offsets.append(characters + end)
            characters += len(u.text)
            self.utterance_offsets.append(characters)

    def matches(self, query: str) -> Iterator[tuple[int, int, bool]]:
        """(first word, word after the last whole one, whether the last word is cut short), in order."""
        at = self._letters.find(query)
        while at >= 0:
            start = bisect_left(self._starts, at)
            if start < len(self._starts) and self._starts[start] == at:
                stop = at + len(query)
                whole = bisect_right(self._ends, stop)
                yield start, whole, self._ends[whole - 1] != stop if whole else True
            at = self._letters.find(query, at + 1)

    def offset(self, word: int) -> int:
        return self._offsets[word - 1] if word else 0

    def last_before(self, characters: float) -> int:
        """The word index after the last word that ends at or before this many characters."""
        return bisect_right(self._offsets, characters)

    def start_of(self, utterance: int) -> int:
        return sum(self.sizes[: max(0, utterance)])
