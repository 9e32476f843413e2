"""Every setting, typed, read once from the environment and ``.env``; everything wrong is reported at once, by name.

A field is the lower-case name of its environment variable; its description is one line of ``.env.example`` and of the
README's table, which are made here (``python -m config.settings --env-example``, ``--table``). Only this module reads
the environment: each part of the program is given its own few values.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from config.values import (
    ANY_CASE,
    CHECKOUT,
    CallingCodes,
    Count,
    CountOrOff,
    Destination,
    Folder,
    GrpcEndpoint,
    ModelUrl,
    Origins,
    PhoneNumber,
    Price,
    PublicUrl,
    RedisUrl,
    Seconds,
    SecondsOrZero,
    Secrets,
    SmtpUrl,
    Switch,
    TwilioUrl,
    WebUrl,
    matching,
)
from relay.errors import ConfigError

SECRET_LIMIT = 64 * 1024  # bytes of a file that holds one


class Settings(BaseSettings):
    """What an operator may set. Frozen; secrets and phone numbers are not in its repr. Made by ``load_settings``."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    public_url: PublicUrl | None = Field(
        default=None,
        description="address the world reaches this server by, `https://host[/prefix]`; on Render and Fly known by "
        "itself; unset: development mode",
    )
    host: str = Field(
        default="127.0.0.1", description="address to listen on; the default is 0.0.0.0 once `PUBLIC_URL` is set"
    )
    port: int = Field(default=8080, ge=0, le=65535, description="port to listen on; 0 takes any free one")
    redis_url: RedisUrl | None = Field(
        default=None,
        description="your own Redis: `redis://`, `rediss://`, `unix://`, "
        "`redis+sentinel://h1:26379,h2:26379/SERVICE/0` or `redis+cluster://h1:7000,h2:7001`; unset: an embedded "
        "server is started",
    )
    data_dir: Folder = Field(
        default=Path("./data"), validate_default=True, description="embedded server's files; relative to the checkout"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], ANY_CASE] = Field(
        default="info", description="`debug`, `info`, `warning` or `error`"
    )
    log_format: Annotated[Literal["auto", "json", "text"], ANY_CASE] = Field(
        default="auto", description="`json`, `text`, or `auto`: text on a terminal, JSON otherwise"
    )
    agents_dir: Folder = Field(
        default=Path("config/agents"),
        validate_default=True,
        description="folder of the agents; relative to the checkout",
    )
    default_agent: Annotated[str, matching(r"[A-Za-z0-9][\w-]*", "the name of a folder in AGENTS_DIR")] = Field(
        default="default", description="agent of a call that names none"
    )

    openai_api_key: SecretStr | None = Field(
        default=None,
        description="key of the model's endpoint; without it and `OPENAI_BASE_URL` a rehearsal model answers",
    )
    openai_base_url: ModelUrl | None = Field(
        default=None, description="another OpenAI-compatible endpoint; ends in `/v1`"
    )
    openai_model: str = Field(default="gpt-5.4-mini", description="model of agents that name none")
    openai_api: Annotated[Literal["auto", "responses", "chat"], ANY_CASE] = Field(
        default="auto",
        description="`responses`, `chat`, or `auto`: Responses at OpenAI's own host, Chat Completions elsewhere",
    )
    openai_reasoning: Annotated[Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"], ANY_CASE] = Field(
        default="none", description="reasoning effort, where the model has it"
    )

    openai_fallback_model: str | None = Field(
        default=None, description="model that steps in when the first one is late or fails; unset: none"
    )
    openai_fallback_base_url: ModelUrl | None = Field(
        default=None, description="its endpoint, ends in `/v1`; unset: the same as the first one's"
    )
    openai_fallback_api_key: SecretStr | None = Field(
        default=None, description="its key; unset: the same as the first one's"
    )
    openai_transport: Annotated[Literal["http", "websocket"], ANY_CASE] = Field(
        default="http", description="way to the Responses API: `http`, or `websocket` with HTTP as its fallback"
    )
    first_token_deadline: Seconds = Field(
        default=1.2, description="wait for a model's first word before a second request races the first"
    )
    stall_deadline: Seconds = Field(
        default=2, description="silence of a model in the middle of a reply before another request takes it up"
    )
    speculation: Annotated[Literal["off", "on"], ANY_CASE] = Field(
        default="off",
        description="`on`: partial prompts that look complete are sent to the model ahead of the final one",
    )
    speculation_limit: int = Field(default=3, ge=0, description="such requests in one turn")

    twilio_account_sid: Annotated[str, matching(r"AC[0-9a-fA-F]{32}", "AC and 32 hexadecimal digits")] | None = Field(
        default=None, description="account whose calls are taken"
    )
    twilio_auth_token: Secrets = Field(
        default=(), description="verifies signatures; several, separated by commas, while one is replaced by another"
    )
    twilio_api_key: SecretStr | None = Field(default=None, description="API key (SK...) for requests to Twilio")
    twilio_api_secret: SecretStr | None = Field(default=None, description="secret of `TWILIO_API_KEY`")
    twilio_phone_number: PhoneNumber | None = Field(default=None, repr=False, description="your Twilio number, E.164")
    twilio_api_base: TwilioUrl | None = Field(
        default=None, description="root before `/2010-04-01`; when set it stands for every Twilio host"
    )
    transfer_to: Destination | None = Field(
        default=None,
        repr=False,
        description="person calls are handed to: a number in E.164 form, or `sip:name@host`; unset: nobody by this way",
    )
    transfer_workflow_sid: Annotated[str, matching(r"WW[0-9a-fA-F]{32}", "WW and 32 hexadecimal digits")] | None = (
        Field(default=None, description="TaskRouter workflow calls are queued in instead, with task attributes")
    )
    transfer_studio_flow: Annotated[str, matching(r"FW[0-9a-fA-F]{32}", "FW and 32 hexadecimal digits")] | None = Field(
        default=None, description="Studio flow calls are handed to instead"
    )
    smtp_url: SmtpUrl | None = Field(
        default=None,
        description="mail server, `smtp://user:pass@host:587` or `smtps://`; unset: no mail is sent",
    )
    mail_from: Annotated[str, matching(r"[^@\n\r]*[^@\s]+@[^@\s]+", "an e-mail address")] | None = Field(
        default=None, description="sender of mail, `Name <name@host>` or an address"
    )
    api_token: SecretStr | None = Field(
        default=None, description="bearer token of the routes for your own systems; unset: they are closed"
    )
    outbound_countries: CallingCodes = Field(
        default=(), description="calling codes that may be dialled, such as `+1,+44`; empty: none"
    )
    outbound_per_minute: Count = Field(default=10, description="calls placed in a minute, at most")
    report_url: WebUrl | None = Field(
        default=None, description="address each call is reported to when it is over; needs `REPORT_SECRET`"
    )
    report_secret: SecretStr | None = Field(
        default=None, description="key of the reports' `X-Relay-Signature`; unset: no report is sent"
    )
    memory: Annotated[Literal["on", "off"], ANY_CASE] = Field(
        default="on", description="`on`: a summary of each call is kept with the person, and the next call knows it"
    )

    setup_deadline: Seconds = Field(default=5, description="wait for the first frame of a call")
    ticket_seconds: Seconds = Field(default=120, description="life of the ticket between the two voice routes")
    side_effect_wait: SecondsOrZero = Field(
        default=0.4, description="a turn waits so long for a tool with a lasting effect"
    )
    resume_limit: int = Field(default=3, ge=0, description="times a broken call is resumed")
    tool_deadline: Seconds = Field(default=10, description="time of one tool")
    tool_rounds: int = Field(default=6, ge=1, description="rounds of tools in one turn")
    turn_deadline: Seconds = Field(default=15, description="from a prompt to the next words, whatever fails")
    after_interrupt: Seconds = Field(
        default=2, description="silence after an interrupt before the turn goes on by itself"
    )
    prepare_deadline: Seconds = Field(default=1, description="wait for history, person and tools before the first turn")
    goodbye_limit: Seconds = Field(default=15, description="longest wait for the last words to be heard")
    interdigit: Seconds = Field(default=1.2, description="pause that ends a row of pressed keys")
    filler_after: Seconds = Field(
        default=0.8, description="time of a tool before the agent says that it takes a moment"
    )
    silence_after: Seconds = Field(
        default=8, description="quiet on both sides before the agent asks whether the caller is there"
    )
    silence_prompts: int = Field(
        default=2,
        ge=0,
        description="times it asks in a row before it says goodbye; 0: goodbye at the first silence",
    )
    max_call_seconds: Seconds = Field(
        default=3600, description="longest call, resumed or not; the caller is told a minute before it ends"
    )
    reply_max_chars: int = Field(default=4000, ge=1, description="longest reply, ended at a sentence")
    history_tokens: int = Field(default=12000, ge=1, description="estimated tokens of history the model is shown")
    call_history_hours: Seconds = Field(default=24, description="life of a call's history, in hours")
    text_history_days: Seconds = Field(default=30, description="life of a text conversation's history, in days")
    drain_seconds: SecondsOrZero = Field(
        default=25, description="a process that leaves gives its calls so long to end; then they are handed on"
    )
    max_calls: Count = Field(default=1000, description="calls in progress in one process, at most")
    busy_redirect_url: WebUrl | None = Field(
        default=None,
        description="TwiML for calls beyond `MAX_CALLS`, such as another site's; unset: they hear the line `busy`",
    )
    voice_fallback_url: WebUrl | None = Field(
        default=None,
        description="TwiML for calls while we cannot be reached, given to Twilio by `relay number connect`; "
        "unset: `PUBLIC_URL/voice/fallback`",
    )
    trusted_hops: int = Field(
        default=0,
        ge=0,
        description="proxies in front: a client is the n-th address from the right of `X-Forwarded-For`; 0: the peer",
    )
    rate_per_minute: int = Field(
        default=120,
        ge=0,
        description="requests of one address without a valid signature or bearer token; 0: any number",
    )
    calls_per_person_hour: CountOrOff = Field(default=None, description="calls of one person in an hour; unset: any")
    budget_tokens_per_day: CountOrOff = Field(
        default=None, description="model tokens in a day (UTC), all people together; unset: any number"
    )
    budget_tokens_per_person_day: CountOrOff = Field(
        default=None, description="model tokens in a day (UTC) for one person; unset: any number"
    )
    debate_history: Count = Field(default=5, description="latest messages an answer of the debate has, both sides")
    debate_deadline: Seconds = Field(default=15, description="time of one answer of the debate; 504 beyond it")
    debate_max_chars: Count = Field(default=4000, description="longest message to the debate, in characters")
    debate_api_key: SecretStr | None = Field(
        default=None, description="bearer token of the debate; unset: anybody may debate"
    )
    chat_agent: Annotated[str, matching(r"[A-Za-z0-9][\w-]*", "the name of a folder in AGENTS_DIR")] = Field(
        default="default", description="agent of a live chat that names none"
    )
    chat_origins: Origins = Field(
        default=(),
        description="sites besides our own whose pages may open a live chat, `https://host,https://other:8443`",
    )
    chat_max_sockets: Count = Field(default=2000, description="live chats open in one process, at most")
    chat_max_sockets_per_address: int = Field(
        default=50, ge=0, description="live chats open from one address, at most; 0: any number"
    )
    dialogflow_project: str | None = Field(
        default=None, description='Google Cloud project of agents with `engine = "dialogflow"`'
    )
    dialogflow_agent: str | None = Field(
        default=None, description="id of a Dialogflow CX agent; unset: the project's ES agent"
    )
    dialogflow_location: str = Field(
        default="global", description="region of the Dialogflow agent, such as `us-central1`"
    )
    dialogflow_endpoint: GrpcEndpoint | None = Field(
        default=None,
        description="another Dialogflow server, `host:port`; `http://host:port`: without TLS and credentials",
    )
    dashboard_token: SecretStr | None = Field(
        default=None, description="opens `/dashboard` to others than this machine in development mode; unset: closed"
    )
    dashboard_show_words: Switch = Field(
        default=0, description="`1`: the dashboard shows words, names and numbers; else they are masked"
    )
    price_input: Price | None = Field(default=None, description="money for a million input tokens; unset: not told")
    price_cached: Price | None = Field(
        default=None, description="for a million of them that the provider had cached; unset: as `PRICE_INPUT`"
    )
    price_output: Price | None = Field(default=None, description="for a million output tokens")
    metrics_token: SecretStr | None = Field(
        default=None, description="bearer token of `/metrics` for others than loopback"
    )

    @model_validator(mode="before")
    @classmethod
    def _listen(cls, values: dict[str, Any]) -> dict[str, Any]:
        """A server the world is told about listens to more than itself."""
        return {"host": "0.0.0.0", **values} if values.get("public_url") else values

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: ``load_settings`` is the one place that reads files and the environment."""
        return (init_settings,)


def load_settings(env_file: Path | None = Path(".env"), environ: Mapping[str, str] | None = None) -> Settings:
    """Reads the settings; raises ``ConfigError`` with one sentence for every missing or malformed one.

    ``env_file``: a relative path is looked for in the checkout and then in the working directory, where the latter
    wins; an absolute one is read alone; None reads none. ``environ`` (``os.environ`` if None) wins over all files. An
    empty value counts as unset and an unknown name is ignored. A secret may also be the content of a file that
    ``NAME_FILE`` names. No value of a setting appears in the sentences.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for file in () if env_file is None else dict.fromkeys((CHECKOUT / env_file, Path.cwd() / env_file)):
        try:
            values |= _known(DotEnvSettingsSource(Settings, env_file=file).env_vars, problems)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([f"{file} cannot be read: {type(error).__name__}."]) from None
    source = EnvSettingsSource(Settings)
    if environ is not None:
        source.env_vars = {name.lower(): value for name, value in environ.items()}
    values |= _known(source.env_vars, problems)
    if "public_url" not in values and (told := _platforms_url(source.env_vars)):
        values["public_url"] = told

    problems += _missing(values)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems[:0] = [
            f"{str(each['loc'][0]).upper()} {_sentence(each['msg'])}"
            for each in error.errors(include_url=False, include_input=False)
        ]
        raise ConfigError(problems) from None
    if problems:
        raise ConfigError(problems)
    return settings


