"""The phone end against an app that speaks our side: real sockets, no wall clock."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from phone.caller import FAST, BadTwiml, Caller, CallRefused, Outcome, Pace
from phone.exchange import Exchange
from phone.record import Line
from phone.session import RECONNECTS
from relay.frames import (
    AgentSpeaking,
    ClientSpeaking,
    Dtmf,
    End,
    Incoming,
    Interrupt,
    Language,
    PeerError,
    Play,
    Prompt,
    SendDigits,
    Setup,
    Text,
    TokensPlayed,
)
from tests.calls.checks import Ear, shutting
from tests.fakes.echo_app import EchoApp, Wire, echo

REPLY = "First comes this sentence here. Then there is a second one, which is longer. And a third."


async def recite(wire: Wire, frame: Incoming) -> None:
    if isinstance(frame, Prompt) and frame.last:
        await wire.say(REPLY)


def call_to(app: EchoApp, **options: object) -> Caller:
    return Caller(app.url, pace=FAST, **options)  # type: ignore[arg-type]


# The call comes in


async def test_a_whole_call() -> None:
    """Greeting, a turn, hang-up: what was said and heard, and an action callback that says completed."""
    async with EchoApp(welcomeGreeting="Hello, how can I help?") as app:
        async with call_to(app) as call:
            assert await call.greeting_played() == "Hello, how can I help?"
            assert await call.say("hello")
            assert await call.reply() == "You said: hello."
            assert await call.hang_up() == Outcome("caller")
        assert call.transcript == [
            Line("agent", "Hello, how can I help?"),
            Line("caller", "hello"),
            Line("agent", "You said: hello."),
        ]
        assert app.close_codes == [1000]
        (fields,) = app.actions
        assert (fields["SessionStatus"], fields["CallStatus"]) == ("completed", "completed")
        assert fields["SessionId"] == app.setups[0].session_id
        assert "HandoffData" not in fields and "ErrorCode" not in fields
        assert call.record.faults == []


async def test_setup_carries_the_call_and_its_parameters() -> None:
    """The first frame of the socket is a setup of a ringing call, with the TwiML's parameters."""
    async with EchoApp() as app, call_to(app, from_="+15550001", to="+15550002", call_sid="CA" + "1" * 32) as call:
        await call.say("x")
        await call.reply()
        first = app.frames[0]
        assert isinstance(first, Setup)
        assert (first.from_, first.to, first.call_sid) == ("+15550001", "+15550002", "CA" + "1" * 32)
        assert (first.call_status, first.direction) == ("RINGING", "inbound")
        assert first.custom_parameters == {"ticket": "a & b"}


async def test_everything_is_signed_for_the_public_address() -> None:
    """Webhook, websocket and action are signed for the public URL, prefix included, and dialled at the local one."""
    public = "https://relay.example.com/prefix"
    async with EchoApp(public=public) as app:
        async with call_to(app, public_url=public, token="secret", agent="spa") as call:
            await call.say("x")
            await call.reply()
        (voice, socket, action) = app.requests
        check = RequestValidator("secret").validate
        signature = "X-Twilio-Signature"
        assert voice[0] == "/voice/incoming?agent=spa"
        assert check(f"{public}/voice/incoming?agent=spa", voice[2], voice[1][signature])
        lower = {name.lower(): value for name, value in socket[1].items()}
        assert check("wss://relay.example.com/prefix/voice/relay", {}, lower[signature.lower()])
        assert action[0] == "/voice/action?attempt=1"
        assert check(f"{public}/voice/action?attempt=1", action[2], action[1][signature])


async def test_no_token_no_signature() -> None:
    """Without a token nothing is signed; extra headers are sent as a proxy would send them."""
    async with EchoApp() as app:
        async with call_to(app, headers={"X-Forwarded-For": "203.0.113.9"}):
            pass
        assert all("x-twilio-signature" not in {name.lower() for name in headers} for _, headers, _ in app.requests)
        assert all(headers["X-Forwarded-For"] == "203.0.113.9" for _, headers, _ in app.requests)


