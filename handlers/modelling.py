"""The model every conversation asks, put together from the settings."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from hashlib import sha256

from config.agent_file import EngineCheck
from config.definition import DIALOGFLOW, OPENAI, AgentDefinition
from config.settings import Settings
from relay.errors import ConfigError
from relay.genai import Place, place_of
from relay.models.base import LanguageModel, ModelRequest
from relay.models.chat import ChatModel
from relay.models.client import ModelClient, choose_api, make_client, tls_context
from relay.models.dialogflow import DialogflowModel
from relay.models.dialogflow_client import INSTALL, Bot, is_installed
from relay.models.engines import Engines
from relay.models.options import always_reasons
from relay.models.responses import ResponsesModel
from relay.models.sockets import Sockets
from relay.models.steady import Deadlines, SteadyModel
from relay.models.websocket import WebsocketModel
from relay.telemetry import Telemetry

SESSIONS_LABEL = b"relay: dialogflow sessions key 1"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where models are asked. ``rehearsal``: a scripted endpoint of our own, which knows agents by name."""

    base_url: str = ""
    api_key: str = field(default="", repr=False)
    rehearsal: bool = False


def endpoint_of(settings: Settings) -> Endpoint | None:
    """What the settings name; None where they name nothing and a rehearsal is to be started."""
    if settings.openai_api_key is None and settings.openai_base_url is None:
        return None
    key = settings.openai_api_key
    return Endpoint(settings.openai_base_url or "", key.get_secret_value() if key else "")


def fallback_endpoint_of(settings: Settings, endpoint: Endpoint) -> Endpoint:
    """Where the fallback model is asked; what the settings do not say is as at the first one's."""
    key = settings.openai_fallback_api_key
    return Endpoint(
        settings.openai_fallback_base_url or endpoint.base_url, key.get_secret_value() if key else endpoint.api_key
    )


def make_model(settings: Settings, endpoint: Endpoint, telemetry: Telemetry) -> SteadyModel:
    """The model every call asks, with its deadlines and its fallback, each on a client of its own.

    Raises ConfigError for a transport the API does not have.
    """

    def thinks(request: ModelRequest) -> bool:
        wish = request.reasoning or settings.openai_reasoning
        return wish != "none" or always_reasons(request.model or settings.openai_model)

    second = fallback_endpoint_of(settings, endpoint) if settings.openai_fallback_model else None
    context = tls_context(*(each.base_url for each in (endpoint, second) if each is not None))
    client = make_client(endpoint.base_url, endpoint.api_key, context=context)
    model: LanguageModel = _adapter(settings, client, settings.openai_model)
    if settings.openai_transport == "websocket":
        if not isinstance(model, ResponsesModel):
            problem = "OPENAI_TRANSPORT: websocket is a way to the Responses API, and here Chat Completions is spoken"
            raise ConfigError([f"{problem}; set OPENAI_API=responses, or OPENAI_TRANSPORT=http."])
        model = WebsocketModel(model, Sockets(client))
    place, fallback_place = place_of(client.base_url, settings.openai_model), Place()
    if endpoint.rehearsal:
        place = replace(place, provider="rehearsal")
    fallback: LanguageModel | None = None
    if second is not None and settings.openai_fallback_model:
        client = make_client(second.base_url, second.api_key, context=context)
        fallback = _adapter(settings, client, settings.openai_fallback_model)
        fallback_place = place_of(client.base_url, settings.openai_fallback_model)
    return SteadyModel(
        model,
        fallback,
        telemetry,
        deadlines=Deadlines(settings.first_token_deadline, settings.stall_deadline),
        thinks=thinks,
        places=(place, fallback_place),
    )


def _adapter(settings: Settings, client: ModelClient, model: str) -> ChatModel | ResponsesModel:
    api = choose_api(settings.openai_api, client.base_url)
    adapter: type[ChatModel | ResponsesModel] = ChatModel if api == "chat" else ResponsesModel
    return adapter(client, model=model, reasoning=settings.openai_reasoning, read_timeout=settings.turn_deadline)


def bot_of(settings: Settings) -> Bot | None:
    """The agent of Dialogflow's that the settings name."""
    if settings.dialogflow_project is None:
        return None
    return Bot(
        settings.dialogflow_project,
        settings.dialogflow_agent or "",
        settings.dialogflow_location,
        settings.dialogflow_endpoint or "",
    )


def make_engines(
    settings: Settings,
    openai: LanguageModel,
    telemetry: Telemetry,
    secret: bytes,
    used: Callable[[], Collection[str]],
) -> LanguageModel:
    """``openai`` and, where the settings name one, Dialogflow, as one model. ``secret``: the same in every process.
    ``used``: the engines of the agents there are."""
    bot = bot_of(settings)
    if bot is None:
        return openai
    key = hmac.digest(secret, SESSIONS_LABEL, sha256)
    dialogflow = DialogflowModel(bot, key, telemetry, deadline=settings.turn_deadline)
    return Engines({OPENAI: openai, DIALOGFLOW: dialogflow}, used)


def engine_check(settings: Settings) -> EngineCheck:
    """What is wrong with an engine an agent names, as far as can be told without asking anybody."""

    def check(engine: str) -> str:
        if engine != DIALOGFLOW:
            return ""
        if settings.dialogflow_project is None:
            return "the engine dialogflow needs DIALOGFLOW_PROJECT (docs/dialogflow.md)."
        return "" if is_installed() else f"the engine dialogflow needs the extra dialogflow: {INSTALL}."

    return check


def model_names(settings: Settings, endpoint: Endpoint) -> Callable[[AgentDefinition], str]:
    """Gives the model that an agent's requests name."""
    bot = bot_of(settings)

    def name(agent: AgentDefinition) -> str:
        if agent.engine == DIALOGFLOW and bot is not None:
            return bot.model
        return f"rehearsal:{agent.name}" if endpoint.rehearsal else agent.model

    return name
