"""Faults of earlier systems of this kind, each with the test that would fail if this one had it.

Proven elsewhere, by the number of the fault:

1   an interrupt stops nothing           test_interrupts.test_while_tokens_still_stream
    overlapping prompts interleave       test_overlaps.test_a_prompt_while_words_stream_and_no_interrupt
2   no tool after a tool                 test_restaurant.test_an_order_and_then_its_time
3   a tool without a result              test_tools.test_a_tool_that_does_not_work
5   a key's tool is lost                 test_keys.test_a_key_that_runs_a_tool
6   a name saved changes nothing yet     test_switching.test_a_name_saved_in_the_call_changes_the_call
    strangers pooled                     test_restaurant.test_callers_without_a_number_are_not_pooled
8   silence where the model fails        test_models.test_no_answer_at_all, test_models.test_a_silent_model
9   frames without words, no last        test_text.test_one_closing_frame_a_talk_cycle
12  fees as an object                    test_apartments.test_asking_about_apartments
13  a tour booked twice                  test_apartments.test_one_tour_and_two_callers, and 200 callers at once in
                                         relay/store/test_tours.test_two_hundred_callers_race_for_twenty_tours
    a refresh that only adds             commands/test_apartments.test_refresh_removes_what_is_not_planned
    dates in the past                    test_apartments.test_looking_for_a_tour
14  messages of a restaurant             test_restaurant.test_a_text_message_is_sent_once_the_caller_agrees,
                                         test_restaurant.test_a_mail_goes_where_the_caller_says
    the address of a delivery            test_restaurant.test_a_delivery_and_its_time
16  success promised before it is true   test_texting.test_refused, test_texting.test_in_doubt_is_not_sent_twice
    a history without a limit            test_history.test_the_model_is_shown_the_last_whole_turns
17  a stream that outlives its caller    handlers/test_app.test_a_hang_up_stops_the_model
    no figures of latency                handlers/test_app.test_a_call_is_measured
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import orjson
import pytest
from redis.asyncio import Redis

from config.agents import load_agents
from config.values import CHECKOUT
from phone.caller import FAST, Caller
from phone.endpoint.recorded import Recorded
from phone.model import Reply, ToolUse
from phone.signing import HEADER, sign
from relay.frames import Setup, dump
from relay.items import ToolItem
from relay.store.people import People
from relay.store.tours import Tours
from tests.calls.checks import eventually, heard, in_order, remembered, remembers, shown, texts_of
from tests.running import Running, running, write_agent
from tests.tools.house import DENVER, named

ADA = "phone:+15555550100"
SHIPPED = load_agents(CHECKOUT / "config" / "agents")


@pytest.fixture
async def line(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """The application with the agents it comes with, and nobody to hand calls to."""
    async with running(redis_url, tmp_path / "data") as app:
        yield app


def use(tool: str, **arguments: Any) -> ToolUse:
    return ToolUse(tool, orjson.dumps(arguments).decode())


async def results(line: Running, call: Caller, words: str, *replies: Reply) -> list[dict[str, Any]]:
    """Says the words, the model answers by these replies: all that it is shown of tools then."""
    before = len(line.model.asked)
    line.model.script(*replies)
    await call.say(words)
    await call.until(lambda: heard(call)[-1:] == [replies[-1].text])
    last = await line.model.received(before + len(replies))
    return [orjson.loads(text) for kind, text in shown(last) if kind == "result"]


def prompt(request: Recorded) -> str:
    return str(request.body["messages"][0]["content"])


async def test_nobody_to_hand_the_call_to(line: Running) -> None:
    """3: the model is told, its next request is one the API accepts, and the call goes on."""
    async with Caller(line.url, pace=FAST) as call:
        wish = use("transfer_to_human", reason="legal", summary="Wants a lawyer.")
        (result,) = await results(line, call, "A person, please", Reply(tools=[wish]), Reply("Nobody is there."))
        assert result["transferred"] is False
        await results(line, call, "Well then", Reply("Go on."))
        await in_order(call)


@pytest.mark.parametrize("agent", SHIPPED)
async def test_every_tool_of_every_agent_is_there(line: Running, agent: str) -> None:
    """4: whatever an agent's model is shown, or its keys name, is carried out under that name."""
    names = [*SHIPPED[agent].tools, *(key.tool for key in SHIPPED[agent].keys.values() if key.tool)]
    async with Caller(line.url, pace=FAST, agent=agent) as call:
        await call.greeting_played()
        wrong = [use(name, nonsense=1) for name in dict.fromkeys(names)]
        found = await results(line, call, "All of it", Reply(tools=wrong), Reply("None of it worked."))
        first = line.model.asked[0].ask
        assert first is not None and set(names) <= set(first.tools)
        assert len(found) == len(wrong) and "unknown_tool" not in [result.get("error") for result in found]