@pytest.mark.parametrize(
    ("base", "public", "url", "dialled"),
    [
        (
            "http://127.0.0.1:8080",
            "https://a.example",
            "wss://a.example/voice/relay",
            "ws://127.0.0.1:8080/voice/relay",
        ),
        ("http://127.0.0.1:1", "https://a.example/p", "https://a.example/p/x?y=1", "http://127.0.0.1:1/x?y=1"),
        ("http://127.0.0.1:1", "", "wss://localhost:1/x", "ws://127.0.0.1:1/x"),
        ("https://a.example", "", "wss://a.example/x", "wss://a.example/x"),
        ("http://127.0.0.1:1", "https://a.example", "https://elsewhere.example/x", "https://elsewhere.example/x"),
        ("http://127.0.0.1:1", "https://a.example/p", "https://a.example/pq/x", "https://a.example/pq/x"),
    ],
)
async def test_addresses(base: str, public: str, url: str, dialled: str) -> None:
    """The app's own URLs are reached at the local address, others where they are."""
    assert Exchange(None, base, public).dialled(url) == dialled  # type: ignore[arg-type]


async def test_refusals() -> None:
    """A webhook or an upgrade that is refused raises with its status; an unusable document with Twilio's code."""
    async with EchoApp(voice_status=403) as app:
        with pytest.raises(CallRefused) as refused:
            await call_to(app).__aenter__()
        assert refused.value.status == 403
    async with EchoApp(relay_status=403) as app:
        with pytest.raises(CallRefused) as refused:
            await call_to(app).__aenter__()
        assert refused.value.status == 403
    async with EchoApp(interruptible="perhaps") as app:
        with pytest.raises(BadTwiml):
            await call_to(app).__aenter__()
    with pytest.raises(CallRefused) as refused:
        await Caller("http://127.0.0.1:9").__aenter__()
    assert refused.value.status == 0


async def test_a_document_without_a_session() -> None:
    """A call that is said something and dialled on at once has an outcome and no session."""
    async with EchoApp(document="<Say>Moved.</Say><Dial>+15550009</Dial>") as app, call_to(app) as call:
        assert call.outcome == Outcome("transfer", "+15550009")
        assert call.transcript == [Line("twilio", "Moved.")]


# Speech


async def test_info_frames_of_a_reply() -> None:
    """Speech is reported as on, a clause at a time, and off; the clauses are the reply."""
    async with EchoApp(recite) as app, call_to(app) as call:
        await call.say("go")
        assert await call.reply() == REPLY
        await call.hang_up()
        infos = [frame for frame in app.frames if isinstance(frame, AgentSpeaking | TokensPlayed)]
        assert infos == [
            AgentSpeaking(True),
            TokensPlayed("First comes this sentence here."),
            TokensPlayed("Then there is a second one,"),
            TokensPlayed("which is longer."),
            TokensPlayed("And a third."),
            AgentSpeaking(False),
        ]


async def test_only_subscribed_info_frames_are_sent() -> None:
    """Without events there is no info frame at all, with one of them only that."""
    for events, kinds in [("", set()), ("tokens-played", {TokensPlayed})]:
        async with EchoApp(events=events) as app, call_to(app) as call:
            await call.say("go")
            await call.reply()
            await call.hang_up()
            assert {type(f) for f in app.frames} - {Setup, Prompt} == kinds


async def test_speech_takes_its_time() -> None:
    """The first sound comes 0.32 s after the first token, and then 14 characters a second, divided by the speed."""
    now = 100.0
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        slept.append(seconds)
        await asyncio.sleep(0)

    async with EchoApp() as app, Caller(app.url, pace=Pace(clock=lambda: now, sleep=sleep, speed=2)) as call:
        await call.say("four")
        started = call.record.turn.asked
        await call.reply()
        assert now - started == pytest.approx((0.32 + len("You said: four.") / 14) / 2)


