"""The parts of ``relay bench`` against small servers: who is called how, what is counted, and what a ghost is."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import time
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.warm import make_certificate
from phone.bench.caller import Answered, Plan, Tally
from phone.bench.door import Door
from phone.bench.endpoint import Behaviour, Counts, Endpoint, Script
from phone.bench.failed import BenchFailed
from phone.bench.lag import Lag
from phone.bench.result import doubts, result_of
from phone.bench.run import Bench, Measured, Watched
from phone.bench.words import clocked, heard, stamp
from phone.driven import NotDriven
from phone.endpoint.dialog import Entry
from phone.endpoint.strain import Delay
from phone.model import Ask
from phone.signing import HEADER, sign
from relay.frames import Incoming, Interrupt, Prompt, Text
from tests.fakes.echo_app import Behave, EchoApp, Wire, echo

PLAN = Plan(calls=2, seconds=0.6, think=Delay(0.01), interrupt_rate=0.0, tokens=4, seed=1)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def measure(door: Door, plan: Plan = PLAN, endpoint: Endpoint | None = None) -> Measured:
    async with asyncio.timeout(20):
        return await Bench(plan, door, endpoint=endpoint, tell=lambda done, note: None).run()


def by_socket(app: EchoApp) -> str:
    return app.url.replace("http", "ws", 1) + "/voice/relay"


# -- clocks in words


@given(st.floats(0, 1e9), st.floats(0, 60), st.floats(0, 10))
def test_a_word_brings_its_own_times_back(read: float, model: float, way: float) -> None:
    """The model's time and the word's way are as long as they were, also across the digits' beginning anew."""
    text = stamp(clocked(7, 3, read).encode(), model).decode()
    (word,) = heard(f"so {text}, then")
    assert (word.turn, word.place) == (7, 3)
    assert word.model == pytest.approx(model, abs=2e-6)
    assert word.asked(read + model + way) == pytest.approx(model + way, abs=2e-6)
    assert word.age(read + model + way) == pytest.approx(way, abs=4e-6)
    assert heard("t7w3 an answer without clocks") == []


def ask(*entries: tuple[str, str]) -> Ask:
    said = tuple(Entry(kind, text) for kind, text in entries)  # type: ignore[arg-type]
    return Ask("chat", "any", True, said, frozenset(), "auto", False, False, {}, 0)


def test_the_endpoint_goes_on_where_an_answer_was_cut() -> None:
    """A request whose turn has spoken words is answered by the words behind them, any other from the first."""
    behaviour = Behaviour(Script(tokens=4))

    def places(*entries: tuple[str, str]) -> list[int]:
        return [word.place for word in heard(stamp("".join(behaviour(ask(*entries)).text).encode(), 1.0).decode())]

    assert places(("user", "number 12")) == [0, 1, 2, 3]
    assert places(("user", "number 12"), ("assistant", f"{clocked(12, 0, 0)} {clocked(12, 1, 0)}")) == [2, 3]


def test_the_endpoint_draws_the_same_for_the_same_seed() -> None:
    """Delays and faults come from the seed alone, and each fault is counted by its name."""

    def drawn(seed: int) -> tuple[list[tuple[float, object]], dict[str, int]]:
        behaviour = Behaviour(
            Script(first="0.2:0.5", faults=dict.fromkeys(("late", "stall", "cut", "error"), 0.2), seed=seed)
        )
        replies = [behaviour(ask(("user", "1"))) for _ in range(50)]
        return [(reply.first, reply.fault) for reply in replies], dict(behaviour.faults)

    assert drawn(3) == drawn(3) != drawn(4)
    assert set(drawn(3)[1]) == {"late", "stall", "cut", "error"}


# -- the way in


async def test_a_webhook_is_called_as_twilio_calls_it(http: aiohttp.ClientSession) -> None:
    """Signed form, signed handshake at the public address, the TwiML's parameters in setup, the callback at the end;
    each call has its own sid and number."""
    public = "https://relay.example.com"
    async with EchoApp(public=public) as app:
        door = Door(app.url + "/voice/incoming?agent=spa", http, public_url=public, token="secret")
        measured = await measure(door)
        setups, actions, requests = app.setups, app.actions, app.requests
    assert measured.opened == 2 == len({setup.call_sid for setup in setups}) == len({setup.from_ for setup in setups})
    assert all(setup.custom_parameters == {"ticket": "a & b"} for setup in setups)
    assert [fields["SessionStatus"] for fields in actions] == ["completed"] * 2
    for path, headers, fields in requests:
        scheme = "wss" if path == "/voice/relay" else "https"
        assert headers[HEADER] == sign("secret", f"{scheme}://relay.example.com{path}", fields)


