"""Every setting, typed, read once from the environment and ``.env``; everything wrong is reported at once, by name.

A field is the lower-case name of its environment variable; its description is one line of ``.env.example`` and of the
README's table, which are made here (``python -m config.settings --env-example``, ``--table``). Only this module reads
the environment: each part of the program is given its own few values.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from relay.errors import ConfigError

CHECKOUT = Path(__file__).resolve().parent.parent
"""The folder that holds ``config/``: relative paths in settings start here, whatever the working directory is."""


def _from_checkout(value: Path) -> Path:
    return Path(os.path.normpath(CHECKOUT / value.expanduser()))


def _url(value: str, schemes: tuple[str, ...], example: str) -> str:
    """The URL without its trailing slash; a user, a password, a query or a fragment has no place in it."""
    problem = f"must look like {example}"
    try:
        parts = urlsplit(value)
        port_is_fine = parts.port != 0
    except ValueError:
        raise ValueError(problem) from None
    odd = parts.username is not None or "?" in value or "#" in value or re.search(r"[\s\\]", value)
    if parts.scheme not in schemes or not parts.hostname or odd or not port_is_fine:
        raise ValueError(problem)
    return value.rstrip("/")


def _public_url(value: str) -> str:
    return _url(value, ("https",), "https://host or https://host/prefix")


def _model_url(value: str) -> str:
    url = _url(value, ("http", "https"), "https://host/v1")
    if not url.endswith("/v1"):
        raise ValueError("must end in /v1")
    return url


def _twilio_url(value: str) -> str:
    return _url(value, ("http", "https"), "https://host, without /2010-04-01").removesuffix("/2010-04-01")


def _redis_url(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value())
        place = parts.path if parts.scheme == "unix" else parts.scheme in ("redis", "rediss") and parts.hostname
        port_is_fine = parts.port != 0
    except ValueError:
        place = port_is_fine = False
    if not place or not port_is_fine:
        raise ValueError("must look like redis://host:6379/0, rediss://host:6379/0 or unix:///path")
    return value


def _matching(pattern: str, wanted: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {wanted}")
        return value

    return AfterValidator(check)


def _secrets(value: Any) -> Any:
    """Comma-separated secrets as a tuple; spaces around them and empty places are dropped."""
    if not isinstance(value, str):
        return value
    secrets = tuple(part.strip() for part in value.split(",") if part.strip())
    if not secrets:
        raise ValueError("must name at least one secret")
    return secrets


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _smtp_url(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value())
        fine = parts.scheme in ("smtp", "smtps") and parts.hostname and parts.port != 0 and parts.path in ("", "/")
    except ValueError:
        fine = False
    if not fine or parts.query or parts.fragment:
        raise ValueError("must look like smtp://user:password@host:587 or smtps://user:password@host")
    return value


def _report_url(value: str) -> str:
    """Any http(s) address; a query may be part of it."""
    try:
        parts = urlsplit(value)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        fine = False
    if not fine or parts.fragment or re.search(r"[\s\\]", value):
        raise ValueError("must look like https://host/path")
    return value


def _countries(value: Any) -> Any:
    """Comma-separated calling codes as a tuple."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


