"""Who may see the dashboard, how a session begins and ends, and what it takes to change something."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie

import pytest
from aiohttp import DummyCookieJar, web
from aiohttp.test_utils import TestClient, TestServer

from handlers.dashboard_access import COOKIE, CSRF_HEADER, FAILURES, SESSION_SECONDS, WINDOW, Access, Failures
from handlers.dashboard_login import Login, after_login
from handlers.dashboard_pages import Pages
from handlers.hardening import harden
from handlers.signatures import PublicAddress

TOKEN = "a token nobody guesses ü"
PUBLIC = PublicAddress.parse("https://relay.example/eu")
BEARER = {"Authorization": f"Bearer {TOKEN}"}

Client = TestClient[web.Request, web.Application]


class Clock:
    """Both of the clocks that ``Access`` reads."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def dashboard(
    token: str = TOKEN, address: PublicAddress | None = None, clock: Clock | None = None
) -> AsyncIterator[Client]:
    """The pages, and a route that changes something."""
    clock = clock or Clock()
    access = Access(token, address, clock=clock, timer=clock)
    pages = Pages(access)

    async def change(request: web.Request) -> web.Response:
        access.check(request)
        return web.Response(status=202)

    app = web.Application(client_max_size=64 * 1024)
    app.router.add_post("/dashboard/api/change", change)
    Login(access, pages, shows_words=False).add_routes(app)
    pages.add_routes(app)
    harden(app, public=address is not None)
    # No cookie is kept: each request shows what it sends.
    async with TestClient(TestServer(app), cookie_jar=DummyCookieJar()) as client:
        yield client


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with dashboard() as client:
        yield client


async def log_in(client: Client, token: str = TOKEN, path: str = "/dashboard/login") -> str:
    """The session's cookie, as a header's value."""
    answer = await client.post(path, data={"token": token}, allow_redirects=False)
    assert answer.status == 303
    return f"{COOKIE}={answer.cookies[COOKIE].value}"


async def csrf(client: Client, cookie: str) -> str:
    answer = await client.get("/dashboard/api/session", headers={"Cookie": cookie})
    assert answer.status == 200
    token: str = (await answer.json())["csrf"]
    return token


async def status(client: Client, path: str = "/dashboard/api/session", **headers: str) -> int:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return (await client.get(path, headers=sent, allow_redirects=False)).status


async def test_a_bearer_token_is_enough(client: Client) -> None:
    """The token opens pages and data, and changes something without more."""
    for path in ("/dashboard", "/dashboard/calls/CA1", "/dashboard/api/session"):
        assert await status(client, path, **BEARER) == 200
    assert (await client.post("/dashboard/api/change", headers=BEARER)).status == 202