async def test_a_key_of_the_apartments_is_on_record(line: Running) -> None:
    """5: that it was pressed, the tool it forced, and the answer that followed."""
    async with Caller(line.url, pace=FAST, agent="apartments") as call:
        greeting = await call.greeting_played()
        line.model.script(Reply("You have none."))
        await call.press("2")
        await call.until(lambda: heard(call)[-1] == "You have none.")
        await remembers(
            line,
            call,
            [
                ("assistant", greeting),
                ("note", "The caller pressed 2."),
                ("my_tours", "done"),
                ("assistant", "You have none."),
            ],
        )


async def test_strangers_have_tours_of_their_own(line: Running) -> None:
    """6: a caller without a number books, and the next one without a number knows nothing of it."""
    tours = Tours(line.redis, DENVER)
    async with asyncio.timeout(20):
        while not (slots := await tours.open()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    booked = []
    for wish in (use("schedule_tour", **named(slots[0])), use("my_tours")):
        async with Caller(line.url, pace=FAST, agent="apartments", from_="anonymous") as call:
            await call.greeting_played()
            replies = Reply(tools=[wish]), Reply(tools=[use("my_tours")]), Reply("So it is.")
            found = await results(line, call, "My tours", *replies)
            booked.append(found[-1]["tours"])
    assert [len(each) for each in booked] == [1, 0]


async def test_a_name_leaves_the_rest_of_the_person(line: Running) -> None:
    """7: the e-mail address, the agent chosen and what was noted stay."""
    people = People(line.redis)
    await people.update(ADA, email="ada@example.com", agent="default", notes="likes olives")
    async with Caller(line.url, pace=FAST) as call:
        name = use("save_name", first_name="Ada", last_name="Lovelace")
        await results(line, call, "Ada Lovelace", Reply(tools=[name]), Reply("Hello, Ada."))
    person = await people.get(ADA)
    assert person is not None
    assert (person.first_name, person.email, person.agent, person.notes) == (
        "Ada",
        "ada@example.com",
        "default",
        "likes olives",
    )


@pytest.mark.parametrize("agent", SHIPPED)
@pytest.mark.parametrize("key", ["*", "#"])
async def test_a_key_without_a_meaning_is_answered(line: Running, agent: str, key: str) -> None:
    """8: the model is told of it, and the caller hears an answer."""
    line.model.script(Reply("That key does nothing here."))
    async with Caller(line.url, pace=FAST, agent=agent) as call:
        await call.greeting_played()
        await call.press(key)
        await call.until(lambda: heard(call)[-1] == "That key does nothing here.")
        assert shown(line.model.asked[0])[-1] == ("note", f"The caller pressed {key} on the keypad.")


@pytest.mark.parametrize("finish", ["length", "filter"])
async def test_a_reply_cut_by_the_provider_is_closed(line: Running, finish: str) -> None:
    """9: no frame is without words but the one that closes, which comes once."""
    async with Caller(line.url, pace=FAST) as call:
        await call.greeting_played()
        await results(line, call, "Count", Reply("One two three.", finish=finish))
        await in_order(call)
        assert [frame.last for frame in texts_of(call) if not frame.token] == [True]
        assert texts_of(call)[-1].last


async def test_a_greeting_with_any_character(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """10: Twilio gets it as it was written, and so does the history."""
    greeting = "Ben & Jerry's <\"best\"> 'ice'"
    agents = write_agent(tmp_path / "agents", f"title = 'T'\ngreeting = '''{greeting} '''\n")
    async with (
        running(redis_url, tmp_path / "data", agents=agents) as app,
        Caller(app.url, pace=FAST) as call,
    ):
        assert (await call.greeting_played()).strip() == greeting
        await results(app, call, "Hi", Reply("Hello."))
        assert shown(app.model.asked[0])[0] == ("assistant", greeting)


async def test_only_twilio_is_let_in(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """11: neither an unsigned webhook nor an unsigned socket; and a signed socket needs the ticket of its call."""
    public = "https://relay.example.com"
    environ = {"PUBLIC_URL": public, "TWILIO_AUTH_TOKEN": "secret"}
    async with running(redis_url, tmp_path / "data", environ=environ) as app, aiohttp.ClientSession() as http:
        for path in ("/voice/incoming", "/voice/action", "/voice/dialled", "/voice/whisper"):
            async with http.post(app.url + path, data={"CallSid": "CA" + "1" * 32}) as answer:
                assert answer.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(app.url.replace("http", "ws", 1) + "/voice/relay")
        assert refused.value.status == 403
        signed = {HEADER: sign("secret", "wss://relay.example.com/voice/relay")}
        async with http.ws_connect(app.url.replace("http", "ws", 1) + "/voice/relay", headers=signed) as socket:
            await socket.send_str(dump(Setup("VX" + "1" * 32, "CA" + "1" * 32)))
            await socket.receive(timeout=5)
            assert socket.close_code == 1008
        async with Caller(app.url, pace=FAST, public_url=public, token="secret") as call:
            await results(app, call, "Hi", Reply("Hello."))


@pytest.mark.parametrize("inquiry", ["location", "fees", "parking", "pet policy", "utilities", "income requirements"])
async def test_what_is_said_of_apartments_is_a_sentence(line: Running, inquiry: str) -> None:
    """12: for one kind and for all; and looking for a tour without a time says nothing of one."""
    day = datetime.now(ZoneInfo("America/Denver")).date().isoformat()
    async with Caller(line.url, pace=FAST, agent="apartments") as call:
        await call.greeting_played()
        uses = [
            use("apartment_info", inquiry_type=inquiry),
            use("apartment_info", inquiry_type=inquiry, apartment_type="studio"),
            use("check_tours", date=day, tour_type="in-person", apartment_type="studio"),
        ]
        for result in await results(line, call, "Tell me", Reply(tools=uses), Reply("So it is.")):
            assert result["message"].endswith((".", "?")) and "error" not in result
            assert not {"None", "undefined", "{", "["} & set(result["message"].replace("{", " { ").split())


async def test_what_happens_in_one_moment_is_all_on_record(line: Running) -> None:
    """15: twenty results that come at once are twenty items, each with its own."""
    wishes = [use("apartment_info", inquiry_type="ghosts", apartment_type=str(number)) for number in range(20)]
    async with Caller(line.url, pace=FAST, agent="apartments") as call:
        await call.greeting_played()
        await results(line, call, "All of it", Reply(tools=wishes), Reply("None of it."))
        items = await remembered(line, call.record.call_sid, lambda items: len(items) == 23)
        tools = [orjson.loads(item.arguments) for item in items if isinstance(item, ToolItem)]
        assert [each["apartment_type"] for each in tools] == [str(number) for number in range(20)]


async def test_a_session_that_comes_late_ends_in_words(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """15: whose ticket has expired is connected anew as often as a broken call, and then told of the trouble."""
    async with running(redis_url, tmp_path / "data", environ={"TICKET_SECONDS": "0.000001"}) as app:
        async with Caller(app.url, pace=FAST) as call:
            await call.ended()
        assert call.transcript[-1].text.startswith("I'm sorry, we are having technical trouble.")
        assert len(call.record.session_ids) > 1


async def test_the_date_is_that_of_the_agents_zone(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """16: at the two ends of the world it is never the same day."""
    zones = {"default": "Pacific/Kiritimati", "niue": "Pacific/Niue"}
    for name, zone in zones.items():
        agents = write_agent(tmp_path / "agents", f'title = "T"\ntimezone = "{zone}"\n', name, "It is {current_date}.")
    async with running(redis_url, tmp_path / "data", agents=agents) as app:
        for name, zone in zones.items():
            days = [datetime.now(UTC).astimezone(ZoneInfo(zone))]
            async with Caller(app.url, pace=FAST, agent=name) as call:
                await results(app, call, "Hi", Reply("Hello."))
            days.append(datetime.now(UTC).astimezone(ZoneInfo(zone)))
            assert any(
                f"{day:%A}, {day.day} {day:%B %Y} (time zone {zone})" in prompt(app.model.asked[-1]) for day in days
            )


async def test_nothing_of_a_call_outlives_it(line: Running) -> None:
    """17: when the caller has hung up no task of theirs is left."""
    async with Caller(line.url, pace=FAST) as call:
        await call.greeting_played()
        await results(line, call, "Hi", Reply("Hello."))
        call_sid = call.record.call_sid
        assert [task for task in asyncio.all_tasks() if call_sid in task.get_name()]
        await call.hang_up()
    await eventually(lambda: not [task for task in asyncio.all_tasks() if call_sid in task.get_name()])