async def test_words_wait_until_they_are_whole() -> None:
    """A word is heard when white space follows or the cycle is closed; an open cycle keeps the line from being idle."""

    async def drip(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt):
            await wire.send(Text("Good"), Text(" mor"))
        if isinstance(frame, Dtmf):
            await wire.send(Text("ning", last=True))

    keys = {"dtmfDetection": "true", "reportInputDuringAgentSpeech": "dtmf"}
    async with EchoApp(drip, interruptible="none", **keys) as app, call_to(app) as call:  # type: ignore[arg-type]
        await call.say("x")
        turn = call.record.turn
        await call.until(lambda: turn.heard == "Good" and len(call.frames) == 2)
        assert call.speaking
        await call.press("1")
        await call.until(lambda: not call.speaking)
        assert turn.heard == "Good morning"


async def test_scripts_without_spaces_are_heard_by_characters() -> None:
    """Chinese is not one long word."""

    async def chinese(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt):
            await wire.say("你好世界朋友")

    async with EchoApp(chinese) as app, call_to(app) as call:
        cut = call.interrupt_after(2)
        await call.say("x")
        assert await cut
        assert call.record.interrupts == ["你好"]


async def test_digits_media_and_language() -> None:
    """Digits are reported when dialled, a recording delays what follows, a language changes the prompts' own."""

    async def mixed(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt):
            await wire.send(Play("https://a.example/a.mp3"), SendDigits("12w#"), Language("", "sv-SE"))
            await wire.say("Done.")

    async with EchoApp(mixed) as app, call_to(app) as call:
        await call.say("x")
        assert await call.reply() == "Done."
        await call.say("y")
        await call.hang_up()
        assert [u.kind for u in call.record.turns[1].utterances] == ["media", "digits", "speech"]
        assert TokensPlayed("12w#") in app.frames
        assert [f.lang for f in app.frames if isinstance(f, Prompt)] == ["en-US", "sv-SE"]


# Interrupts


async def test_an_interrupt_to_the_word() -> None:
    """Talking over speech: on, the fragment heard, the interrupt of that segment, off; the rest is never played."""
    async with EchoApp(recite) as app, call_to(app) as call:
        cut = call.interrupt_after(7, "stop")
        await call.say("go")
        assert await cut
        assert await call.reply() == REPLY
        await call.hang_up()
        start = app.frames.index(TokensPlayed("First comes this sentence here."))
        assert app.frames[start + 1 : start + 7] == [
            ClientSpeaking(True),
            TokensPlayed("Then there"),
            Interrupt("Then there", round(len(" Then there") / 14 * 1000)),
            AgentSpeaking(False),
            ClientSpeaking(False),
            Prompt("stop", "en-US"),
        ]
        assert call.record.interrupts == ["First comes this sentence here. Then there"]
        assert call.transcript[:3] == [
            Line("caller", "go"),
            Line("agent", "First comes this sentence here. Then there", cut=True),
            Line("caller", "stop"),
        ]


async def test_cumulative_scope_and_a_word_cut_short() -> None:
    """With cumulative scope an interrupt reports the whole cycle so far; letters of the next word may be in it."""
    async with EchoApp(recite) as app, call_to(app, cumulative=True) as call:
        cut = call.interrupt_after(7, letters=3)
        await call.say("go")
        assert await cut
        await call.hang_up()
        (interrupt,) = [f for f in app.frames if isinstance(f, Interrupt)]
        assert interrupt.utterance_until_interrupt == "First comes this sentence here. Then there is"
        assert call.record.interrupts == ["First comes this sentence here. Then there"]


async def test_an_interrupt_before_the_first_word() -> None:
    """After no word at all the interrupt is empty and nothing was heard."""
    async with EchoApp(recite) as app, call_to(app) as call:
        cut = call.interrupt_after(0)
        await call.say("go")
        assert await cut
        await call.hang_up()
        assert [f for f in app.frames if isinstance(f, Interrupt)] == [Interrupt("", 0)]
        assert not any(isinstance(f, TokensPlayed) for f in app.frames)