def hand_on(prefix: str, env_file: str = ".env", environ: MutableMapping[str, str] = os.environ) -> None:
    """Puts what ``.env`` has for a library, which reads the environment alone, there: variables whose names begin so
    and that are not set. Of two files the one in the working directory counts."""
    for file in dict.fromkeys((Path.cwd() / env_file, CHECKOUT / env_file)):
        for name, value in DotEnvSettingsSource(Settings, env_file=file).env_vars.items():
            if value and name.upper().startswith(prefix):
                environ.setdefault(name.upper(), value)


def _sentence(message: str) -> str:
    """The end of a sentence that begins with the name of a setting."""
    return message.removeprefix("Value error, ").replace("Input should", "must") + "."


def _known(variables: Mapping[str, str | None], problems: list[str]) -> dict[str, str]:
    """Those of ours that say something, in themselves or in a file; adds to ``problems``."""
    said = {name: text for name, value in variables.items() if (text := (value or "").strip())}
    known = {name: text for name, text in said.items() if name in Settings.model_fields}
    for name in _secret_names():
        if (file := said.get(f"{name}_file")) is None:
            continue
        if name in known:
            problems.append(f"{name.upper()} and {name.upper()}_FILE are both set; remove one of them.")
            continue
        try:
            if secret := _content(Path(file).expanduser()):
                known[name] = secret
            else:
                problems.append(f"{name.upper()}_FILE names an empty file.")
        except (OSError, ValueError) as error:
            problems.append(f"{name.upper()}_FILE names a file that cannot be read: {type(error).__name__}.")
    return known


