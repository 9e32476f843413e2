"""The way to Dialogflow: Google's libraries, credentials, a channel, one request of ES or CX, and what went wrong.

The libraries are an extra, and take half a second to load: they are imported when they are first needed, with the
credentials, in a thread. Nothing outside this module sees a class of theirs.

A message of Google's may quote what the person said, so none goes into our errors: only its status.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from relay.errors import ModelCut, ModelError, ModelRejected, ModelUnavailable
from relay.genai import Place
from relay.models.dialogflow_answer import Reply, cx_reply, es_reply
from relay.models.dialogflow_input import Input

ES, CX = "google.cloud.dialogflow_v2", "google.cloud.dialogflowcx_v3"
INSTALL = "pip install 'relay[dialogflow]' (in a checkout: .venv/bin/pip install -e '.[dialogflow]')"
CREDENTIALS = "GOOGLE_APPLICATION_CREDENTIALS is to name a service account's key file (role Dialogflow API Client)"
BAD_FOR = 20.0  # seconds for which what could not be opened is not tried again
OPTIONS = [
    # A server that comes back is found within seconds; the library's default is two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 3000),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
]
_REFUSED = frozenset(
    {
        *("INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED"),
        *("FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED", "ALREADY_EXISTS"),
    }
)


def is_installed() -> bool:
    """Whether the extra is there, as far as can be told without loading it."""
    try:
        return all(find_spec(name) is not None for name in (ES, CX))
    except ModuleNotFoundError:
        return False


@dataclass(frozen=True, slots=True)
class Bot:
    """An agent of Dialogflow's. ``agent``: of CX, "" for the project's ES agent; it may name an environment
    (``ID/environments/ID``). ``endpoint``: ``host:port`` or ``http://host:port``, "" for Google's own."""

    project: str
    agent: str = ""
    location: str = "global"
    endpoint: str = ""

    @property
    def model(self) -> str:
        """What it is called among models."""
        return "dialogflow-cx" if self.agent else "dialogflow-es"

    @property
    def insecure(self) -> bool:
        return self.endpoint.startswith("http://")

    @property
    def address(self) -> str:
        """``host:port``."""
        if self.endpoint:
            return self.endpoint.removeprefix("http://")
        region = "" if self.location == "global" else f"{self.location}-"
        return f"{region}dialogflow.googleapis.com:443"

    @property
    def place(self) -> Place:
        host, _, port = self.address.rpartition(":")
        return Place("gcp.dialogflow", self.model, host, port)

    def session(self, name: str) -> str:
        if self.agent:
            return f"projects/{self.project}/locations/{self.location}/agents/{self.agent}/sessions/{name}"
        place = "" if self.location == "global" else f"/locations/{self.location}"
        return f"projects/{self.project}{place}/agent/sessions/{name}"


class DialogflowClient:
    """One channel a process, opened when it is first needed, and anew after a failure. ``close`` ends all of it."""

    def __init__(self, bot: Bot) -> None:
        self.bot = bot
        self._opening: asyncio.Task[_Sessions] | None = None
        self._failed_at = float("-inf")

    async def open(self, patience: float | None = None) -> _Sessions:
        """Raises ModelError. A cancel, and a patience that is over, leave it being opened."""
        task = self._opening
        if task is None or (task.done() and self._has_failed(task) and time.monotonic() - self._failed_at > BAD_FOR):
            task = self._opening = asyncio.create_task(self._open(), name="open Dialogflow")
        await asyncio.wait([task], timeout=patience)
        if not task.done() or task.cancelled():
            raise ModelUnavailable("Dialogflow is not opened in time", fields={"reason": "TimeoutError"})
        if isinstance(error := task.exception(), ModelError):
            raise type(error)(str(error), fields=error.fields)  # this one is of several requests
        return task.result()

    async def reach(self) -> str:
        """Opens the channel, without a request. Returns "" or what is wrong."""
        try:
            sessions = await self.open()
        except ModelError as error:
            return str(error)
        return "" if await sessions.reach() else f"Dialogflow cannot be reached at {self.bot.address}"

    async def prove(self, patience: float) -> None:
        """Asks for nothing, which Dialogflow refuses after it has looked at the credentials, the project and the agent;
        no session is changed. Raises ModelError for what else is wrong."""
        sessions = await self.open(patience)
        try:
            async for _ in sessions.ask("0" * 32, Input(), "en", spoken=False, timeout=patience):
                pass
        except ModelRejected as error:
            if error.fields.get("reason") != "INVALID_ARGUMENT":
                raise

    async def close(self) -> None:
        """Requests that are under way end."""
        if (task := self._opening) is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None:
                await task.result().close()

    def _has_failed(self, task: asyncio.Task[_Sessions]) -> bool:
        return task.cancelled() or task.exception() is not None

    async def _open(self) -> _Sessions:
        try:
            library, credentials = await asyncio.to_thread(_load, self.bot)
            return _Sessions(self.bot, library, credentials)
        except ImportError as error:
            problem = f"the extra dialogflow is not installed: {INSTALL}"
            failure = ModelRejected(problem, fields={"reason": "not installed", "missing": error.name or ""})
        except Exception as error:  # whatever their libraries raise here: no key file, one that cannot be read
            problem = f"there are no credentials for Dialogflow: {CREDENTIALS}"
            failure = ModelRejected(problem, fields={"reason": type(error).__name__})
        self._failed_at = time.monotonic()
        raise failure


