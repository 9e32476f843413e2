"""The dashboard's pages in a real browser, over data the test knows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from playwright.async_api import Page, expect

from handlers.signatures import PublicAddress
from tests.browser.conftest import Open
from tests.fakes.dashboard import Data, dashboard, house, stripping
from tests.fakes.dashboard_data import SEGMENTS, call, nothing, text

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKEN = "a token for the tests"
FIRST = f"CA{0:032x}"


@dataclass
class Shown:
    page: Page
    data: Data
    url: str

    async def text(self, selector: str) -> str:
        return (await self.page.locator(selector).first.inner_text()).strip()


@asynccontextmanager
async def shown(opened: Open, path: str, data: Data | None = None, **more: object) -> AsyncIterator[Shown]:
    """A page of a busy house, opened by this machine's own browser."""
    data = house() if data is None else data
    async with dashboard(data, words=bool(more.pop("words", True))) as url, opened(url + path, **more) as page:
        yield Shown(page, data, url)


async def test_the_login_leads_to_the_page_that_was_asked_for(opened: Open) -> None:
    """A wrong token is told, the right one opens what was wanted; logging out closes it again."""
    async with dashboard(house(), token=TOKEN) as url, opened(f"{url}/dashboard/calls?agent=restaurant") as page:
        await page.get_by_label("Dashboard token").fill("wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("That is not the token.")
        await page.get_by_label("Dashboard token").fill(TOKEN)
        await page.get_by_role("button", name="Log in").click()
        await expect(page).to_have_url(f"{url}/dashboard/calls?agent=restaurant")
        await expect(page.locator("tbody tr")).to_have_count(8)
        await page.get_by_role("button", name="Log out").click()
        await expect(page).to_have_url(f"{url}/dashboard/login")
        await page.goto(f"{url}/dashboard")
        await expect(page.get_by_label("Dashboard token")).to_be_visible()


async def test_a_link_from_another_site_finds_the_session(opened: Open) -> None:
    """The strict cookie does not come along, so the form is met first; it sends who has a session on by itself."""
    async with dashboard(house(), token=TOKEN) as url, opened(f"{url}/dashboard") as page:
        await page.get_by_label("Dashboard token").fill(TOKEN)
        await page.keyboard.press("Enter")
        await expect(page.locator("#calls")).to_have_text("312")
        async with dashboard(Data()) as other:
            await page.goto(other.replace("127.0.0.1", "localhost") + "/dashboard/login")
            await page.evaluate("url => location.assign(url)", f"{url}/dashboard/calls")
            await expect(page).to_have_url(f"{url}/dashboard/calls")
            await expect(page.locator("tbody tr")).to_have_count(20)


async def test_pages_work_behind_a_prefix(opened: Open) -> None:
    """Where a proxy serves us below https://host/eu: the login, links, data and events are found there."""
    address = PublicAddress.parse("https://relay.example/eu")
    data = house()
    async with (
        dashboard(data, token=TOKEN, address=address) as behind,
        stripping(behind, "/eu") as url,
        opened(f"{url}/dashboard/calls") as page,
    ):
        await page.get_by_label("Dashboard token").fill(TOKEN)
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(f"{url}/dashboard/calls")
        await page.locator("tbody a").first.click()
        await expect(page).to_have_url(f"{url}/dashboard/calls/{FIRST}")
        await page.get_by_label("Speak a line").fill("Hello.")
        await page.keyboard.press("Enter")
        await expect(page.locator("#orders")).to_contain_text("To be spoken: Hello.")
        await page.get_by_role("link", name="Live").click()
        await data.watched()
        data.tell("call_started", id="CA7", agent="default", at=1)
        await expect(page.locator("#ticker li a")).to_have_attribute("href", "/eu/dashboard/calls/CA7")


async def test_the_live_page_shows_the_numbers_of_the_summary(opened: Open) -> None:
    """Each tile, the legends' latest values, the tools, the processes."""
    async with shown(opened, "/dashboard") as here:
        await expect(here.page.locator("#calls")).to_have_text("312")
        summary = here.data.summary
        tiles = {
            "calls-note": "in 4 processes; 18 chats", "turns": "642", "first-50": "412 ms", "first-95": "871 ms",
            "first-99": "1.42 s", "lag": "3.9 ms", "lag-note": "p99; p50 0.4 ms, most 23 ms", "cost": "3.42",
            "interrupts": "611", "ghosts": "0", "errors": "14", "fallbacks": "3", "tokens-in": "4.81M",
            "tokens-cached": "67 %", "tokens-out": "391K",
        }  # fmt: skip
        assert {name: await here.text(f"#{name}") for name in tiles} == tiles
        last = summary["series"][-1]
        for name in ("p50", "p95"):
            assert f"{name} {last[name]:.0f} ms" in await here.text("#chart-first .legend")
        assert f"calls {last['calls']}" in await here.text("#chart-calls .legend")
        assert await here.text("#first-note") == "half of them within: chat 388 ms, voice 415 ms"
        names = await here.page.locator("#tools th").all_inner_texts()
        assert names == [each["name"] for each in summary["tools"]]
        assert await here.page.locator("#processes tr").count() == len(summary["processes"])


async def test_the_slowest_turn_is_one_click_away(opened: Open) -> None:
    """From the list to that turn on the call's page."""
    async with shown(opened, "/dashboard") as here:
        slowest = here.data.summary["slowest"][0]
        await here.page.locator("#slowest a").first.click()
        await expect(here.page).to_have_url(f"{here.url}/dashboard/calls/{slowest['id']}#turn-{slowest['turn']}")
        await expect(here.page.locator(f"#turn-{slowest['turn']}")).to_be_in_viewport()


async def test_the_range_is_chosen_with_the_keyboard(opened: Open) -> None:
    """An arrow key goes to the next range, which is asked for at once and kept in the address; charts tell the value
    of the moment that the keys point at."""
    async with shown(opened, "/dashboard") as here:
        await expect(here.page.locator("#calls")).to_have_text("312")
        await here.page.get_by_label("15 min").focus()
        await here.page.keyboard.press("ArrowRight")
        await expect(here.page).to_have_url(f"{here.url}/dashboard?minutes=60")
        await expect(here.page.locator("#turns-note")).to_have_text("over 1 h")
        assert here.data.asked[-1] == 60
        await here.page.locator("#chart-first svg").focus()
        await here.page.keyboard.press("ArrowLeft")
        await here.page.keyboard.press("ArrowLeft")
        chosen = here.page.locator("#chart-first .when")
        await expect(chosen).not_to_contain_text("latest")
        await here.page.keyboard.press("Escape")
        await expect(chosen).to_contain_text("latest")


async def test_turns_are_told_as_they_happen(opened: Open) -> None:
    """An event of the stream is the first line of the list, and text whatever is in it."""
    async with shown(opened, "/dashboard") as here:
        await expect(here.page.locator("#ticker-none")).to_be_visible()
        agent = "<img src=x onerror=alert(1)>"
        await here.data.watched()
        here.data.tell("call_started", id="CA1", agent="default", at=1)
        here.data.tell("turn", id="CA1", agent=agent, turn=2, outcome="interrupted", first_text_ms=455.0, at=2)
        first = here.page.locator("#ticker li").first
        await expect(first).to_contain_text(f"CA1 {agent} 455 ms interrupted")
        assert await here.page.locator("#ticker img").count() == 0


async def test_a_server_that_is_gone_is_told_and_found_again(opened: Open) -> None:
    """What was shown stays, marked; when the server answers again all is as before."""
    async with shown(opened, "/dashboard", lasting=True) as here:
        await expect(here.page.locator("#connection")).to_have_text("live")
        await here.page.clock.install()
        await here.data.watched()
        here.data.away = True
        here.data.tell("gone")
        await expect(here.page.locator("#connection")).to_have_text("reconnecting")
        await expect(here.page.locator("#problem")).to_have_text("The store does not answer.")
        await expect(here.page.locator("#calls")).to_have_text("312")
        here.data.away = False
        await here.page.clock.fast_forward(5000)  # after which the page tries again
        await expect(here.page.locator("#connection")).to_have_text("live")
        await expect(here.page.locator("#problem")).to_be_hidden()


async def test_a_store_that_is_away_is_not_taken_for_the_server(opened: Open) -> None:
    """The server answers and tells of its own calls: the numbers are old, the connection is not lost."""
    async with shown(opened, "/dashboard", lasting=True) as here:
        await expect(here.page.locator("#connection")).to_have_text("live")
        await here.data.watched()
        here.data.away = True
        await expect(here.page.locator("#connection")).to_have_text("live, this process only")
        await expect(here.page.locator("#problem")).to_have_text("The store does not answer.")
        await expect(here.page.locator("main")).to_have_class("old")
        here.data.away = False
        await expect(here.page.locator("#connection")).to_have_text("live")
        await expect(here.page.locator("main")).not_to_have_class("old")


async def test_the_page_of_what_there_is_not_tells_so(opened: Open) -> None:
    """Also where its name is none that an address can have. There is nothing to be taken away."""
    async with shown(opened, "/dashboard/calls/%E0%A4%A") as here:
        told = here.page.locator("#problem")
        await expect(told).to_have_text("There is no such conversation, or it is not kept any more.")
        await expect(here.page.get_by_role("link", name="Download as JSON")).to_be_hidden()
        await here.page.goto(f"{here.url}/dashboard/agents/nobody")
        await expect(told).to_have_text("There is no agent of this name.")


async def test_an_empty_house_says_what_to_do(opened: Open) -> None:
    """No numbers are made up, and each empty place says how it is filled."""
    async with shown(opened, "/dashboard", Data()) as here:
        await expect(here.page.locator("#slowest-none")).to_contain_text("make call")
        assert await here.text("#first-50") == "–"
        assert await here.text("#cost-note") == "set PRICE_INPUT and PRICE_OUTPUT"
        await here.page.get_by_role("link", name="Conversations").click()
        await expect(here.page.locator("#list")).to_contain_text("None yet. Place a call from a terminal, make call")


async def test_a_ghost_frame_is_no_small_matter(opened: Open) -> None:
    """The number that must be 0 is marked once it is not."""
    async with shown(opened, "/dashboard", Data(summary=nothing() | {"ghost_frames": 2})) as here:
        await expect(here.page.locator("#ghosts")).to_have_class("value bad")
        assert await here.text("#ghosts-note") == "must be 0: report it"


async def test_calls_are_searched(opened: Open) -> None:
    """By each field; the search is in the address, and going back takes it back. What is further is fetched."""
    async with shown(opened, "/dashboard/calls") as here:
        rows = here.page.locator("tbody tr")
        await expect(rows).to_have_count(20)
        await here.page.get_by_role("button", name="Show older ones").click()
        await expect(rows).to_have_count(24)
        await here.page.get_by_label("Agent").fill("apartments")
        await here.page.get_by_label("Slower than").fill("1000")
        await here.page.keyboard.press("Enter")
        await expect(rows).to_have_count(3)
        await expect(here.page).to_have_url(f"{here.url}/dashboard/calls?agent=apartments&slower_than_ms=1000")
        await here.page.get_by_label("Outcome").select_option("failed")
        await here.page.get_by_role("button", name="Search").click()
        await expect(here.page.locator("#list")).to_contain_text("No conversation is like that.")
        await here.page.go_back()
        await expect(rows).to_have_count(3)
        await here.page.get_by_role("button", name="Clear").click()
        await expect(rows).to_have_count(20)


async def test_what_was_not_heard_is_struck_through(opened: Open) -> None:
    """The transcript has the words heard, and those that were only sent after them, struck through."""
    async with shown(opened, f"/dashboard/calls/{FIRST}") as here:
        said = here.page.locator("#words li").nth(4)
        item = here.data.calls[FIRST]["items"][4]
        await expect(said.locator("s")).to_have_text(f" not heard: {item['unheard']}", use_inner_text=False)
        await expect(said).to_contain_text(item["heard"])
        await expect(here.page.locator("#struck")).to_be_visible()
        tool = here.page.locator("#words li").nth(3)
        await expect(tool).to_contain_text('find_apartments({"rooms":2,"balcony":true})')


async def test_what_is_being_said_is_read_ahead_of_the_caller(opened: Open) -> None:
    """Words of a live call that are on their way are there, marked as not heard yet; nothing is struck through."""
    data = house()
    data.calls[FIRST]["items"][4] |= {"text": "Yes, on the roof.", "heard": "Yes, on", "unheard": "", "status": "open"}
    async with shown(opened, f"/dashboard/calls/{FIRST}", data) as here:
        said = here.page.locator("#words li").nth(4)
        await expect(said.locator("p").last).to_have_text("Yes, on not heard yet: the roof.", use_inner_text=False)
        await expect(said.locator(".coming")).to_contain_text("the roof.")
        await expect(said.locator("s")).to_have_count(0)


async def test_the_waterfall_shows_the_numbers_of_the_trace(opened: Open) -> None:
    """Each segment, round and tool with its time, as long as it took; frames in order."""
    async with shown(opened, f"/dashboard/calls/{FIRST}") as here:
        entry = here.data.calls[FIRST]["trace"][1]
        turn = here.page.locator("#turn-1")
        await expect(turn.locator(".first-words")).to_have_text("930 ms")
        names = await turn.locator(".name").all_inner_texts()
        assert names == [*SEGMENTS, "model 1", "model 2", "find_apartments", "filler", "speech", "frames"]
        took = dict(zip(names, await turn.locator(".took").all_inner_texts(), strict=True))
        for name, value in entry["segments_ms"].items():
            assert took[name] == (f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms")
        assert took["model 1"] == "396 ms · first 332 ms · tools · 1,204 in, 1,024 cached, 19 out"
        assert took["model 2"] == "912 ms · first 288 ms · cancelled · late · 1,204 in, 1,024 cached, 44 out"
        assert took["find_apartments"] == "189 ms · done"
        assert took["frames"] == "2 in, 23 out"
        # To scale: as far from the left, and as wide, as the times say.
        boxes = {
            name: await turn.locator("li", has=here.page.get_by_text(name, exact=True))
            .locator(".track span")
            .first.bounding_box()
            for name in ("model 1", "model 2", "find_apartments")
        }
        one, two, tool = (boxes[name] for name in ("model 1", "model 2", "find_apartments"))
        assert one and two and tool
        scale = one["width"] / 396.0
        assert two["width"] == pytest.approx(912.0 * scale, abs=1.5)
        assert two["x"] - one["x"] == pytest.approx((594.0 - 5.7) * scale, abs=1.5)
        assert tool["width"] == pytest.approx(188.5 * scale, abs=1.5)
        await turn.get_by_text("Frames in order").click()
        types = await turn.locator(".frames th").all_inner_texts()
        assert types == [frame["type"] for frame in entry["frames"]]


async def test_what_was_asked_ahead_begins_before_the_turn(opened: Open) -> None:
    """A round below zero moves the beginning of the scale; what has no end yet is open."""
    data = house()
    turn = data.calls[FIRST]["trace"][1]
    turn["rounds"][0]["at_ms"] = -250.0
    turn["tools"][0] |= {"ms": None, "outcome": "running"}
    async with shown(opened, f"/dashboard/calls/{FIRST}", data) as here:
        await expect(here.page.locator("#turn-1 .scale")).to_contain_text("−250 ms")
        await expect(here.page.locator("#turn-1 .w-tool.open")).to_have_count(1)


async def test_a_text_conversation_has_no_telephone(opened: Open) -> None:
    """It is found by its channel; its page has what was written and where the turns spent their time, also while it is
    live, and nothing that only calls have."""
    data = house()
    for one in (text("chat", live=True), text("debate")):
        data.calls[one["id"]] = one
        data.conversations.append(one)
    async with shown(opened, "/dashboard/calls", data) as here:
        await here.page.get_by_label("Channel").select_option("chat")
        await here.page.get_by_role("button", name="Search").click()
        await expect(here.page.locator("tbody tr")).to_have_count(1)
        await here.page.locator("tbody a").first.click()
        await expect(here.page.locator("h1")).to_have_text("Chat chat…d94e1e")
        await expect(here.page.locator("#live")).to_be_visible()
        await expect(here.page.locator("#operator")).to_be_hidden()
        who = ["Person", "Agent", "Person", "Tool", "Agent interrupted"]
        await expect(here.page.locator(".who")).to_have_text(who, use_inner_text=True)
        assert await here.page.locator("#turn-1 .name").all_inner_texts() == [
            *(name for name in SEGMENTS if name != "tools"),
            "model 1",
        ]
        assert await here.page.locator("#turn-2 .name").all_inner_texts() == ["model 1"]
        assert await here.page.locator("#turns details").count() == 0
        assert "connected" not in await here.text("#turns")
        await here.data.watched("chat_5b1f0c77a2d94e1e")
        data.calls["chat_5b1f0c77a2d94e1e"]["items"][4] |= {"text": "One, yes.", "heard": "One, yes.", "status": "done"}
        data.tell("turn", id="chat_5b1f0c77a2d94e1e", turn=2, agent="default", outcome="done", first_text_ms=1.0, at=1)
        await expect(here.page.locator("#words")).to_contain_text("One, yes.")
        await here.page.goto(f"{here.url}/dashboard/calls/{text('debate')['id']}")
        await expect(here.page.locator("h1")).to_contain_text("Debate")
        await expect(here.page.locator("#about")).to_contain_text("withheld")


async def test_a_call_is_taken_away_as_json(opened: Open) -> None:
    """The file is what the page shows, named after the call."""
    async with shown(opened, f"/dashboard/calls/{FIRST}") as here:
        await expect(here.page.locator("#turn-1")).to_be_visible()
        async with here.page.expect_download() as started:
            await here.page.get_by_role("link", name="Download as JSON").click()
        file = await started.value
        assert file.suggested_filename == f"{FIRST}.json"
        assert json.loads((await file.path()).read_text()) == here.data.calls[FIRST]


async def test_a_call_that_goes_on_is_followed_to_its_end(opened: Open) -> None:
    """Words and turns are added as events tell of them; at the end the panel goes and the outcome comes."""
    data = house()
    whole = data.calls[FIRST]
    data.calls[FIRST] = {**whole, "items": whole["items"][:2], "trace": whole["trace"][:1]}
    async with shown(opened, f"/dashboard/calls/{FIRST}", data) as here:
        await expect(here.page.locator("#words li")).to_have_count(2)
        await expect(here.page.locator("#turns-none")).to_be_visible()
        await data.watched(FIRST)
        data.calls[FIRST] = whole
        data.tell("turn", id=FIRST, agent="default", turn=3, outcome="done", first_text_ms=1.0, at=1)
        await expect(here.page.locator("#words li")).to_have_count(9)
        await expect(here.page.locator("article.turn")).to_have_count(3)
        data.calls[FIRST] = call(0, live=False)
        data.tell("call_ended", id=FIRST, agent="default", reason="completed", seconds=91.4, turns=3, at=1)
        await expect(here.page.locator("#live")).to_be_hidden()
        await expect(here.page.locator("#operator")).to_be_hidden()
        await expect(here.page.locator("#about")).to_contain_text("completed")


async def test_an_operator_acts_on_a_live_call(opened: Open) -> None:
    """With a session's CSRF token: what is said is delivered and confirmed; what ends the call is asked about first;
    what is refused is told."""
    data = house()
    async with dashboard(data, token=TOKEN) as url, opened(f"{url}/dashboard/calls/{FIRST}") as page:
        await page.get_by_label("Dashboard token").fill(TOKEN)
        await page.keyboard.press("Enter")
        done = page.locator("#orders li")
        await page.get_by_label("Speak a line").fill("  One moment, please. ")
        await page.keyboard.press("Enter")
        await expect(done).to_have_count(1)
        await expect(done.first).to_contain_text("To be spoken: One moment, please.")
        await expect(page.get_by_label("Speak a line")).to_have_value("")
        await page.get_by_label("Switch the agent").fill("restaurant")
        await page.get_by_role("button", name="Switch").click()
        await expect(done.first).to_contain_text("The call is with restaurant now")
        await page.get_by_role("button", name="Hang up").click()
        await page.get_by_role("button", name="Leave it").click()
        await page.get_by_role("button", name="Hand over").click()
        await page.locator("#sure-yes").click()
        await expect(done.first).to_contain_text("Being handed over to a person")
        assert data.orders == [
            (FIRST, "say", {"text": "One moment, please."}),
            (FIRST, "agent", {"agent": "restaurant"}),
            (FIRST, "transfer", {}),
        ]
        data.refusal = (409, "ending", "The call is ending already.")
        await page.get_by_role("button", name="Hang up").click()
        await page.locator("#sure-yes").click()
        await expect(done.first).to_contain_text("Not done. The call is ending already.")


async def test_masked_words_are_bullets_and_a_note_says_how_to_show_them(opened: Open) -> None:
    """On a call's page, on the list and on a person's page."""
    async with shown(opened, f"/dashboard/calls/{FIRST}", house(words=False), words=False) as here:
        await expect(here.page.locator("#words li").nth(1)).to_contain_text("•• •••••")
        for path in (f"/calls/{FIRST}", "/calls", "/people/000000000000000000000000"):
            await here.page.goto(f"{here.url}/dashboard{path}")
            await expect(here.page.locator(".masked").first).to_contain_text("DASHBOARD_SHOW_WORDS=1")


async def test_agents_and_people_have_a_page(opened: Open) -> None:
    """What is known of them, and their calls; a name there is not is told."""
    async with shown(opened, "/dashboard/agents/apartments") as here:
        await expect(here.page.locator("#about")).to_contain_text("book_tour")
        await expect(here.page.locator("#about")).to_contain_text("p95 1.48 s")
        await expect(here.page.locator("tbody tr")).to_have_count(8)
        await here.page.get_by_role("link", name="+1•••••0201").first.click()
        await expect(here.page.locator("#about")).to_contain_text("Asked for two rooms with a balcony.")
        await expect(here.page.locator("h1")).to_have_text("+1•••••0200")
        await here.page.goto(f"{here.url}/dashboard/agents/nobody")
        await expect(here.page.locator("#problem")).to_have_text("There is no agent of this name.")


PATHS = {
    "": "#slowest tr",
    "/calls": "tbody tr",
    f"/calls/{FIRST}": "#turn-1",
    "/agents/default": "tbody tr",
    "/people/000000000000000000000000": "tbody tr",
}
"""Every page, and what is there once it is drawn."""


async def test_nothing_is_wider_than_a_telephone(opened: Open) -> None:
    """No page scrolls sideways at 360 pixels."""
    async with dashboard(house(), token=TOKEN) as url, opened(f"{url}/dashboard/login", width=360, dark=True) as page:
        wide = "document.documentElement.scrollWidth > innerWidth"
        assert not await page.evaluate(wide)
        await page.get_by_label("Dashboard token").fill(TOKEN)
        await page.keyboard.press("Enter")
        await expect(page.locator("#calls")).to_have_text("312")
        for path, drawn in PATHS.items():
            await page.goto(f"{url}/dashboard{path}")
            await expect(page.locator(drawn).first).to_be_visible()
            assert not await page.evaluate(wide), path


async def test_the_colours_are_the_systems_until_others_are_chosen(opened: Open) -> None:
    """The button goes from the system's to dark and to light, and the choice holds for the next page."""
    async with shown(opened, "/dashboard/calls", dark=True) as here:
        colour = "getComputedStyle(document.documentElement).backgroundColor"
        dark = await here.page.evaluate(colour)
        button = here.page.locator("#theme")
        await expect(button).to_have_accessible_name("Colours: as the system")
        await button.click()
        await button.click()
        await expect(button).to_have_accessible_name("Colours: light")
        light = await here.page.evaluate(colour)
        assert light != dark
        await here.page.goto(f"{here.url}/dashboard")
        assert await here.page.evaluate(colour) == light


async def test_the_keyboard_reaches_everything(opened: Open) -> None:
    """The first key press offers the way past the frame; what has the focus is to be seen."""
    async with shown(opened, "/dashboard/calls") as here:
        await expect(here.page.locator("tbody tr").first).to_be_visible()
        await here.page.keyboard.press("Tab")
        await expect(here.page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await here.page.keyboard.press("Enter")
        await here.page.keyboard.press("Tab")
        await expect(here.page.get_by_label("Agent")).to_be_focused()
        assert await here.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