async def test_a_websocket_is_opened_with_setup_alone(http: aiohttp.ClientSession) -> None:
    """A ws URL needs no webhook; the handshake is signed for the public address when there is one."""
    async with EchoApp() as app:
        measured = await measure(Door(by_socket(app), http, public_url="https://there.example", token="secret"))
        paths = {path for path, _, _ in app.requests}
        signatures = {headers[HEADER] for _, headers, _ in app.requests}
    assert measured.tally.answered and paths == {"/voice/relay"}
    assert signatures == {sign("secret", "wss://there.example/voice/relay")}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_a_websocket_may_be_encrypted(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    """wss is spoken, and a certificate nobody knows is a sentence."""
    make_certificate(tmp_path)
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    theirs.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    ours.load_verify_locations(tmp_path / "cert.pem")
    app = EchoApp()
    app.server.scheme = "https"
    await app.server.start_server(ssl=theirs)
    try:
        door = Door(by_socket(app), http, tls=ours)
        assert (await measure(door)).tally.answered
        with pytest.raises(BenchFailed, match=r"No server answers at wss://.* \(SSLCertVerificationError\)"):
            await measure(replace(door, tls=None))
    finally:
        await app.server.close()


@asynccontextmanager
async def wants_signatures(token: str) -> AsyncIterator[str]:
    """A websocket that takes what is signed for its own address; yields that."""

    async def relay(request: web.Request) -> web.StreamResponse:
        if request.headers.get(HEADER) != sign(token, url):
            return web.Response(status=403)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for _ in ws:
            pass
        return ws

    app = web.Application()
    app.router.add_get("/relay", relay)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"ws://127.0.0.1:{runner.addresses[0][1]}/relay"
    try:
        yield url
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("token", "public_url", "told"),
    [
        ("", "", "TWILIO_AUTH_TOKEN is not set here"),
        ("other", "", "TWILIO_AUTH_TOKEN is not the server's, or it has a PUBLIC_URL"),
        ("secret", "https://there.example", "PUBLIC_URL (https://there.example) is not the server's"),
        ("other", "https://there.example", "TWILIO_AUTH_TOKEN is not the server's, or PUBLIC_URL"),
    ],
)
async def test_a_refused_handshake_names_the_setting(
    http: aiohttp.ClientSession, token: str, public_url: str, told: str
) -> None:
    """What can be told from here of a 403: the setting that is missing or does not match."""
    async with wants_signatures("secret") as url:
        with pytest.raises(BenchFailed) as failed:
            await measure(Door(url, http, public_url=public_url, token=token))
    assert f"{url} does not take the call (403): " in str(failed.value)
    assert told in str(failed.value)


@pytest.mark.parametrize(
    ("app", "told"),
    [
        (lambda: EchoApp(voice_status=403), "(403): it wants signed requests, and TWILIO_AUTH_TOKEN is not set here."),
        (lambda: EchoApp(voice_status=404), "(404): nothing is served there"),
        (lambda: EchoApp(voice_status=500), "/voice/incoming answered 500."),
        (lambda: EchoApp(relay_status=503), "HTTP 503."),
        (lambda: EchoApp(document="<Say>No.</Say>"), "connects no ConversationRelay (Twilio 12200)."),
        (lambda: EchoApp(document="<Connect><ConversationRelay url='x'/></Connect>"), "is not a websocket's"),
        (lambda: EchoApp(document="</Response>"), "the document is not XML"),
    ],
)
async def test_what_is_no_way_in_is_one_sentence(
    http: aiohttp.ClientSession, app: Callable[[], EchoApp], told: str
) -> None:
    """A webhook that refuses, or whose TwiML leads nowhere, is told with its address."""
    async with app() as running:
        with pytest.raises(BenchFailed) as failed:
            await measure(Door(running.url + "/voice/incoming", http))
        assert str(failed.value).startswith(running.url)
    assert told in str(failed.value) and "\n" not in str(failed.value)


async def test_nobody_there_and_nothing_meant(http: aiohttp.ClientSession) -> None:
    """No server, and an address that is none."""
    async with EchoApp() as app:
        gone = app.url
    for url in (gone + "/voice/incoming", gone.replace("http", "ws") + "/relay"):
        with pytest.raises(BenchFailed, match="No server answers at"):
            await measure(Door(url, http))
    with pytest.raises(BenchFailed, match="is no URL of a webhook"):
        Door("localhost:8080", http)