PhoneNumber = Annotated[str, _matching(r"\+[1-9]\d{6,14}", "a phone number in E.164 form, such as +15550100200")]
Destination = Annotated[
    str, _matching(r"\+[1-9]\d{6,14}|sips?:[^\s@]+@[^\s@]+", "a phone number such as +15550100200, or sip:name@host")
]
CallingCode = Annotated[str, _matching(r"\+[1-9]\d{0,6}", "calling codes such as +1,+44")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Folder = Annotated[Path, AfterValidator(_from_checkout)]


class Settings(BaseSettings):
    """What an operator may set. Frozen; secrets and phone numbers are not in its repr. Made by ``load_settings``."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    public_url: Annotated[str, AfterValidator(_public_url)] | None = Field(
        default=None,
        description="address the world reaches this server by, `https://host[/prefix]`; unset: development mode",
    )
    host: str = Field(
        default="127.0.0.1", description="address to listen on; the default is 0.0.0.0 once `PUBLIC_URL` is set"
    )
    port: int = Field(default=8080, ge=0, le=65535, description="port to listen on; 0 takes any free one")
    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = Field(
        default=None,
        description="`redis://`, `rediss://` or `unix://` of your own Redis; unset: an embedded server is started",
    )
    data_dir: Folder = Field(
        default=Path("./data"), validate_default=True, description="embedded server's files; relative to the checkout"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        default="info", description="`debug`, `info`, `warning` or `error`"
    )
    log_format: Annotated[Literal["auto", "json", "text"], BeforeValidator(_lower)] = Field(
        default="auto", description="`json`, `text`, or `auto`: text on a terminal, JSON otherwise"
    )
    agents_dir: Folder = Field(
        default=Path("config/agents"),
        validate_default=True,
        description="folder of the agents; relative to the checkout",
    )
    default_agent: Annotated[str, _matching(r"[A-Za-z0-9][\w-]*", "the name of a folder in AGENTS_DIR")] = Field(
        default="default", description="agent of a call that names none"
    )

    openai_api_key: SecretStr | None = Field(
        default=None,
        description="key of the model's endpoint; without it and `OPENAI_BASE_URL` a rehearsal model answers",
    )
    openai_base_url: Annotated[str, AfterValidator(_model_url)] | None = Field(
        default=None, description="another OpenAI-compatible endpoint; ends in `/v1`"
    )
    openai_model: str = Field(default="gpt-5.4-mini", description="model of agents that name none")
    openai_api: Annotated[Literal["auto", "responses", "chat"], BeforeValidator(_lower)] = Field(
        default="auto",
        description="`responses`, `chat`, or `auto`: Responses at OpenAI's own host, Chat Completions elsewhere",
    )
    openai_reasoning: Annotated[
        Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"], BeforeValidator(_lower)
    ] = Field(default="none", description="reasoning effort, where the model has it")

    openai_fallback_model: str | None = Field(
        default=None, description="model that steps in when the first one is late or fails; unset: none"
    )
    openai_fallback_base_url: Annotated[str, AfterValidator(_model_url)] | None = Field(
        default=None, description="its endpoint, ends in `/v1`; unset: the same as the first one's"
    )
    openai_fallback_api_key: SecretStr | None = Field(
        default=None, description="its key; unset: the same as the first one's"
    )
    openai_transport: Annotated[Literal["http", "websocket"], BeforeValidator(_lower)] = Field(
        default="http", description="way to the Responses API: `http`, or `websocket` with HTTP as its fallback"
    )
    first_token_deadline: Seconds = Field(
        default=1.2, description="wait for a model's first word before a second request races the first"
    )
    stall_deadline: Seconds = Field(
        default=2, description="silence of a model in the middle of a reply before another request takes it up"
    )
    speculation: Annotated[Literal["off", "on"], BeforeValidator(_lower)] = Field(
        default="off",
        description="`on`: partial prompts that look complete are sent to the model ahead of the final one",
    )
    speculation_limit: int = Field(default=3, ge=0, description="such requests in one turn")

    twilio_account_sid: Annotated[str, _matching(r"AC[0-9a-fA-F]{32}", "AC and 32 hexadecimal digits")] | None = Field(
        default=None, description="account whose calls are taken"
    )
    twilio_auth_token: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_secrets)] = Field(
        default=(), description="verifies signatures; several, separated by commas, while one is replaced by another"
    )
    twilio_api_key: SecretStr | None = Field(default=None, description="API key (SK...) for requests to Twilio")
    twilio_api_secret: SecretStr | None = Field(default=None, description="secret of `TWILIO_API_KEY`")
    twilio_phone_number: PhoneNumber | None = Field(default=None, repr=False, description="your Twilio number, E.164")
    twilio_api_base: Annotated[str, AfterValidator(_twilio_url)] | None = Field(
        default=None, description="root before `/2010-04-01`; when set it stands for every Twilio host"
    )
    transfer_to: Destination | None = Field(
        default=None,
        repr=False,
        description="person calls are handed to: a number in E.164 form, or `sip:name@host`; unset: nobody by this way",
    )
    transfer_workflow_sid: Annotated[str, _matching(r"WW[0-9a-fA-F]{32}", "WW and 32 hexadecimal digits")] | None = (
        Field(default=None, description="TaskRouter workflow calls are queued in instead, with task attributes")
    )
    transfer_studio_flow: Annotated[str, _matching(r"FW[0-9a-fA-F]{32}", "FW and 32 hexadecimal digits")] | None = (
        Field(default=None, description="Studio flow calls are handed to instead")
    )
    smtp_url: Annotated[SecretStr, AfterValidator(_smtp_url)] | None = Field(
        default=None,
        description="mail server, `smtp://user:pass@host:587` or `smtps://`; unset: no mail is sent",
    )
    mail_from: Annotated[str, _matching(r"[^@\n\r]*[^@\s]+@[^@\s]+", "an e-mail address")] | None = Field(
        default=None, description="sender of mail, `Name <name@host>` or an address"
    )
    api_token: SecretStr | None = Field(
        default=None, description="bearer token of the routes for your own systems; unset: they are closed"
    )
    outbound_countries: Annotated[tuple[CallingCode, ...], NoDecode, BeforeValidator(_countries)] = Field(
        default=(), description="calling codes that may be dialled, such as `+1,+44`; empty: none"
    )
    outbound_per_minute: int = Field(default=10, ge=1, description="calls placed in a minute, at most")
    report_url: Annotated[str, AfterValidator(_report_url)] | None = Field(
        default=None, description="address each call is reported to when it is over; needs `REPORT_SECRET`"
    )
    report_secret: SecretStr | None = Field(
        default=None, description="key of the reports' `X-Relay-Signature`; unset: no report is sent"
    )
    memory: Annotated[Literal["on", "off"], BeforeValidator(_lower)] = Field(
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
    empty value counts as unset and an unknown name is ignored. No value of a setting appears in the sentences.
    """
    values: dict[str, Any] = {}
    for file in () if env_file is None else dict.fromkeys((CHECKOUT / env_file, Path.cwd() / env_file)):
        try:
            values |= _known(DotEnvSettingsSource(Settings, env_file=file).env_vars)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([f"{file} cannot be read: {type(error).__name__}."]) from None
    source = EnvSettingsSource(Settings)
    if environ is not None:
        source.env_vars = {name.lower(): value for name, value in environ.items()}
    values |= _known(source.env_vars)

    problems = list(_missing(values))
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


def _sentence(message: str) -> str:
    """The end of a sentence that begins with the name of a setting."""
    return message.removeprefix("Value error, ").replace("Input should", "must") + "."


def _known(variables: Mapping[str, str | None]) -> dict[str, str]:
    """Those of ours that say something."""
    said = {name: (value or "").strip() for name, value in variables.items() if name in Settings.model_fields}
    return {name: value for name, value in said.items() if value}


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