async def test_a_reply_shorter_than_the_interrupt() -> None:
    """When the agent is silent before the words are up, the caller speaks all the same, without an interrupt."""
    async with EchoApp() as app, call_to(app) as call:
        cut = call.interrupt_after(50, "stop")
        await call.say("go")
        assert not await cut
        assert await call.reply() == "You said: stop."
        assert not any(isinstance(f, Interrupt) for f in app.frames)


async def test_the_greeting_has_its_own_rule() -> None:
    """welcomeGreetingInterruptible decides over the greeting, interruptible over the rest."""
    text = "One two three four."
    async with EchoApp(welcomeGreeting=text, welcomeGreetingInterruptible="none") as app, call_to(app) as call:
        assert not await call.interrupt_after(2)
        assert await call.greeting_played() == "One two three four."
    async with EchoApp(welcomeGreeting=text, interruptible="none") as app, call_to(app) as call:
        assert await call.interrupt_after(2)
        assert await call.greeting_played() == "One two"


async def test_speech_that_may_not_be_interrupted() -> None:
    """The words reach the app only if it asked for input during speech; playing goes on either way."""
    for reported, prompts in [("none", ["go"]), ("speech", ["go", "stop"])]:
        async with EchoApp(recite, interruptible="none", reportInputDuringAgentSpeech=reported) as app:
            async with call_to(app) as call:
                cut = call.interrupt_after(2, "stop")
                await call.say("go")
                assert not await cut
                await call.until(lambda: not call.speaking and call.record.turns[1].heard == REPLY)
                await call.hang_up()
            assert [f.voice_prompt for f in app.frames if isinstance(f, Prompt)] == prompts
            assert not any(isinstance(f, Interrupt) for f in app.frames)


async def test_a_frame_may_forbid_the_interrupt() -> None:
    """The flag of a text frame overrides the attribute."""

    async def guarded(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt):
            await wire.send(Text("Not this part. ", interruptible=False), Text("But this one.", last=True))

    async with EchoApp(guarded) as app, call_to(app) as call:
        cut = call.interrupt_after(1)
        await call.say("go")
        assert not await cut
        cut = call.interrupt_after(4)
        await call.say("go")
        assert await cut


async def test_everything_queued_is_dropped() -> None:
    """An interrupt also drops talk cycles behind the one being played; what is sent afterwards is played."""

    async def two(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt):
            await wire.say("One one one.")
            await wire.say("Two two two.")
        if isinstance(frame, Interrupt):
            await wire.say("Three.")

    async with EchoApp(two) as app, call_to(app) as call:
        cut = call.interrupt_after(1)
        await call.say("go")
        assert await cut
        await call.until(lambda: call.record.turn.heard.endswith("Three."))
        assert call.record.turn.heard == "One Three."


async def test_partial_prompts() -> None:
    """With partialPrompts the words come as they grow, and once more as the final prompt."""
    async with EchoApp(partialPrompts="true") as app, call_to(app) as call:
        await call.say("one two")
        await call.reply()
        assert [(f.voice_prompt, f.last) for f in app.frames if isinstance(f, Prompt)] == [
            ("one", False),
            ("one two", False),
            ("one two", True),
        ]


# Preemption