def _secret_names() -> list[str]:
    """The settings that may be given by ``NAME_FILE``."""
    return [name for name, field in Settings.model_fields.items() if _holds_secret(field.annotation)]


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_holds_secret, get_args(annotation)))


def _content(file: Path) -> str:
    with file.open("rb") as lines:
        content = lines.read(SECRET_LIMIT + 1)
    if len(content) > SECRET_LIMIT:
        raise ValueError("too large")
    return content.decode().strip()


def _platforms_url(variables: Mapping[str, str | None]) -> str:
    """The address that the platform tells us we have: Render's, or Fly's."""
    fly = variables.get("fly_app_name")
    return variables.get("render_external_url") or (f"https://{fly}.fly.dev" if fly else "")


def platform(environ: Mapping[str, str] = os.environ) -> str:
    """The platform that runs this machine, perhaps as one of several: "Fly", "Render" or ""."""
    names = {"FLY_APP_NAME": "Fly", "RENDER": "Render"}
    return next((name for variable, name in names.items() if environ.get(variable)), "")


def _missing(values: Mapping[str, str]) -> Iterator[str]:
    for one, other in (("twilio_api_key", "twilio_api_secret"), ("twilio_api_secret", "twilio_api_key")):
        if one in values and other not in values:
            yield f"{other.upper()} is missing; {one.upper()} does not work without it."
    if "smtp_url" in values and "mail_from" not in values:
        yield "MAIL_FROM is missing; SMTP_URL does not work without it."
    for one in ("openai_fallback_base_url", "openai_fallback_api_key"):
        if one in values and "openai_fallback_model" not in values:
            yield f"OPENAI_FALLBACK_MODEL is missing; {one.upper()} does not work without it."


def _documented() -> Iterator[tuple[str, str, str]]:
    """Name, default and description of every setting; the default is written as in a ``.env`` file."""
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        shown = "./data" if name == "data_dir" else "" if default in (None, ()) else str(default)
        yield name.upper(), shown, field.description or ""


def env_example() -> str:
    """The text of ``.env.example``: every setting with its default, switched off."""
    lines = ["# Copy to .env and remove the # of what you set. Times are in seconds unless said otherwise.", ""]
    for name, default, description in _documented():
        lines += [f"# {description.replace('`', '')}", f"#{name}={default}", ""]
    return "\n".join(lines[:-1]) + "\n"


def settings_table() -> str:
    """The README's table of settings, in Markdown."""
    rows = [f"| `{name}` | {f'`{default}`' if default else ''} | {text} |" for name, default, text in _documented()]
    return "\n".join(["| name | default | what it is |", "|---|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] not in (["--env-example"], ["--table"]):
        sys.exit("usage: python -m config.settings --env-example|--table")
    sys.stdout.write(env_example() if sys.argv[1] == "--env-example" else settings_table())