def _load(bot: Bot) -> tuple[Any, Any]:
    """The library and the credentials; in a thread. Where there are none, that may take seconds."""
    library = import_module(CX if bot.agent else ES)
    if bot.insecure:
        return library, None
    transport = library.SessionsAsyncClient.get_transport_class("grpc_asyncio")
    credentials, _ = import_module("google.auth").default(scopes=transport.AUTH_SCOPES)
    return library, credentials


class _Sessions:
    """Google's client on one channel."""

    def __init__(self, bot: Bot, library: Any, credentials: Any) -> None:
        grpc = import_module("grpc.aio")
        self._bot = bot
        self._library = library
        transport = library.SessionsAsyncClient.get_transport_class("grpc_asyncio")

        def channel(host: str, *, options: list[tuple[str, int]], **rest: Any) -> Any:
            return transport.create_channel(host, options=[*options, *OPTIONS], **rest)

        if bot.insecure:
            made = transport(channel=grpc.insecure_channel(bot.address, options=OPTIONS))
        else:
            made = transport(host=bot.address, credentials=credentials, channel=channel, always_use_jwt_access=True)
        self._channel = made.grpc_channel
        self._client = library.SessionsAsyncClient(transport=made)

    async def ask(
        self, session: str, asked: Input, language: str, *, spoken: bool, timeout: float
    ) -> AsyncGenerator[Reply, None]:
        """One request: its responses, the last of them final. Raises ModelError. Left before its end, or cancelled, it
        is cancelled at Dialogflow too."""
        stream = self._cx if self._bot.agent else self._es
        final = received = False
        try:
            async with aclosing(stream(self._bot.session(session), asked, language, spoken, timeout)) as replies:
                async for reply in replies:
                    received, final = True, reply.final
                    yield reply
        except Exception as error:  # whatever the library raises here is Dialogflow's side
            raise _translated(error, received=received) from None  # its message may quote the person
        if not final:
            raise ModelCut("Dialogflow's stream ended before its end", received=received, fields={"reason": "no end"})

    async def _es(
        self, session: str, asked: Input, language: str, spoken: bool, timeout: float
    ) -> AsyncGenerator[Reply, None]:
        library = self._library
        request = library.DetectIntentRequest(session=session)
        if text := asked.text or asked.keys:
            request.query_input = library.QueryInput(text=library.TextInput(text=text, language_code=language))
        response = await self._client.detect_intent(request=request, retry=None, timeout=timeout)
        yield es_reply(_fields(response), spoken=spoken)

    async def _cx(
        self, session: str, asked: Input, language: str, spoken: bool, timeout: float
    ) -> AsyncGenerator[Reply, None]:
        library = self._library
        request = library.DetectIntentRequest(session=session)
        if asked.text:
            query = library.QueryInput(text=library.TextInput(text=asked.text), language_code=language)
            request.query_input = query
        elif asked.keys:
            dtmf = library.DtmfInput(digits=asked.keys.rstrip("#"), finish_digit="#" if asked.keys[-1] == "#" else "")
            request.query_input = library.QueryInput(dtmf=dtmf, language_code=language)
        call = await self._client.server_streaming_detect_intent(request=request, retry=None, timeout=timeout)
        try:
            async for response in call:
                yield cx_reply(_fields(response), spoken=spoken)
        finally:
            call.cancel()

    async def reach(self) -> bool:
        """Waits until the channel is open, or known not to be."""
        while (state := self._channel.get_state(try_to_connect=True)).name != "READY":
            if state.name in ("TRANSIENT_FAILURE", "SHUTDOWN"):
                return False
            await self._channel.wait_for_state_change(state)
        return True

    async def close(self) -> None:
        await self._channel.close()


def _fields(response: Any) -> dict[str, Any]:
    """What is set of a message, by name, to the bottom."""
    fields: dict[str, Any] = type(response).to_dict(
        response, use_integers_for_enums=False, always_print_fields_with_no_presence=False
    )
    return fields


def _translated(error: Exception, *, received: bool) -> ModelError:
    status = getattr(error, "grpc_status_code", None)
    name = str(getattr(status, "name", type(error).__name__))
    code = getattr(error, "code", None)
    fields: dict[str, str | int] = {"status": int(code) if isinstance(code, int) else 0, "reason": name}
    if name in _REFUSED:
        return ModelRejected(f"Dialogflow refused the request: {name}", received=received, fields=fields)
    if received:
        return ModelCut(f"Dialogflow's stream ended with {name}", received=True, fields=fields)
    return ModelUnavailable(f"Dialogflow answered {name}", fields=fields)