async def test_a_preemptible_message_is_cut_by_the_next() -> None:
    """The next talk cycle cuts it without an interrupt frame; the fragment is reported."""

    starts: list[Incoming] = []

    async def filler(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt):
            await wire.send(Text("One moment please while I look", preemptible=True), Text("", last=True))
        if frame == AgentSpeaking(True):
            starts.append(frame)
            if len(starts) == 1:
                await wire.say("Here it is.")

    gate = asyncio.Event()
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        if now > 1.4:
            await asyncio.wait_for(gate.wait(), 20)
        await asyncio.sleep(0)

    async with EchoApp(filler) as app, Caller(app.url, pace=Pace(clock=lambda: now, sleep=sleep)) as call:
        await call.say("go")
        turn = call.record.turn
        await call.until(lambda: len(turn.utterances) == 2)
        gate.set()
        await call.until(lambda: turn.heard.endswith("Here it is."))
        await call.hang_up()
        first, second = turn.utterances
        assert (first.cut, second.cut) == ("preempt", "")
        assert first.heard and "One moment please while I look".startswith(first.heard)
        assert TokensPlayed(first.heard) in app.frames
        assert second.begun is not None and second.begun - second.received >= 2.0
        assert not any(isinstance(f, Interrupt) for f in app.frames)


# Keys


async def test_keys() -> None:
    """Without dtmfDetection keys are not told; with it, one frame a key."""
    async with EchoApp() as app, call_to(app) as call:
        assert await call.press("5") == 0
    async with EchoApp(dtmfDetection="true") as app:
        async with call_to(app) as call:
            assert await call.press("1*#") == 3
        assert [f for f in app.frames if isinstance(f, Dtmf)] == [Dtmf("1"), Dtmf("*"), Dtmf("#")]
        assert call.record.turn.said == "#1*#"


@pytest.mark.parametrize("key_first", [False, True])
async def test_a_key_interrupts(key_first: bool) -> None:
    """A key over speech stops it and is told in either order."""

    async def hold(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt):
            await wire.send(Text("Some words "))

    async with EchoApp(hold, dtmfDetection="true", interruptible="dtmf") as app:
        async with call_to(app, key_first=key_first) as call:
            await call.say("go")
            turn = call.record.turn
            await call.until(lambda: turn.heard == "Some words")
            assert await call.press("5") == 1
        tail = [f for f in app.frames if isinstance(f, Dtmf | Interrupt)]
        expected = [Interrupt("Some words", 714), Dtmf("5")]
        assert tail == (expected[::-1] if key_first else expected)


@pytest.mark.parametrize(("reported", "told"), [("none", 0), ("dtmf", 1), ("speech", 0)])
async def test_a_key_over_speech_that_goes_on(reported: str, told: int) -> None:
    """Where a key does not interrupt it is told only if input during speech is."""

    async def hold(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt):
            await wire.send(Text("Some words "))

    async with (
        EchoApp(hold, dtmfDetection="true", interruptible="speech", reportInputDuringAgentSpeech=reported) as app,
        call_to(app) as call,
    ):
        await call.say("go")
        await call.until(lambda: call.speaking)
        assert await call.press("5") == told
        assert call.speaking


# Ends


async def test_end_and_a_transfer() -> None:
    """end closes with 1000, hands its data to the action callback, and the Dial in the answer is the outcome."""
    data = json.dumps({"reasonCode": "live-agent-handoff"})

    async def hand_over(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt):
            await wire.send(End(data))

    async with EchoApp(hand_over, answers=("<Say>Hold on.</Say><Dial>+15550009</Dial>",)) as app:
        async with call_to(app) as call:
            await call.say("a person please")
            assert await call.ended() == Outcome("transfer", "+15550009", data)
        assert app.close_codes == [1000]
        assert (app.actions[0]["SessionStatus"], app.actions[0]["HandoffData"]) == ("ended", data)
        assert app.actions[0]["CallStatus"] == "in-progress"
        assert call.transcript[-1] == Line("twilio", "Hold on.")


async def test_end_drops_what_was_not_played() -> None:
    """Words sent and not yet heard when end comes are lost, and recorded as such."""

    async def rash(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt):
            await wire.send(Text("Goodbye", last=True), End())

    async with EchoApp(rash) as app, Caller(app.url) as call:
        await call.say("bye")
        assert (await call.ended()).how == "agent"
        assert call.record.unplayed_at_end == "Goodbye"