@pytest.mark.parametrize(
    "given", ["Bearer wrong", "Bearer", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \udcff"]
)
async def test_a_wrong_bearer_token_is_refused(client: Client, given: str) -> None:
    """Neither pages nor data, even with a session beside it: who sends a token means it."""
    cookie = await log_in(client)
    for path in ("/dashboard", "/dashboard/api/session"):
        answer = await client.get(path, headers={"Authorization": given, "Cookie": cookie})
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert (await answer.json())["code"] == "unauthorized"


async def test_the_login_form_begins_a_session(client: Client) -> None:
    """A page sends a browser to the form, which leads back to it with a cookie that opens pages and data."""
    asked = await client.get("/dashboard/calls?agent=spa&person=1", allow_redirects=False)
    assert asked.status == 303
    to = asked.headers["Location"]
    assert to == "/dashboard/login?next=/dashboard/calls?agent%3Dspa%26person%3D1"
    assert (await client.get(to)).status == 200
    answer = await client.post(to, data={"token": TOKEN}, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/dashboard/calls?agent=spa&person=1")
    cookie = f"{COOKIE}={answer.cookies[COOKIE].value}"
    assert await status(client, "/dashboard", Cookie=cookie) == 200
    assert await status(client, Cookie=cookie) == 200
    assert await status(client, "/dashboard/login", Cookie=cookie) == 303


async def test_without_a_session_data_is_refused(client: Client) -> None:
    """Data answers 401, also for a cookie nobody signed, and no page is shown."""
    assert await status(client) == 401
    for forged in ("", "1", "1.", ".1", "9999999999.abc.def", "9999999999.abc.ü", "x" * 4000):
        assert await status(client, Cookie=f"{COOKIE}={forged}") == 401
        assert await status(client, "/dashboard", Cookie=f"{COOKIE}={forged}") == 303


async def test_a_changed_session_is_none(client: Client) -> None:
    """Each part of the cookie is signed."""
    expires, nonce, signature = (await log_in(client)).partition("=")[2].split(".")
    for parts in (
        (f"{int(expires) + 1}", nonce, signature),
        (expires, nonce + "A", signature),
        (expires, nonce, "A" + signature),
    ):
        assert await status(client, Cookie=f"{COOKIE}={'.'.join(parts)}") == 401


async def test_every_process_takes_a_session_and_a_new_token_ends_it(client: Client) -> None:
    """The key is the token's: another process with the same one knows the session, one with another does not."""
    cookie = await log_in(client)
    async with dashboard() as other:
        assert await status(other, Cookie=cookie) == 200
    async with dashboard("another token") as changed:
        assert await status(changed, Cookie=cookie) == 401


async def test_a_session_ends() -> None:
    """After its hours the cookie is worth nothing, whatever the browser thinks."""
    clock = Clock()
    async with dashboard(clock=clock) as client:
        cookie = await log_in(client)
        clock.now += SESSION_SECONDS - 1
        assert await status(client, Cookie=cookie) == 200
        clock.now += 1
        assert await status(client, Cookie=cookie) == 401


async def test_logging_out_takes_the_cookie_away(client: Client) -> None:
    """The browser is told to forget it, and shown the form."""
    answer = await client.post("/dashboard/logout", headers={"Cookie": await log_in(client)}, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/dashboard/login")
    assert answer.cookies[COOKIE].value == "" and answer.cookies[COOKIE]["max-age"] == "0"


@pytest.mark.parametrize(("address", "secure", "path"), [(None, "", "/dashboard"), (PUBLIC, True, "/eu/dashboard")])
async def test_the_cookie_is_strict(address: PublicAddress | None, secure: object, path: str) -> None:
    """No script reads it, no other site's page sends it, no plain connection carries it where we are public."""
    async with dashboard(address=address) as client:
        answer = await client.post("/dashboard/login", data={"token": TOKEN}, allow_redirects=False)
        morsel = SimpleCookie(answer.headers["Set-Cookie"])[COOKIE]
    assert morsel["httponly"] is True
    assert (morsel["samesite"], morsel["secure"], morsel["path"]) == ("Strict", secure, path)
    assert int(morsel["max-age"]) == SESSION_SECONDS


async def test_links_and_ways_lead_behind_the_prefix() -> None:
    """Behind https://host/eu the form, the way back and what pages load are below /eu."""
    async with dashboard(address=PUBLIC) as client:
        asked = await client.get("/dashboard/calls", allow_redirects=False)
        assert asked.headers["Location"] == "/eu/dashboard/login?next=/dashboard/calls"
        answer = await client.post(
            "/dashboard/login?next=/dashboard/calls", data={"token": TOKEN}, allow_redirects=False
        )
        assert answer.headers["Location"] == "/eu/dashboard/calls"
        page = await (await client.get("/dashboard", headers=BEARER)).text()
        out = await client.post("/dashboard/logout", allow_redirects=False)
        assert out.headers["Location"] == "/eu/dashboard/login"
    assert '"/eu/dashboard/assets/' in page and '"/dashboard' not in page and "{{" not in page


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "https://evil.example/",
        "//evil.example/dashboard",
        "/\\evil.example",
        "/dashboard\\..\\..",
        "/dashboard//evil.example",
        "/dashboard/../voice/incoming",
        "/dashboard/%2e%2e/voice/incoming",
        "/dashboardx",
        "/voice/incoming",
        "dashboard",
        "/dashboard/\r\nX: 1",
        "/dashboard/ü",
    ],
)
def test_a_login_leads_to_a_page_of_the_dashboard_only(wanted: str) -> None:
    """Whatever is asked for, nobody is sent elsewhere."""
    assert after_login(wanted) == "/dashboard"


@pytest.mark.parametrize(
    "wanted",
    [
        "/dashboard",
        "/dashboard/calls?agent=a&after=x%2Fy",
        "/dashboard/people/0af3",
        "/dashboard/calls/whatsapp%3A%2B1",
    ],
)
def test_a_login_leads_to_the_page_that_was_asked_for(wanted: str) -> None:
    """Pages of ours, their queries included."""
    assert after_login(wanted) == wanted


async def test_too_many_wrong_tokens_are_told_to_wait() -> None:
    """The form is shown again with why; after some it says how long to wait, as the data does, and the connection is
    closed behind each: a guess costs a new one. The minute over, it is as before."""
    clock = Clock()
    async with dashboard(clock=clock) as client:
        for _ in range(FAILURES):
            answer = await client.post("/dashboard/login", data={"token": "wrong"})
            assert answer.status == 401 and "That is not the token" in await answer.text()
            assert COOKIE not in answer.cookies and "Connection" not in answer.headers
        form = await client.post("/dashboard/login", data={"token": "wrong"})
        data = await client.get("/dashboard/api/session", headers={"Authorization": "Bearer wrong"})
        for answer in (form, data):
            assert answer.status == 429 and answer.headers["Retry-After"] == str(int(WINDOW))
            assert answer.headers["Connection"] == "close"
        clock.now += WINDOW
        assert (await client.post("/dashboard/login", data={"token": "wrong"})).status == 401


async def test_who_guesses_locks_nobody_out(client: Client) -> None:
    """The right token is taken from an address that many wrong ones came from, as a bearer and in the form."""
    for _ in range(2 * FAILURES):
        await status(client, Authorization="Bearer wrong")
    assert await status(client, **BEARER) == 200
    assert await status(client, Cookie=await log_in(client)) == 200
    assert await status(client, Authorization="Bearer wrong") == 429  # the right one has cleared nobody of guessing


def test_failures_are_remembered_of_a_bounded_number_of_addresses() -> None:
    """The address that failed longest ago is forgotten first, and each has its own count."""
    failures = Failures(limit=1, addresses=2)
    for number, address in enumerate("abc"):
        failures.add(address, now=number)
    assert [failures.wait(address, now=2) for address in "abcd"] == [0, WINDOW - 1, WINDOW, 0]
    assert failures.wait("c", now=2 + WINDOW) == 0


async def test_a_session_changes_something_with_its_own_token_only(client: Client) -> None:
    """Without the header, with another session's, or from another site's page: 403."""
    cookie, other = await log_in(client), await log_in(client)
    token = await csrf(client, cookie)
    own = f"http://127.0.0.1:{client.port}"

    async def change(**headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await client.post("/dashboard/api/change", headers={"Cookie": cookie, **sent})).status

    with_token = {CSRF_HEADER: token}
    assert await change(**with_token) == 202
    assert await change(**with_token, Origin=own, Sec_Fetch_Site="same-origin") == 202
    assert await change() == 403
    assert await change(**{CSRF_HEADER: await csrf(client, other)}) == 403
    assert await change(**with_token, Origin="https://evil.example") == 403
    assert await change(**with_token, Origin="null") == 403
    assert await change(**with_token, Sec_Fetch_Site="same-site") == 403
    assert await change(**with_token, Sec_Fetch_Site="cross-site") == 403


async def test_the_public_address_is_an_origin_of_ours() -> None:
    """Behind a proxy that changes Host the pages come from PUBLIC_URL."""
    async with dashboard(address=PUBLIC) as client:
        cookie = await log_in(client)
        headers = {"Cookie": cookie, CSRF_HEADER: await csrf(client, cookie), "Origin": "https://relay.example"}
        assert (await client.post("/dashboard/api/change", headers=headers)).status == 202


@pytest.mark.parametrize("path", ["/dashboard/login", "/dashboard/logout"])
async def test_no_other_site_logs_in_or_out(client: Client, path: str) -> None:
    """Forms of other sites are refused."""
    answer = await client.post(path, data={"token": TOKEN}, headers={"Origin": "https://evil.example"})
    assert answer.status == 403 and COOKIE not in answer.cookies


@pytest.mark.parametrize(("body", "kind", "expected"), [
    (b"token=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
    (b"{}", "application/json", 415),
    (b"token", "application/x-www-form-urlencoded", 401),
    (b"token=%ff", "application/x-www-form-urlencoded", 401),
])  # fmt: skip
async def test_a_form_that_is_none_is_refused(client: Client, body: bytes, kind: str, expected: int) -> None:
    """Whatever is sent is answered; nothing of it gets in."""
    answer = await client.post("/dashboard/login", data=body, headers={"Content-Type": kind})
    assert answer.status == expected


ROUTES = (
    ("GET", "/dashboard"),
    ("GET", "/dashboard/login"),
    ("POST", "/dashboard/login"),
    ("POST", "/dashboard/logout"),
    ("GET", "/dashboard/api/session"),
    ("GET", "/dashboard/assets/x/style.css"),
    ("POST", "/dashboard/api/change"),
)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_without_a_token_it_is_closed(method: str, path: str) -> None:
    """Public and no DASHBOARD_TOKEN: as if nothing were there, whatever is brought."""
    async with dashboard("", PUBLIC) as client:
        for headers in ({}, BEARER, {"Authorization": "Bearer"}, {"Cookie": f"{COOKIE}=."}):
            answer = await client.request(
                method, path, headers=headers, data={"token": ""} if method == "POST" else None
            )
            assert (answer.status, await answer.text()) == (404, "")


@pytest.mark.parametrize("headers", [
    {"X-Forwarded-For": "127.0.0.1"}, {"Host": "abc.ngrok.app"}, {"Origin": "https://evil.example"}, {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
])  # fmt: skip
@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_development_mode_is_closed_to_others(method: str, path: str, headers: dict[str, str]) -> None:
    """Through a tunnel, under another name or from another page there is no dashboard."""
    async with dashboard("") as client:
        answer = await client.request(method, path, headers=headers)
        assert (answer.status, await answer.text()) == (404, "")


async def test_a_link_of_another_site_leads_to_a_page() -> None:
    """In development mode somebody who follows it sees the page; data is not for following."""
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    tunnelled = {**followed, "X-Forwarded-For": "127.0.0.1"}
    async with dashboard("") as client:
        assert (await client.get("/dashboard/calls", headers=followed)).status == 200
        assert (await client.get("/dashboard/calls", headers=tunnelled)).status == 404
        assert (await client.get("/dashboard/api/session", headers=followed)).status == 404
        assert (await client.post("/dashboard/login", headers=followed)).status == 404


async def test_development_mode_is_open_to_this_machine() -> None:
    """Without a token: pages and data for a browser here, and its own page may change something."""
    async with dashboard("") as client:
        assert await status(client, "/dashboard") == 200
        answer = await client.get("/dashboard/api/session")
        assert await answer.json() == {"csrf": "", "expires": None, "shows_words": False, "logged_in": False}
        own = {"Origin": f"http://127.0.0.1:{client.port}"}
        assert (await client.post("/dashboard/api/change", headers=own)).status == 202
        assert (await client.post("/dashboard/api/change")).status == 202
        assert await status(client, "/dashboard/login") == 303


async def test_a_token_is_needed_on_this_machine_too_once_it_is_set(client: Client) -> None:
    """In development mode DASHBOARD_TOKEN is what it is elsewhere."""
    assert await status(client) == 401
