"""A model under strain, for load tests: answers of a set length at a set pace, some of them going wrong."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from phone.endpoint.checks import Ask
from phone.endpoint.reply import Fault, Reply

_WORDS = (
    " certainly", " the", " apartment", " has", " two", " bright", " rooms", " and", " a", " balcony", ",", " which",
    " looks", " over", " the", " river", ".", " It", " is", " free", " from", " Monday", " on", ".", " Would", " you",
    " like", " to", " see", " it", "?",
)  # fmt: skip
_Z95 = 1.645


@dataclass(frozen=True, slots=True)
class Delay:
    """Seconds; log-normal between a median and a 95th percentile, or always the same when they are equal."""

    median: float
    p95: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Delay:
        """``0.25`` or ``0.25:0.9``, median and 95th percentile. Raises ValueError."""
        median, _, p95 = text.partition(":")
        delay = cls(float(median), float(p95 or 0))
        if delay.median < 0 or delay.p95 < 0:
            raise ValueError("a delay is not negative")
        return delay

    def sample(self, rng: random.Random) -> float:
        if self.p95 <= self.median or self.median == 0:
            return self.median
        return rng.lognormvariate(math.log(self.median), math.log(self.p95 / self.median) / _Z95)


@dataclass(frozen=True, slots=True)
class Load:
    """How the model behaves: delays in seconds, length in tokens, and each fault's share of the answers (0 to 1).

    slow: the first token takes ``slow_for`` more. stall: nothing for ``stall_for`` in the middle. cut: the connection
    ends in the middle. errors: 500. limited, quota: the two kinds of 429. close: it ends before the headers.
    garbage: lines in the middle that are no event.
    """

    first: Delay = Delay(0.25)
    pace: Delay = Delay(0.02)
    tokens: int = 60
    slow: float = 0.0
    stall: float = 0.0
    cut: float = 0.0
    errors: float = 0.0
    limited: float = 0.0
    quota: float = 0.0
    close: float = 0.0
    garbage: float = 0.0
    slow_for: float = 5.0
    stall_for: float = 5.0

    def __post_init__(self) -> None:
        shares = [getattr(self, name) for name in FAULTS]
        if any(not 0 <= share <= 1 for share in shares) or sum(shares) > 1:
            raise ValueError("shares of faults lie between 0 and 1, and so does their sum")
        if self.tokens < 1:
            raise ValueError("an answer has at least one token")

    def fault(self, rng: random.Random) -> Fault | None:
        """What goes wrong with the next answer, drawn for it alone; in the middle of it is after its first token."""
        middle = 1 + rng.randrange(self.tokens)
        throw = rng.random()
        for name in FAULTS:
            throw -= getattr(self, name)
            if throw < 0:
                return {
                    "slow": Fault("slow", seconds=self.slow_for),
                    "stall": Fault("stall", at=middle, seconds=self.stall_for),
                    "cut": Fault("cut", at=middle),
                    "errors": Fault("status"),
                    "limited": Fault.limited(),
                    "quota": Fault.quota(),
                    "close": Fault("close"),
                    "garbage": Fault("garbage", at=middle),
                }[name]
        return None

    def changed(self, values: Mapping[str, object]) -> Load:
        """A copy with other values, as they come in JSON; delays as in ``Delay.parse``. Raises ValueError."""
        known = {part.name: part for part in fields(self)}
        made: dict[str, object] = {}
        for name, value in values.items():
            if name not in known or isinstance(value, bool) or not isinstance(value, int | float | str):
                raise ValueError(f"no such value: {name}")
            if name in ("first", "pace"):
                made[name] = Delay.parse(str(value))
            else:
                made[name] = int(value) if name == "tokens" else float(value)
        return replace(self, **made)  # type: ignore[arg-type]


FAULTS = ("slow", "stall", "cut", "errors", "limited", "quota", "close", "garbage")


class Strain:
    """The behaviour: the same seed and the same order of requests give the same answers. ``load`` may be replaced."""

    def __init__(self, load: Load, *, seed: int = 0) -> None:
        self.load = load
        self._rng = random.Random(seed)

    def __call__(self, ask: Ask) -> Reply:
        load, rng = self.load, self._rng
        text = tuple(_WORDS[n % len(_WORDS)] for n in range(load.tokens))
        steady = load.pace.p95 <= load.pace.median
        return Reply(
            text=text,
            first=load.first.sample(rng),
            pace=load.pace.median if steady else lambda: load.pace.sample(rng),
            fault=load.fault(rng),
        )