# -- what is counted


async def test_turns_of_any_server_are_timed(http: aiohttp.ClientSession) -> None:
    """Without our endpoint first words are known, and what was added is not."""
    async with EchoApp() as app:
        measured = await measure(Door(by_socket(app), http))
    result = result_of(measured)
    assert (result.calls, result.errors, result.ghost_frames) == (2, 0, 0)
    assert result.turns == len(measured.tally.answered) > 2
    assert 0 < result.first_words_ms["p50"] <= result.first_words_ms["p95"] <= result.first_words_ms["p99"]
    assert (result.added_ms, result.cpu_us_per_token, result.rss_kb_per_call) == (None, None, None)


async def words(wire: Wire, frame: Incoming) -> None:
    """Answers in four frames, of which the last closes the cycle."""
    if isinstance(frame, Prompt):
        await wire.send(*(Text(word, last=word == "four") for word in ("one ", "two ", "three ", "four")))


async def ghostly(wire: Wire, frame: Incoming) -> None:
    """Hears of an interrupt, and a little later talks on."""
    if isinstance(frame, Prompt):
        await wire.send(Text("one "))
    elif isinstance(frame, Interrupt):
        asyncio.get_running_loop().call_later(0.05, asyncio.ensure_future, talk_on(wire))


async def talk_on(wire: Wire) -> None:
    if not wire.socket.closed:
        await wire.send(Text("one more "), Text("and one."), Text("", last=True))


async def taken_up(wire: Wire, frame: Incoming) -> None:
    """Asks for the interrupted answer again, and goes on with it in the midst of the next turn."""
    if isinstance(frame, Prompt):
        turn = int(frame.voice_prompt.split()[-1])
        anew = [stamp(clocked(number, 0, time.monotonic()).encode(), 0.0).decode() for number in (turn, turn - 1)]
        await wire.send(*(Text(token + " ") for token in anew))


async def ghostly_late(wire: Wire, frame: Incoming) -> None:
    """Says words of an interrupted turn, by their own account, in the midst of the next one's."""
    if not isinstance(frame, Prompt):
        return
    turn = int(frame.voice_prompt.split()[-1])
    token = stamp(clocked(turn, 0, time.monotonic()).encode(), 0.0).decode()
    old = stamp(clocked(turn - 1, 1, time.monotonic() - 60).encode(), 60.0).decode()
    await wire.send(Text(token + " "))
    if turn > 1:
        await wire.send(Text(old + " "))


@pytest.mark.parametrize(("behave", "ghosts"), [(words, 0.0), (taken_up, 0.0), (ghostly, 2.0), (ghostly_late, 1.0)])
async def test_text_behind_an_acknowledged_interrupt_is_a_ghost(
    http: aiohttp.ClientSession, behave: Behave, ghosts: float
) -> None:
    """Frames of an interrupted turn count once the server has answered the ping behind the interrupt: by the words'
    own account, or where they give none, until the talk cycle is closed or the next prompt is sent."""
    async with EchoApp(behave) as app:
        plan = replace(PLAN, calls=1, interrupt_rate=1.0, tokens=1, seconds=1.5, think=Delay(0.4))
        tally = (await measure(Door(by_socket(app), http), plan)).tally
        interrupts = [frame for frame in app.frames if isinstance(frame, Interrupt)]
    assert tally.interrupts == len(interrupts) > 1
    assert not tally.errors
    # The last interrupt of a call may be the last of all, with no prompt behind it to be haunted.
    assert tally.ghosts in (ghosts * tally.interrupts, ghosts * (tally.interrupts - 1))
    assert all(len(frame.utterance_until_interrupt.split()) <= 1 for frame in interrupts)


async def test_what_goes_wrong_is_counted_by_what_it_is(http: aiohttp.ClientSession) -> None:
    """A socket the server closes, and a frame Twilio would refuse; the other calls go on."""

    async def trouble(wire: Wire, frame: Incoming) -> None:
        await echo(wire, frame)
        if isinstance(frame, Prompt) and "number 2" in frame.voice_prompt:
            await wire.send('{"type": "nonsense"}')
            await wire.socket.close(code=1011, message=b"error")

    async with EchoApp(trouble) as app:
        measured = await measure(Door(by_socket(app), http))
    errors = measured.tally.errors
    assert errors == {"calls lost: the server closed the websocket (1011 error)": 1, "frames Twilio would refuse": 1}
    assert result_of(measured).errors == 2
    assert max(turn.at for turn in measured.tally.answered) > 0.2


