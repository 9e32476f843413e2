"""Twilio's side of a call, over real sockets: for people, tests, load and benchmarks.

    async with Caller("http://127.0.0.1:8080", pace=FAST) as call:
        await call.greeting_played()
        await call.say("hello")
        print(await call.reply())
        await call.hang_up()

Does what Twilio does, in its order: the signed voice webhook, its TwiML, the signed websocket, ``setup``, the greeting,
speech at the rate of speech, ``info`` frames where subscribed, interrupts, keys, the action callback and what its TwiML
says. Source: Twilio's ConversationRelay pages and live recordings of its frames; where they leave a choice (the scope
of ``utteranceUntilInterrupt``, the order of a key and its interrupt) it is an argument.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4

import aiohttp

from phone.exchange import CallRefused, Exchange
from phone.playback import Pace, Sprung
from phone.record import Ending, Event, Line, Notice, Outcome, Record, Said, Turn
from phone.session import Session
from phone.twiml import BadTwiml, ConversationRelay
from phone.webhooks import Webhooks
from relay.frames import ClientSpeaking, Dtmf, Incoming, Outgoing, Prompt, Setup

FAST = Pace(speed=math.inf)
"""Nothing waits: for tests. What is heard depends on words alone."""

F = TypeVar("F", bound=Outgoing)


class Caller:
    """A phone call to an app. One task serves its sockets from entering the context until the call is over.

    base_url: where the app listens. public_url and token: what requests are signed for and with; no token, no
    signature. cumulative: an interrupt reports the whole talk cycle so far instead of the clause being played.
    key_first: a key that interrupts is sent before the ``interrupt`` instead of after it. person: what becomes of a
    call to a person, as Twilio's DialCallStatus. outbound: the app has placed the call, from ``from_``. headers: sent
    with every request, as a proxy might. http: a client session shared by several callers. listen: told of every word
    as it is heard. ``record`` holds everything that happened.

    Entering raises CallRefused or BadTwiml if the app does not take the call; leaving hangs up if nobody has. Waiting
    methods raise TimeoutError, and may be cancelled at any time without harm to the call. What acts on the session
    raises ConnectionError when there is none.
    """

    def __init__(
        self,
        base_url: str,
        *,
        agent: str = "",
        path: str = "/voice/incoming",
        public_url: str = "",
        token: str = "",
        account_sid: str = "AC" + "0" * 32,
        call_sid: str = "",
        from_: str = "+15555550100",
        to: str = "+15555550199",
        pace: Pace | None = None,
        cumulative: bool = False,
        key_first: bool = False,
        person: str = "completed",
        outbound: bool = False,
        headers: Mapping[str, str] | None = None,
        http: aiohttp.ClientSession | None = None,
        listen: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self._base_url, self._public_url, self._token, self._headers = base_url, public_url, token, headers or {}
        self._voice_path = path + (f"?agent={quote(agent, safe='')}" if agent else "")
        self._account_sid, self._from, self._to = account_sid, from_, to
        self._pace = pace or Pace()
        self._cumulative = cumulative
        self._key_first = key_first
        self._person, self._outbound = person, outbound
        self._http = http
        self._own_http = http is None
        self._listen = listen
        self._session: Session | None = None
        self._serving: asyncio.Task[None] | None = None
        self._talking: set[asyncio.Task[bool]] = set()
        self._pulse = asyncio.Event()
        self._taken = 0
        self.outcome: Outcome | None = None
        self.record = Record([Turn("", self._pace.clock())], call_sid or "CA" + uuid4().hex)

    # What is known

    @property
    def frames(self) -> list[Outgoing]:
        """The valid frames the app sent, in order."""
        return [received.frame for received in self.record.received]

    @property
    def transcript(self) -> list[Line]:
        """What was said and heard, line by line."""
        return self.record.transcript

    @property
    def speaking(self) -> bool:
        """The agent is being heard right now."""
        return self._session is not None and self._session.player.speaking

    @property
    def session(self) -> Session:
        if self._session is None:
            raise ConnectionError("the call has no session")
        return self._session

    @property
    def answering(self) -> str:
        """The agent that took the call, as far as the relay's action URL tells; "" where it does not."""
        action = self._session.relay.action if self._session is not None else ""
        return "".join(parse_qs(urlsplit(action).query).get("agent", [])[:1])

    # What a caller does

    async def say(self, text: str, *, seconds: float = 0.0) -> bool:
        """Says something; over speech that may be interrupted this interrupts it. ``seconds`` are spent talking first.
        Returns False if the words never reached the app: it was speaking and asked not to be told."""
        session = self.session
        await session.player.barge_in("speech", before=[ClientSpeaking(True)])
        return await self._finish_saying(session, text, seconds)

    async def _finish_saying(self, session: Session, text: str, seconds: float = 0.0) -> bool:
        told = not session.player.speaking or session.reported in ("speech", "any")
        words = text.split()
        lang = session.lang
        for number in range(1, len(words) + 1):
            await self.wait(seconds / len(words))
            if told and session.relay.flag("partialPrompts"):
                await session.write([Prompt(" ".join(words[:number]), lang, last=False)])
        if words:
            self.record.story.append(Line("caller", text))
            self._listen(Said(text))
        await session.write([ClientSpeaking(False), *([Prompt(text, lang)] if told and words else [])])
        return told

    def interrupt_after(
        self, words: int, say: str = "", *, letters: int = 0, timeout: float = 15.0
    ) -> asyncio.Task[bool]:
        """Talks over the agent after it was heard to say ``words`` more words, 0 at its first sound; then says ``say``,
        or nothing. ``letters`` of the next word are reported as heard too.

        Set before this returns, so that a reply not yet asked for is stopped to the word. The task's result tells
        whether speech stopped; if the agent fell silent earlier the words are said all the same.
        """
        session = self.session
        sprung = session.player.set_trap(words, letters)
        return self._spawn(self._talk_over(session, sprung, say, timeout))

    async def _talk_over(self, session: Session, sprung: asyncio.Future[Sprung], say: str, timeout: float) -> bool:
        async with asyncio.timeout(timeout):
            how = await sprung
        if how == "silent":
            await session.player.barge_in("speech", before=[ClientSpeaking(True)])
        await self._finish_saying(session, say)
        return how == "stopped"

    async def press(self, keys: str) -> int:
        """Presses keys, 0.2 s apart. Returns how many of them the app was told of."""
        session, told = self.session, 0
        self._listen(Said("#" + keys))
        for key in keys:
            self.record.story.append(Line("keys", key))
            if not session.relay.flag("dtmfDetection"):
                continue
            if session.player.stops_at("dtmf"):
                first, last = ([Dtmf(key)], []) if self._key_first else ([], [Dtmf(key)])
                await session.player.barge_in("dtmf", before=first)
                await session.write(last)
            elif not session.player.speaking or session.reported in ("dtmf", "any"):
                await session.write([Dtmf(key)])
            else:
                continue
            told += 1
            await self.wait(0.2)
        return told

    async def send(self, frame: Incoming | str | bytes) -> None:
        """Writes one frame as it is, or raw text or bytes, whatever the phone is doing."""
        if isinstance(frame, str | bytes):
            await self.session.write_raw(frame)
        else:
            await self.session.write([frame])

    async def hang_up(self, *, timeout: float = 20.0) -> Outcome:
        """Hangs up and waits for the action callback to be answered. Nothing new if the call is over."""
        await self.until(lambda: self.outcome is not None or self._session is not None, timeout)
        if self._session is not None:
            await self._session.close(Ending("completed"))
        return await self.ended(timeout)

    async def drop(self, *, timeout: float = 20.0) -> Outcome | None:
        """Loses the connection abruptly and follows the action callback: returns how the call ended, or None if the
        app took it up again in a new session."""
        count = len(self.record.session_ids)
        self.session.abort()
        await self.until(lambda: self.outcome is not None or len(self.record.session_ids) > count, timeout)
        return self.outcome

    async def reconnect(self, again: int = 0, *, timeout: float = 20.0) -> None:
        """Loses the connection and opens another for the same session, as ``offline``."""
        async with self.offline(again, timeout=timeout):
            pass

    @asynccontextmanager
    async def offline(self, again: int = 0, *, timeout: float = 20.0) -> AsyncIterator[None]:
        """The session has no socket inside, and another one behind it, as with ``applicationReconnect``: ``setup``
        again, the last ``again`` of the events that were told, and what has happened inside."""
        session, count = self.session, len(self.record.close_codes)
        await session.cut_line(again)
        await self.until(lambda: len(self.record.close_codes) > count, timeout)
        yield
        async with asyncio.timeout(timeout):
            await session.mend_line()

    # What a caller waits for

    async def until(self, condition: Callable[[], object], timeout: float = 15.0) -> None:
        """Waits for a condition on the call; it is asked whenever anything has happened."""
        async with asyncio.timeout(timeout):
            while not condition():
                if self._serving is not None and self._serving.done() and not self._serving.cancelled():
                    self._serving.result()
                await self._pulse.wait()

    async def greeting_played(self, timeout: float = 15.0) -> str:
        """Waits until the welcome greeting is over, or the call. Returns what was heard of it, "" without one."""
        greetings = [u for u in self.record.turns[0].utterances if u.kind == "greeting"]
        await self.until(
            lambda: self.outcome is not None or (all(u.over for u in greetings) and not self.speaking), timeout
        )
        return " ".join(u.heard for u in greetings)

    async def reply(self, timeout: float = 15.0, *, settle: float = 0.0) -> str:
        """Waits until the agent has been heard in this turn and is silent, for ``settle`` seconds of the clock with
        nothing new, or until the call is over. Returns the words heard in this turn."""
        async with asyncio.timeout(timeout):
            while True:
                await self.until(self._answered, timeout)
                seen = len(self.record.received)
                if settle and self.outcome is None:
                    await self._pace.sleep(settle)
                if self.outcome is not None or (len(self.record.received) == seen and self._answered()):
                    return self.record.turn.heard

    def _answered(self) -> bool:
        if self.outcome is not None:
            return True
        return self._session is not None and self._session.player.silent and bool(self.record.turn.heard)

    async def expect(self, kind: type[F], timeout: float = 15.0) -> F:
        """The next frame of a type the app sent, after the one returned last; those between are skipped."""
        found: list[tuple[int, F]] = []

        def arrived() -> bool:
            received = self.record.received
            for index in range(self._taken, len(received)):
                frame = received[index].frame
                if isinstance(frame, kind):
                    found.append((index + 1, frame))
                    return True
            return False

        await self.until(arrived, timeout)
        self._taken, frame = found[0]
        return frame

    async def ended(self, timeout: float = 15.0) -> Outcome:
        """Waits until the call is over."""
        await self.until(lambda: self.outcome is not None, timeout)
        assert self.outcome is not None
        return self.outcome

    async def wait(self, seconds: float) -> None:
        """Lets so many seconds of the call pass; fewer on the clock when the pace is sped up."""
        await self._pace.wait(seconds)

    # The life of a call

    async def __aenter__(self) -> Self:
        if self._http is None:
            self._http = aiohttp.ClientSession()
        self._exchange = Exchange(self._http, self._base_url, self._public_url, self._token, self._headers)
        self._webhooks = Webhooks(
            self._exchange,
            self.record,
            self._pace,
            self._voice_path,
            self._account_sid,
            self._from,
            self._to,
            self._listen,
            self._person,
            self._outbound,
        )
        try:
            following = await self._webhooks.incoming()
            if isinstance(following, Outcome):
                self.outcome = following
            else:
                session = await self._open(following, "IN_PROGRESS" if self._outbound else "RINGING")
                self._serving = asyncio.create_task(self._serve(session), name="caller")
                self._serving.add_done_callback(lambda task: self._changed())
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.outcome is None and kind is None:
                await self.hang_up()
        finally:
            await self._close()

    async def _close(self) -> None:
        tasks: list[asyncio.Task[Any]] = [*self._talking]
        if self._serving is not None:
            tasks.append(self._serving)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._session is not None:
            self._session.abort()
        if self._own_http and self._http is not None:
            await self._http.close()

    async def _serve(self, session: Session) -> None:
        while True:
            ending = await session.run()
            self._session = None
            self._changed()
            relay, session_id, opened = session.relay, session.session_id, session.opened
            while True:
                following = await self._webhooks.action(relay, session_id, opened, ending)
                if isinstance(following, Outcome):
                    self.outcome = following
                    return
                try:
                    session = await self._open(following, "IN_PROGRESS")
                except CallRefused as error:
                    # That was a session, too, with an action of its own.
                    relay, session_id, opened = following, "VX" + uuid4().hex, self._pace.clock()
                    ending = Ending("failed", error_code="64102", error_message=str(error))
                else:
                    break
            self._listen(Notice("the call was taken up again"))

    async def _open(self, relay: ConversationRelay, status: str) -> Session:
        setup = Setup(
            session_id="VX" + uuid4().hex,
            call_sid=self.record.call_sid,
            account_sid=self._account_sid,
            from_=self._from,
            to=self._to,
            direction="outbound-api" if self._outbound else "inbound",
            call_status=status,
            call_type="PSTN",
            custom_parameters=relay.parameters,
        )
        session = self._session = Session(
            await self._exchange.open(relay.url),
            relay,
            setup,
            self.record,
            self._pace,
            dial=lambda: self._exchange.open(relay.url),
            cumulative=self._cumulative,
            listen=self._listen,
            changed=self._changed,
        )
        session.greet()
        await session.begin()
        return session

    def _spawn(self, coroutine: Coroutine[Any, Any, bool]) -> asyncio.Task[bool]:
        task = asyncio.create_task(coroutine, name="talk over")
        self._talking.add(task)
        task.add_done_callback(self._talking.discard)
        return task

    def _changed(self) -> None:
        self._pulse.set()
        self._pulse = asyncio.Event()


__all__ = ["FAST", "BadTwiml", "CallRefused", "Caller", "Outcome", "Pace"]
