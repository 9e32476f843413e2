"""The one way to a model's endpoint a process has: its connections, and how a request leaves on them.

Each option has a measured reason: the request goes by the SDK's generic ``post`` (a resource method walks every
parameter, 3-10 ms), the pool has no limit (``max_connections=0`` is aiohttp's word for it) and no idle expiry (5 s by
default, less than a caller's pause), the SDK never retries (it would sleep inside a turn).
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote, urlsplit

import httpx2
import openai
import structlog
from openai import AsyncOpenAI, AsyncStream, DefaultAioHttpClient

from relay.models.failures import root_name

if TYPE_CHECKING:  # imports that HTTP can do without
    from openai.resources.responses.responses import AsyncResponsesConnection
    from openai.types.websocket_connection_options import WebSocketConnectionOptions

OPENAI_URL = "https://api.openai.com/v1"
CONNECT_SECONDS = 2.0
WARM_SECONDS = 5.0
DRAIN_SECONDS = 0.1
# A turn that supersedes another asks within a few ms and takes the spare connection; the replacement opens after it.
REPLACE_AFTER_SECONDS = 0.05
MAX_REPLACEMENTS = 32

_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
# What the request of this task waits for, or tells, before it is written; read by the one hook all requests share.
_departure: ContextVar[Callable[[], Awaitable[object]] | None] = ContextVar("departure", default=None)


def is_openai(base_url: str) -> bool:
    """Whether the endpoint is OpenAI's own (regional hosts included), not a compatible one."""
    host = (urlsplit(base_url or OPENAI_URL).hostname or "").lower()
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def choose_api(setting: Literal["auto", "responses", "chat"], base_url: str) -> Literal["responses", "chat"]:
    """The API to speak. ``auto``: Responses at OpenAI's own host, Chat Completions elsewhere."""
    if setting != "auto":
        return setting
    return "responses" if is_openai(base_url) else "chat"


class EventStream(AsyncStream[bytes]):
    """Only keeps the response: its bytes are read by ``relay.models.stream``, not by the SDK's decoder."""

    def __init__(self, *, response: httpx2.Response, **_: Any) -> None:
        self.response = response


async def _depart(_: httpx2.Request) -> None:
    if departure := _departure.get():
        _departure.set(None)  # a redirect comes by again
        await departure()


