"""``GET /chat``, a page with the live chat on it, and ``GET /chat/widget.js``, the script that puts it on any page.

The page takes the language of the browser, as far as the widget speaks it, and is below whichever prefix browsers find
us, for it names what it loads relative to itself. Its policy lets no script make markup of text (Trusted Types).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from html import escape
from pathlib import Path
from string import Template

from aiohttp import hdrs, web

from config.definition import AgentDefinition
from handlers.chat_script import FOLDER, script
from handlers.hardening import CORP, page_policy
from handlers.served_file import ServedFile

PAGE = "/chat"
SCRIPT = f"{PAGE}/widget.js"
STYLE = f"{PAGE}/page.css"

FRESH = 300
"""Seconds for which browsers use the script they have without asking; it says for how long a change may go unseen."""

LANGUAGES = ("en", "es", "de", "fr", "ar")
"""What the widget speaks; the first where the browser asks for none of them."""

_RIGHT_TO_LEFT = ("ar",)
_POLICY = page_policy(form_action="'none'", require_trusted_types_for="'script'")


class ChatPages:
    """``agents``: those there are now; ``default``: the name of the one that a page which names none is with.
    ``fresh``: awaited before an agent is looked up."""

    def __init__(
        self,
        agents: Mapping[str, AgentDefinition],
        default: str,
        *,
        fresh: Callable[[], Awaitable[object]],
        folder: Path = FOLDER,
    ) -> None:
        self._agents = agents
        self._default = default
        self._fresh = fresh
        self._page = Template((folder / "page.html").read_text("utf-8"))
        self._style = ServedFile.of((folder / "page.css").read_bytes(), "text/css")
        self._script = ServedFile.of(script(folder), "text/javascript")

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get(PAGE, self.page)
        app.router.add_get(SCRIPT, self.script)
        app.router.add_get(STYLE, self.style)

    async def page(self, request: web.Request) -> web.StreamResponse:
        await self._fresh()
        name = request.query.get("agent") or self._default
        agent = self._agents.get(name)
        if agent is None:
            raise web.HTTPNotFound(text="There is no agent of this name.\n")
        language = spoken(request.headers.get(hdrs.ACCEPT_LANGUAGE, ""))
        text = self._page.substitute(
            agent=escape(name),
            title=escape(agent.title),
            language=language,
            direction="rtl" if language in _RIGHT_TO_LEFT else "ltr",
        )
        headers: dict[str, str] = {hdrs.CACHE_CONTROL: "no-cache", hdrs.VARY: hdrs.ACCEPT_LANGUAGE}
        headers[hdrs.CONTENT_SECURITY_POLICY] = _POLICY
        return ServedFile.of(text.encode(), "text/html").answer(request, headers)

    async def script(self, request: web.Request) -> web.StreamResponse:
        """For pages of any site, those too that load nothing from elsewhere without being told that they may."""
        headers = {hdrs.CACHE_CONTROL: f"public, max-age={FRESH}", CORP: "cross-origin"}
        headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
        return self._script.answer(request, headers)

    async def style(self, request: web.Request) -> web.StreamResponse:
        return self._style.answer(request, {hdrs.CACHE_CONTROL: f"public, max-age={FRESH}"})


def spoken(accepted: str) -> str:
    """The first language of an Accept-Language header that the widget speaks; browsers name them by preference."""
    for each in accepted.split(","):
        tag = each.partition(";")[0].strip().partition("-")[0].lower()
        if tag in LANGUAGES:
            return tag
    return LANGUAGES[0]