async def test_calls_that_are_all_lost_are_no_result(http: aiohttp.ClientSession) -> None:
    """A websocket that wants what the TwiML gives is a sentence that says where to get it."""

    async def refuse(wire: Wire, frame: Incoming) -> None:
        await wire.socket.close(code=1008, message=b"ticket")

    async with EchoApp(refuse) as app:
        with pytest.raises(BenchFailed, match=r"No turn was answered: .*\(1008 ticket\).* try the URL of its voice"):
            await measure(Door(by_socket(app), http))


async def test_the_process_that_is_watched_must_be_there(http: aiohttp.ClientSession) -> None:
    """An unknown --pid is a sentence before any call is made."""
    async with EchoApp() as app:
        bench = Bench(PLAN, Door(app.url, http), endpoint=None, pids=[2**22 + 1], tell=lambda done, note: None)
        with pytest.raises(BenchFailed, match="There is no process"):
            await bench.run()
        assert not app.requests


async def test_the_endpoint_counts_and_tells_of_a_taken_port() -> None:
    """What it wrote is told when asked; a port that is taken is a sentence."""
    async with Endpoint.start(Script(first="0", gap="0", tokens=3)) as endpoint:
        body = {"model": "any", "stream": True, "messages": [{"role": "user", "content": "number 5"}]}
        async with (
            aiohttp.ClientSession() as http,
            http.post(endpoint.url + "/chat/completions", json=body) as response,
        ):
            found = heard(await response.text())
        counts = await endpoint.counts()
        port = int(endpoint.url.split(":")[-1].split("/")[0])
        with pytest.raises(NotDriven, match=f"cannot listen on port {port}: Address already in use"):
            async with Endpoint.start(Script(port=port)):
                pass
    assert [(word.turn, word.place) for word in found] == [(5, 0), (5, 1), (5, 2)]
    assert found[0].model is not None and 0 <= found[0].model < 5
    assert (counts.requests, counts.tokens) == (1, 3)


# -- what to think of it


async def test_a_loop_that_is_held_up_is_late() -> None:
    """Time the loop could not run is found, and told once."""
    lag = Lag()
    task = asyncio.create_task(lag.run())
    await asyncio.sleep(0)
    until = time.monotonic() + 0.08
    while time.monotonic() < until:
        pass
    for _ in range(5):
        await asyncio.sleep(0)  # what is due is run
    task.cancel()
    assert max(lag.take()) > 0.04
    assert lag.take() == []


def measured(
    added: float | None = 0.002, lag: float = 0.0, waited: float = 0.0, model: Counts | None = None
) -> Measured:
    tally = Tally(answered=[Answered(at / 10, 0.3, added, False) for at in range(200)], transit=array("d", [0.001]))
    watched = [Watched(0.0, 0.0, 50_000_000), Watched(20.0, 2.0, 51_024_000)]
    return Measured(PLAN, tally, 10, 20.0, model or Counts(200, 10_000), watched, 50_000_000, [lag] * 100, waited)


def test_figures_are_what_was_measured() -> None:
    """CPU by the tokens the endpoint wrote, memory by the calls, percentiles in milliseconds."""
    result = result_of(measured())
    assert result.as_json() == {
        "calls": 10,
        "turns": 200,
        "errors": 0,
        "first_words_ms": {"p50": 300.0, "p95": 300.0, "p99": 300.0},
        "added_ms": {"p50": 2.0, "p95": 2.0, "p99": 2.0},
        "ghost_frames": 0,
        "cpu_us_per_token": 200.0,
        "rss_kb_per_call": 100.0,
    }


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (measured(), ""),
        (measured(lag=0.0004), ""),
        (measured(lag=0.001), "callers of the load were late, by 1.0 ms (p99) beside 2.0 ms (added)"),
        (measured(model=Counts(200, 10_000, lag=[0.001])), "model endpoint was late"),
        (measured(waited=0.2), "waited for a core during 20% of the run"),
        (measured(added=None), "set OPENAI_BASE_URL of the server"),
    ],
)
def test_figures_that_are_the_loads_own_are_doubted(given: Measured, told: str) -> None:
    """A load that was late itself, had no core, or whose endpoint was not used says so; a good one says nothing."""
    found = doubts(given, result_of(given))
    assert len(found) == bool(told)
    assert told in "".join(found)