class ModelClient:
    """Sends requests, keeps connections warm, and owns the small tasks this takes. Safe for any number of streams."""

    def __init__(self, base_url: str, api_key: str, context: ssl.SSLContext) -> None:
        self.base_url = base_url
        self.is_openai = is_openai(base_url)
        self._context = context
        self._client = _sdk_client(base_url, api_key, context, keepalive=None)
        # A second try must not meet a second dead connection of the same pool: this client never reuses one.
        self._fresh = _sdk_client(base_url, api_key, context, keepalive=0)
        self._tasks: set[asyncio.Task[None]] = set()
        self._replacements = 0
        self._closed = False

    async def post(
        self,
        path: str,
        content: bytes,
        *,
        read_timeout: float,
        on_sent: Callable[[], None] | None = None,
        fresh: bool = False,
    ) -> httpx2.Response:
        """Sends ``content`` and returns the response once its headers are there, its body unread.

        ``on_sent`` is called when the request is about to be written, once, redirects or not. ``fresh`` takes a new
        connection. Raises what the SDK raises. A cancel closes the connection.
        """

        async def departure() -> None:
            if on_sent is not None:
                on_sent()

        token = _departure.set(departure)
        try:
            client = self._fresh if fresh else self._client
            stream = await client.post(
                path,
                cast_to=object,
                content=content,
                stream=True,
                stream_cls=EventStream,
                options={
                    "headers": {**_HEADERS, "Connection": "close"} if fresh else _HEADERS,
                    "timeout": httpx2.Timeout(read_timeout, connect=CONNECT_SECONDS, pool=2 * CONNECT_SECONDS),
                },
            )
        finally:
            _departure.reset(token)
        return stream.response

    async def connect(self, **options: Any) -> AsyncResponsesConnection:
        """A websocket to the Responses API; ``options`` are those of ``websockets.asyncio.client.connect``. Raises what
        that raises. The first takes 0.1 s of imports, so one belongs to the start of a process."""
        if self.base_url.startswith("https:"):
            options["ssl"] = self._context
        if _is_loopback(self.base_url):
            options["proxy"] = None
        # The SDK knows fewer of them by type than it hands on.
        known = cast("WebSocketConnectionOptions", {"compression": None, **options})
        return await self._client.responses.connect(websocket_connection_options=known).enter()

    async def warm(self, model: str) -> str:
        """Asks for the model twice at once, so that two connections are open: one for a turn and one for the turn that
        supersedes it. Costs no tokens. Returns "" or a sentence that says what is wrong; raises only on cancellation.
        """
        together = asyncio.Barrier(2)
        async with asyncio.TaskGroup() as group:
            probes = [group.create_task(self._probe(model, together), name="model-warm") for _ in range(2)]
        return next((warning for probe in probes if (warning := probe.result())), "")

    async def look_up(self, model: str = "") -> httpx2.Response:
        """What the endpoint says of a model, or of all it has. Costs no tokens. Raises what the SDK raises."""
        return await self._client.get(
            f"/models/{quote(model, safe='')}" if model else "/models",
            cast_to=httpx2.Response,
            options={"timeout": httpx2.Timeout(WARM_SECONDS, connect=CONNECT_SECONDS)},
        )

    def replace(self, model: str) -> None:
        """A connection was lost with a cancelled or cut stream: opens others in the background."""
        if self._replacements < MAX_REPLACEMENTS:
            self._replacements += 1
            self._spawn(self._replace(model), "model-replace")

    def drain(self, response: httpx2.Response, chunks: AsyncGenerator[bytes], model: str) -> None:
        """Reads what follows the terminal event, in the background and not for long, so that the connection can serve
        the next turn."""
        self._spawn(self._drain(response, chunks, model), "model-drain")

    async def close(self) -> None:
        """Ends the background tasks and closes all connections. May be called twice."""
        self._closed = True
        if tasks := list(self._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        await self._client.close()
        await self._fresh.close()

    async def _probe(self, model: str, together: asyncio.Barrier) -> str:
        """What GET /models/{model} says is wrong, or ""."""
        host = urlsplit(self.base_url).netloc
        _departure.set(together.wait)  # one after the other would share a connection
        try:
            async with asyncio.timeout(WARM_SECONDS):
                await self.look_up(model)
        except openai.APIStatusError as error:
            status = error.status_code
            if status in (401, 403):
                return f"the model's endpoint at {host} does not accept the key ({status})"
            if status == 404 and self.is_openai:
                return f"the model {model} does not exist at {host} or the key may not use it (404)"
            return f"the model's endpoint at {host} answers {status}" if status >= 500 or status == 429 else ""
        except TimeoutError:
            return f"the model's endpoint at {host} did not answer within {WARM_SECONDS:g} s"
        except Exception as error:  # whatever a transport raises, a start-up must not fail for it
            return f"the model's endpoint at {host} cannot be reached ({root_name(error)})"
        return ""

    async def _replace(self, model: str) -> None:
        try:
            await asyncio.sleep(REPLACE_AFTER_SECONDS)
            await self.warm(model)
        finally:
            self._replacements -= 1

    async def _drain(self, response: httpx2.Response, chunks: AsyncGenerator[bytes], model: str) -> None:
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                async for _ in chunks:
                    pass
        except Exception:  # the answer is complete; all that is lost is the connection
            self.replace(model)
        finally:
            await close_response(response, chunks)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if self._closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._reap)

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            structlog.get_logger().error("background task failed", task=task.get_name(), error=type(error).__name__)


async def close_response(response: httpx2.Response, chunks: AsyncGenerator[bytes]) -> None:
    """Gives the response up. If its body was not read to the end the connection is closed before the first wait."""
    try:
        await chunks.aclose()
    finally:
        await response.aclose()


def tls_context(*base_urls: str) -> ssl.SSLContext:
    """What all connections out are made with. Reading the authorities takes 17 ms: made before the port opens, and only
    once. Where all ``base_urls`` are plain ones on this machine there is no certificate to look at: nothing is read,
    and nobody's would be accepted."""
    if base_urls and all(url.startswith("http:") and _is_loopback(url) for url in base_urls):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx2.create_ssl_context()


def make_client(base_url: str = "", api_key: str = "", *, context: ssl.SSLContext | None = None) -> ModelClient:
    """The client for ``base_url`` (ends in /v1; "" is OpenAI's own), to be shared by all adapters of a process.

    ``context``: the TLS context shared by all that connects out; made here if None.
    A compatible server may need no key, the SDK insists on one: "" sends a placeholder.
    """
    return ModelClient(base_url or OPENAI_URL, api_key or "none", context or tls_context(base_url))


def _sdk_client(base_url: str, api_key: str, context: ssl.SSLContext, *, keepalive: float | None) -> AsyncOpenAI:
    http = DefaultAioHttpClient(
        verify=context,
        limits=httpx2.Limits(max_connections=0, keepalive_expiry=keepalive),
        event_hooks={"request": [_depart]},
        # A proxy of the environment is meant for the way out; it cannot reach an endpoint on this machine.
        trust_env=not _is_loopback(base_url),
    )
    return AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0, http_client=http)


def _is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