async def test_a_lost_connection_is_taken_up_again() -> None:
    """A drop calls the action with failed; a new Connect makes a new session of the same call, now in progress."""
    async with EchoApp(answers=("connect", "<Hangup/>")) as app:
        async with call_to(app) as call:
            await call.say("one")
            await call.reply()
            assert await call.drop() is None
            await call.say("two")
            assert await call.reply() == "You said: two."
            outcome = await call.drop()
            assert outcome is not None and (outcome.how, outcome.error) == ("lost", "64105 Websocket ended")
        first, second = app.setups
        assert first.session_id != second.session_id and first.call_sid == second.call_sid
        assert (first.call_status, second.call_status) == ("RINGING", "IN_PROGRESS")
        fields = app.actions[0]
        assert (fields["SessionStatus"], fields["ErrorCode"], fields["CallStatus"]) == (
            "failed",
            "64105",
            "in-progress",
        )


async def test_a_socket_the_app_closes_is_a_lost_one() -> None:
    """Closing instead of sending end fails the session; the code is recorded."""

    async def leave(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt):
            await wire.socket.close(code=1008)

    async with EchoApp(leave, action=False) as app, call_to(app) as call:
        await call.say("x")
        assert (await call.ended()).how == "lost"
        assert call.record.close_codes == [1008]


async def test_reconnecting_a_session() -> None:
    """applicationReconnect: another socket of the same session, setup again, then what is told again; no callback."""
    async with EchoApp() as app, call_to(app) as call:
        await call.say("one")
        await call.reply()
        told = next(len(call.record.sent) - at for at, (_, it) in enumerate(call.record.sent) if isinstance(it, Prompt))
        await call.reconnect(again=told)
        await call.until(lambda: len(call.frames) == 2)
        assert app.setups[0] == app.setups[1]
        assert app.actions == []
        assert [turn.said for turn in call.record.turns] == ["", "one"]


async def test_a_session_without_a_socket() -> None:
    """What was given to say is played on, and what happens meanwhile is told on the next socket, in order."""
    ear = Ear()
    async with EchoApp() as app, Caller(app.url, pace=ear.pace, listen=shutting(ear, 1)) as call:
        await call.say("one")
        await call.until(lambda: call.record.turn.heard == "You")
        async with call.offline():
            assert call.record.close_codes == [1006]
            ear.open()
            assert await call.reply() == "You said: one."
            await call.say("two")
            assert app.frames[-1] == AgentSpeaking(True)
        await call.reply()
        told = [frame for frame in app.frames if not isinstance(frame, ClientSpeaking)]
        told = told[told.index(Prompt("one", "en-US")) : told.index(Prompt("two", "en-US")) + 1]
        assert told == [
            Prompt("one", "en-US"),
            AgentSpeaking(True),
            app.setups[0],
            TokensPlayed("You said:"),
            TokensPlayed("one."),
            AgentSpeaking(False),
            Prompt("two", "en-US"),
        ]


async def test_an_app_that_stays_away() -> None:
    """After some sockets in vain the session is lost, and the action callback tells."""

    async def leave(wire: Wire, frame: Incoming) -> None:
        await wire.socket.close(code=1011)

    async with EchoApp(leave, applicationReconnect="true", action=False) as app, call_to(app) as call:
        outcome = await call.ended()
        assert (outcome.how, len(app.setups)) == ("lost", 1 + RECONNECTS)


async def test_redirects_are_followed() -> None:
    """A Redirect in the answer is fetched, signed like any webhook."""
    document, answers = "<Redirect>/voice/action</Redirect>", ("<Dial>+15550003</Dial>",)
    async with EchoApp(document=document, answers=answers) as app, call_to(app) as call:
        assert call.outcome == Outcome("transfer", "+15550003")
    async with EchoApp(document="<Redirect>/voice/incoming</Redirect>") as app, call_to(app) as call:
        assert call.outcome is not None and call.outcome.how == "lost"


# Faults


