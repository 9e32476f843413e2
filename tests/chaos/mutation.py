"""Good frames and good forms made bad, in every way a program has been known to stumble over; seeded."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import urlencode

FRAME_LIMIT = 64 * 1024

# As recorded of Twilio's, with other words and ids.
FRAMES: tuple[dict[str, Any], ...] = (
    {
        "type": "setup",
        "sessionId": "VX" + "0" * 32,
        "accountSid": "AC" + "0" * 32,
        "parentCallSid": "",
        "callSid": "CA" + "0" * 32,
        "from": "+15555550100",
        "to": "+15555550199",
        "forwardedFrom": "",
        "callType": "PSTN",
        "callerName": "",
        "direction": "inbound",
        "callStatus": "RINGING",
        "customParameters": {"ticket": "1.1800000000.abc.def.default", "attempt": "1"},
    },
    {"type": "prompt", "voicePrompt": "Hi! Can you tell me about life?", "lang": "en-US", "last": True},
    {"type": "prompt", "voicePrompt": "Hi! Can you", "lang": "en-US", "last": False},
    {"type": "prompt", "voicePrompt": "¿Y mañana, señor?", "lang": "es-US", "last": True},
    {"type": "dtmf", "digit": "1"},
    {"type": "dtmf", "digit": "#"},
    {"type": "interrupt", "utteranceUntilInterrupt": "Life is a complex set of", "durationUntilInterruptMs": 460},
    {"type": "interrupt", "utteranceUntilInterrupt": "", "durationUntilInterruptMs": 0},
    {"type": "error", "description": 'Invalid message received, code: 64107, { "foo" : "bar" }'},
    {"type": "info", "name": "agentSpeaking", "value": "on"},
    {"type": "info", "name": "agentSpeaking", "value": "off", "ts": 1700000000000},
    {"type": "info", "name": "clientSpeaking", "value": "on"},
    {"type": "info", "name": "clientSpeaking", "value": "off"},
    {"type": "info", "name": "tokensPlayed", "value": "Hi, this is Jace,"},
    {"type": "info", "name": "roundTripDelayMs", "value": "148"},
    {"type": "configUpdated", "language": {"code": "en-US"}},
)

ODD_TEXTS = (
    "",
    " ",
    "\0",
    "\r\n\r\n",
    "\u202eleft to right",
    "\ufeffmark",
    "\uffff\U0010ffff",
    "e" + "\u0301" * 300,
    "👩‍👩‍👧‍👦🏳️‍🌈",
    "ﷺ" * 20,
    "İıſß",
    "\u2028\u2029\u0085",
    "<Say>&amp;</Say>]]>",
    "%s %n {0} {caller} ${x}",
    "'; DROP TABLE calls; --",
    "../../etc/passwd",
    "* * *\n# `code` [a](b)",
)
ODD_NUMBERS = (0, -1, 1.5, -0.0, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, 1e-320)
NO_JSON = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "01",
    "0x1",
    "'a'",
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\x"',
    "[1,]",
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], {"a": {}}, ["a"], 7)

Frame = str | bytes
"""A text frame, or the bytes of a binary one."""


class Raw(bytes):
    """The bytes of a text frame that may not be UTF-8."""


class Mutator:
    """The same seed makes the same rows. ``fatal``: the share of frames after which a websocket must be closed."""

    def __init__(self, seed: int, *, fatal: float = 0.0) -> None:
        self.random = Random(seed)
        self._fatal = fatal
        self._ways: tuple[Callable[[dict[str, Any]], str], ...] = (
            self._damaged,
            self._cut,
            self._doubled,
            self._nested,
            self._no_json,
            self._dumped(self._odd_value),
            self._dumped(self._odd_text),
            self._dumped(self._odd_number),
            self._dumped(self._fewer),
            self._dumped(self._more),
            self._dumped(self._other_frame),
        )

    def frame(self) -> Frame | Raw:
        """A mutated frame; one in eight is as it was."""
        good, dice = self._good(), self.random.random()
        if dice < self._fatal:
            text = json.dumps(good)
            return self.random.choice(
                (
                    text.encode(),
                    Raw(text.encode()[:-1] + b"\xff}"),
                    Raw(b"\xed\xa0\x80" + text.encode()),
                    text + " " * FRAME_LIMIT,
                    json.dumps({**good, "type": "prompt", "voicePrompt": "word " * 20_000}),
                )
            )
        if dice < self._fatal + 0.002:
            return self._large(good)
        if dice > 0.875:
            return json.dumps(good, ensure_ascii=self.random.random() < 0.5)
        text = self.random.choice(self._ways)(good)
        return text if len(text.encode("utf-8", "replace")) <= FRAME_LIMIT else text[: FRAME_LIMIT // 4]

    def form(self, good: dict[str, str]) -> bytes:
        """The body of a form made bad."""
        fields = list(good.items())
        for _ in range(self.random.randint(0, 3)):
            self._change(fields)
        body = urlencode(fields, errors="surrogatepass").encode()
        match self.random.randrange(12):
            case 0:
                return self._flipped(body)
            case 1:
                return body[: self.random.randrange(len(body) + 1)]
            case 2:
                return body + self.random.choice(
                    (b"&", b"&&&", b"&=", b"&%", b"&%zz=%u1", b"&a=%ff%fe", b"\0", b"&;=;")
                )
            case 3 if self.random.random() < 0.1:
                return body + self.random.choice((b"&a=1" * 1200, b"&big=" + b"x" * FRAME_LIMIT))
        return body

    def json(self, good: dict[str, Any]) -> bytes:
        """A JSON body made bad, or not."""
        text = self.random.choice(self._ways)(dict(good)) if self.random.random() < 0.9 else json.dumps(good)
        return text.encode("utf-8", "surrogatepass")

    def text(self) -> str:
        return self.random.choice((*ODD_TEXTS, "9" * 400, "a" * 5000, json.dumps(self._good())))

    def _good(self) -> dict[str, Any]:
        return dict(self.random.choice(FRAMES))

    def _large(self, good: dict[str, Any]) -> str:
        name = self._name(good)
        return json.dumps({**good, name: ""}).replace('""', '"' + "word " * 12_000 + '"', 1)[: FRAME_LIMIT - 10]

    def _name(self, frame: dict[str, Any]) -> str:
        return self.random.choice(list(frame))

    # -- on the text

    def _damaged(self, frame: dict[str, Any]) -> str:
        """Some bits are flipped; what is no UTF-8 any more is another character."""
        return self._flipped(json.dumps(frame, ensure_ascii=False).encode()).decode("utf-8", "replace")

    def _flipped(self, data: bytes) -> bytes:
        flipped = bytearray(data)
        for _ in range(self.random.randint(1, 4)):
            if flipped:
                flipped[self.random.randrange(len(flipped))] ^= 1 << self.random.randrange(8)
        return bytes(flipped)

    def _cut(self, frame: dict[str, Any]) -> str:
        text = json.dumps(frame)
        return text[: self.random.randrange(len(text))]

    def _doubled(self, frame: dict[str, Any]) -> str:
        """A key stands twice, with another value the second time or the first."""
        name = self._name(frame)
        again = f'"{name}": {json.dumps(self.random.choice((*OTHERS, *ODD_TEXTS)))}'
        text = json.dumps(frame)
        return text[:-1] + ", " + again + "}" if self.random.random() < 0.5 else "{" + again + ", " + text[1:]

    def _nested(self, frame: dict[str, Any]) -> str:
        """A value, or the whole, stands in many lists or objects."""
        depth = self.random.choice((1, 10, 200, 990, 1020, 1030, 5000))
        opening, closing = self.random.choice((("[", "]"), ('{"a":', "}")))
        text = json.dumps(frame)
        if self.random.random() < 0.3:
            return opening * depth + text + closing * depth
        name, inner = self._name(frame), opening * depth + "1" + closing * depth
        if self.random.random() < 0.3:
            name, inner = "customParameters", f'{{"ticket": {inner}}}'
        return text[:-1] + f', "{name}": {inner}}}'

    def _no_json(self, frame: dict[str, Any]) -> str:
        value = frame.pop(name := self._name(frame))
        return json.dumps({**frame, name: value})[:-1] + f', "{name}": {self.random.choice(NO_JSON)}}}'

    # -- on the values

    def _dumped(self, change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], str]:
        def way(frame: dict[str, Any]) -> str:
            changed = change(frame)
            return json.dumps(frame if changed is None else changed, ensure_ascii=self.random.random() < 0.5)

        return way

    def _odd_value(self, frame: dict[str, Any]) -> None:
        frame[self._name(frame)] = self.random.choice(OTHERS)

    def _odd_text(self, frame: dict[str, Any]) -> None:
        frame[self._name(frame)] = self.random.choice(ODD_TEXTS)

    def _odd_number(self, frame: dict[str, Any]) -> None:
        frame[self._name(frame)] = self.random.choice(ODD_NUMBERS)

    def _fewer(self, frame: dict[str, Any]) -> None:
        for _ in range(self.random.randint(1, 2)):
            frame.pop(self._name(frame), None)
            if not frame:
                return

    def _more(self, frame: dict[str, Any]) -> None:
        """Fields of other frames, and of none."""
        frame.update({name: value for name, value in self._good().items() if name != "type"})
        frame[self.random.choice(ODD_TEXTS)] = self.random.choice(OTHERS)

    def _other_frame(self, frame: dict[str, Any]) -> Any:
        """Another type over these fields, or no object at all."""
        if self.random.random() < 0.3:
            return self.random.choice((*OTHERS, *ODD_TEXTS, [frame]))
        frame["type"] = self.random.choice(FRAMES)["type"]
        return frame

    # -- on the fields of a form

    def _change(self, fields: list[tuple[str, str]]) -> None:
        place = self.random.randrange(len(fields)) if fields else 0
        name, value = fields[place] if fields else ("CallSid", "")
        match self.random.randrange(6):
            case 0 if fields:
                del fields[place]
            case 1:
                fields.append((name, self.random.choice((value, self.text()))))
            case 2:
                fields.append((self.text()[:200], value))
            case 3 if fields:
                fields[place] = (name.swapcase(), value)
            case _ if fields:
                fields[place] = (name, self.text())
