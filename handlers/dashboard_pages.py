"""The pages of the dashboard: static files from ``handlers/pages``, read once. What they show they fetch as JSON.

Every page is the frame (``frame.html``) with its own part inside. Scripts and styles are served below a path that has
the digest of all of them in it, so that browsers keep them for good and never mix those of two versions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from html import escape
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from handlers.dashboard_access import DASHBOARD, Access
from handlers.guard import closed
from handlers.served_file import ServedFile
from relay.errors import StoreError

FOLDER = Path(__file__).parent / "pages"
# With the usual policy, no-referrer, a browser would not tell where a form comes from: its Origin would be "null".
OURS = {"Referrer-Policy": "same-origin"}
FOR_GOOD = "public, max-age=31536000, immutable"
CALL, AGENT, PERSON = f"{DASHBOARD}/calls/{{id}}", f"{DASHBOARD}/agents/{{name}}", f"{DASHBOARD}/people/{{id}}"
PAGES: Mapping[str, tuple[str, str]] = {
    DASHBOARD: ("live", "Live"),
    f"{DASHBOARD}/calls": ("calls", "Conversations"),
    CALL: ("call", "Conversation"),
    AGENT: ("about", "Agent"),
    PERSON: ("about", "Person"),
}
"""The file and the title of the page at each path."""

ThereIs = Callable[[str], Awaitable[bool]]

_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Pages:
    """``access``: who may open them; it also knows the prefix below which browsers find us. ``there_is``: by the path
    of a page, whether there is what a name in its place stands for; raises StoreError. The page of what there is not is
    the same, and tells so when it has asked for it; only its status is 404."""

    def __init__(self, access: Access, there_is: Mapping[str, ThereIs] | None = None, folder: Path = FOLDER) -> None:
        self._access = access
        self._there_is = there_is or {}
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in _TYPES}
        digest = sha256()
        for name, content in files.items():
            digest.update(f"{name} {len(content)} ".encode() + content)
        self._digest = digest.hexdigest()[:16]
        self._assets = {name: ServedFile.of(content, _TYPES[Path(name).suffix]) for name, content in files.items()}
        frame = (folder / "frame.html").read_text("utf-8")
        self._pages = {
            path: self._page(frame.replace("{{main}}", (folder / f"{name}.html").read_text("utf-8")), name, title)
            for path, (name, title) in PAGES.items()
        }
        self._login = (folder / "login.html").read_text("utf-8")

    def add_routes(self, app: web.Application) -> None:
        for path, page in self._pages.items():
            app.router.add_get(path, self._shows(page, self._there_is.get(path)))
            app.router.add_get(f"{path}/", self._leads_on)
        app.router.add_get(f"{DASHBOARD}/assets/{{digest}}/{{name}}", self.asset)

    def login(self, request: web.BaseRequest, problem: str = "", status: int = 200) -> web.Response:
        """The login form. ``problem``: why it is shown again; a sentence of ours."""
        text = self._login.replace("{{problem}}", f'<p class="problem" role="alert">{problem}</p>' if problem else "")
        return self._page(text, "login", "Log in").answer(request, {hdrs.CACHE_CONTROL: "no-store", **OURS}, status)

    async def asset(self, request: web.Request) -> web.Response:
        """Scripts and styles hold nothing secret, and the login form needs them."""
        self._access.check_open(request)
        file = self._assets.get(request.match_info["name"])
        if file is None:
            raise closed()
        # Asked for by a page of another version, while processes are being replaced: ours will do, but is not to stay.
        current = request.match_info["digest"] == self._digest
        return file.answer(request, {hdrs.CACHE_CONTROL: FOR_GOOD if current else "no-store"})

    def _shows(self, page: ServedFile, there_is: ThereIs | None) -> Handler:
        async def show(request: web.Request) -> web.Response:
            self._access.check_page(request)
            status = 200
            if there_is is not None:
                (name,) = request.match_info.values()
                try:
                    status = 200 if await there_is(name) else 404
                except StoreError:
                    pass  # the page finds out, and goes on trying
            return page.answer(request, {hdrs.CACHE_CONTROL: "private, no-cache", **OURS}, status)

        return show

    async def _leads_on(self, request: web.Request) -> web.Response:
        """From a path with a last slash to the page."""
        self._access.check_open(request, followed=True)
        url = request.rel_url
        query = f"?{url.raw_query_string}" if url.raw_query_string else ""
        raise web.HTTPSeeOther(f"{self._access.prefix}{url.raw_path.removesuffix('/')}{query}")

    def _page(self, text: str, name: str, title: str) -> ServedFile:
        base = escape(self._access.prefix + DASHBOARD)
        for what, value in {
            "base": base,
            "assets": f"{base}/assets/{self._digest}",
            "name": name,
            "title": title,
        }.items():
            text = text.replace(f"{{{{{what}}}}}", value)
        return ServedFile.of(text.encode(), "text/html")