async def test_malformed_frames_are_reported_and_the_tenth_ends_the_session() -> None:
    """Nine bad frames are answered with 64107, a good one clears the count, ten in a row close with 1007."""

    async def babble(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt):
            await wire.send(*['{"type":"text"}'] * 8, b"binary", Text("Good.", last=True))
        if isinstance(frame, Dtmf):
            await wire.send(*["nonsense"] * 10)

    async with EchoApp(babble, dtmfDetection="true", action=False) as app:
        async with call_to(app) as call:
            await call.say("x")
            assert await call.reply() == "Good."
            assert len(call.record.faults) == 9
            await call.press("1")
            assert (await call.ended()).how == "lost"
        errors = [f for f in app.frames if isinstance(f, PeerError)]
        assert len(errors) == 18 and all(f.code == 64107 for f in errors)
        assert call.record.close_codes == [1007] and app.close_codes == [1007]


async def test_a_ghost_is_seen() -> None:
    """Text of a cut cycle that is sent after the interrupt was read is a ghost; the closing frame is none."""

    async def stubborn(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt) and frame.voice_prompt == "go":
            await wire.send(Text("One two three four "))
        elif isinstance(frame, Prompt):
            await wire.send(Text("five "), Text("", last=True))
            await wire.say("Yes?")

    async with EchoApp(stubborn) as app, call_to(app) as call:
        cut = call.interrupt_after(2, "stop")
        await call.say("go")
        assert await cut
        await call.until(lambda: call.record.turn.heard.endswith("Yes?"))
        (ghost,) = call.record.ghosts
        assert ghost.frame == Text("five ")
        assert call.record.stray_closings == 0
        closed = call.record.received[-1]
        assert call.record.turn.first_words == closed.at


async def test_a_closing_frame_without_a_cycle_is_counted() -> None:
    """An empty last frame while no talk cycle is open is stray."""

    async def stray(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt):
            await wire.say("Yes.")
            await wire.send(Text("", last=True))

    async with EchoApp(stray) as app, call_to(app) as call:
        await call.say("x")
        await call.until(lambda: len(call.frames) == 2)
        assert call.record.stray_closings == 1


async def test_raw_frames_and_expected_ones() -> None:
    """send writes anything; expect returns the app's next frame of a type, each once."""
    async with EchoApp() as app, call_to(app) as call:
        await call.send('{"type":"prompt","voicePrompt":"a","last":true}')
        await call.send(Prompt("b", "en-US"))
        assert (await call.expect(Text)).token == "You said: a."
        assert (await call.expect(Text)).token == "You said: b."
        with pytest.raises(TimeoutError):
            await call.expect(End, timeout=0.05)


@given(
    words=st.lists(st.text("abcdefgh.,", min_size=1, max_size=6), min_size=1, max_size=12),
    stop=st.integers(0, 12),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=5),
)
def test_heard_words_are_what_was_played(words: list[str], stop: int, sizes: list[int]) -> None:
    """However a reply is cut into frames: the clauses reported are the words heard, and those stop at the interrupt."""
    text = " ".join(words)

    async def shred(wire: Wire, frame: Incoming) -> None:
        if isinstance(frame, Prompt) and frame.voice_prompt == "go":
            position, turn = 0, 0
            while position < len(text):
                size = sizes[turn % len(sizes)]
                await wire.send(Text(text[position : position + size]))
                position, turn = position + size, turn + 1
            await wire.send(Text("", last=True))
        elif isinstance(frame, Prompt):
            await echo(wire, frame)

    async def check() -> None:
        async with EchoApp(shred) as app, call_to(app) as call:
            cut = call.interrupt_after(stop)
            await call.say("go")
            turn = call.record.turn
            stopped = await cut
            await call.until(lambda: not call.speaking)
            await call.hang_up()
            assert stopped == (stop <= len(words))
            assert turn.heard == " ".join(words[:stop] if stopped else words)
            played = " ".join(f.text for f in app.frames if isinstance(f, TokensPlayed))
            assert played == turn.heard

    asyncio.run(check())
