"""The settings: names, defaults, what is refused and how it is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from config.settings import Settings, hand_on, load_settings, platform
from config.values import CHECKOUT
from relay.errors import ConfigError

DEFAULTS: dict[str, Any] = {
    "HOST": "127.0.0.1",
    "PORT": 8080,
    "PUBLIC_URL": None,
    "REDIS_URL": None,
    "DATA_DIR": CHECKOUT / "data",
    "LOG_LEVEL": "info",
    "LOG_FORMAT": "auto",
    "AGENTS_DIR": CHECKOUT / "config" / "agents",
    "DEFAULT_AGENT": "default",
    "OPENAI_API_KEY": None,
    "OPENAI_BASE_URL": None,
    "OPENAI_MODEL": "gpt-5.4-mini",
    "OPENAI_API": "auto",
    "OPENAI_REASONING": "none",
    "OPENAI_FALLBACK_MODEL": None,
    "OPENAI_FALLBACK_BASE_URL": None,
    "OPENAI_FALLBACK_API_KEY": None,
    "OPENAI_TRANSPORT": "http",
    "FIRST_TOKEN_DEADLINE": 1.2,
    "STALL_DEADLINE": 2,
    "SPECULATION": "off",
    "SPECULATION_LIMIT": 3,
    "TWILIO_ACCOUNT_SID": None,
    "TWILIO_AUTH_TOKEN": (),
    "TWILIO_API_KEY": None,
    "TWILIO_API_SECRET": None,
    "TWILIO_PHONE_NUMBER": None,
    "TWILIO_API_BASE": None,
    "TRANSFER_TO": None,
    "TRANSFER_WORKFLOW_SID": None,
    "TRANSFER_STUDIO_FLOW": None,
    "SMTP_URL": None,
    "MAIL_FROM": None,
    "API_TOKEN": None,
    "OUTBOUND_COUNTRIES": (),
    "OUTBOUND_PER_MINUTE": 10,
    "REPORT_URL": None,
    "REPORT_SECRET": None,
    "MEMORY": "on",
    "SETUP_DEADLINE": 5,
    "TICKET_SECONDS": 120,
    "SIDE_EFFECT_WAIT": 0.4,
    "RESUME_LIMIT": 3,
    "TOOL_DEADLINE": 10,
    "TOOL_ROUNDS": 6,
    "TURN_DEADLINE": 15,
    "AFTER_INTERRUPT": 2,
    "PREPARE_DEADLINE": 1,
    "GOODBYE_LIMIT": 15,
    "INTERDIGIT": 1.2,
    "FILLER_AFTER": 0.8,
    "SILENCE_AFTER": 8,
    "SILENCE_PROMPTS": 2,
    "MAX_CALL_SECONDS": 3600,
    "REPLY_MAX_CHARS": 4000,
    "HISTORY_TOKENS": 12000,
    "CALL_HISTORY_HOURS": 24,
    "TEXT_HISTORY_DAYS": 30,
    "DRAIN_SECONDS": 25,
    "MAX_CALLS": 1000,
    "BUSY_REDIRECT_URL": None,
    "VOICE_FALLBACK_URL": None,
    "TRUSTED_HOPS": 0,
    "RATE_PER_MINUTE": 120,
    "CALLS_PER_PERSON_HOUR": None,
    "BUDGET_TOKENS_PER_DAY": None,
    "BUDGET_TOKENS_PER_PERSON_DAY": None,
    "DEBATE_HISTORY": 5,
    "DEBATE_DEADLINE": 15,
    "DEBATE_MAX_CHARS": 4000,
    "DEBATE_API_KEY": None,
    "CHAT_AGENT": "default",
    "CHAT_ORIGINS": (),
    "CHAT_MAX_SOCKETS": 2000,
    "CHAT_MAX_SOCKETS_PER_ADDRESS": 50,
    "DIALOGFLOW_PROJECT": None,
    "DIALOGFLOW_AGENT": None,
    "DIALOGFLOW_LOCATION": "global",
    "DIALOGFLOW_ENDPOINT": None,
    "DASHBOARD_TOKEN": None,
    "DASHBOARD_SHOW_WORDS": 0,
    "PRICE_INPUT": None,
    "PRICE_CACHED": None,
    "PRICE_OUTPUT": None,
    "METRICS_TOKEN": None,
}

SECRETS = {
    "REDIS_URL": "redis://user:sesame@localhost/0",
    "OPENAI_API_KEY": "sesame",
    "OPENAI_FALLBACK_API_KEY": "sesame",
    "TWILIO_AUTH_TOKEN": "sesame, sesame2",
    "TWILIO_API_KEY": "sesame",
    "TWILIO_API_SECRET": "sesame",
    "SMTP_URL": "smtp://user:sesame@localhost",
    "API_TOKEN": "sesame",
    "REPORT_SECRET": "sesame",
    "DEBATE_API_KEY": "sesame",
    "DASHBOARD_TOKEN": "sesame",
    "METRICS_TOKEN": "sesame",
}


def load(**environ: str) -> Settings:
    return load_settings(env_file=None, environ=environ)


def problems(**environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(**environ)
    return caught.value.problems


def test_names_and_defaults() -> None:
    """An empty environment gives every setting its documented default, and there are no others."""
    settings = load()
    assert {name.upper(): getattr(settings, name) for name in Settings.model_fields} == DEFAULTS


def test_every_name_is_read() -> None:
    """Each setting is taken from the environment variable of its name."""
    given = {
        "HOST": "::1",
        "PORT": "0",
        "PUBLIC_URL": "https://voice.example.com/relay",
        "REDIS_URL": "rediss://cache.example.com:6380/1",
        "DATA_DIR": "/var/lib/relay",
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": "json",
        "AGENTS_DIR": "/etc/relay/agents",
        "DEFAULT_AGENT": "hotel",
        "OPENAI_API_KEY": "k",
        "OPENAI_BASE_URL": "http://localhost:11434/v1",
        "OPENAI_MODEL": "llama",
        "OPENAI_API": "chat",
        "OPENAI_REASONING": "low",
        "OPENAI_FALLBACK_MODEL": "spare",
        "OPENAI_FALLBACK_BASE_URL": "http://localhost:11435/v1",
        "OPENAI_FALLBACK_API_KEY": "k2",
        "OPENAI_TRANSPORT": "websocket",
        "SPECULATION": "on",
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "t",
        "TWILIO_API_KEY": "SK1",
        "TWILIO_API_SECRET": "s",
        "TWILIO_PHONE_NUMBER": "+15550100200",
        "TWILIO_API_BASE": "http://127.0.0.1:9000",
        "TRANSFER_TO": "sip:desk@example.com",
        "TRANSFER_WORKFLOW_SID": "WW" + "0" * 32,
        "TRANSFER_STUDIO_FLOW": "FW" + "0" * 32,
        "SMTP_URL": "smtps://user:pass@mail.example.com",
        "MAIL_FROM": "Relay <relay@example.com>",
        "API_TOKEN": "a",
        "OUTBOUND_COUNTRIES": "+1, +44",
        "REPORT_URL": "https://crm.example.com/calls?from=relay",
        "REPORT_SECRET": "r",
        "MEMORY": "OFF",
        "BUSY_REDIRECT_URL": "https://second.example.com/voice/incoming",
        "VOICE_FALLBACK_URL": "https://static.example.com/sorry.xml",
        "CALLS_PER_PERSON_HOUR": "7",
        "BUDGET_TOKENS_PER_DAY": "7",
        "BUDGET_TOKENS_PER_PERSON_DAY": "7",
        "DEBATE_API_KEY": "d",
        "CHAT_AGENT": "hotel",
        "CHAT_ORIGINS": "https://shop.example.com",
        "DIALOGFLOW_PROJECT": "p",
        "DIALOGFLOW_AGENT": "a",
        "DIALOGFLOW_LOCATION": "europe-west1",
        "DIALOGFLOW_ENDPOINT": "http://127.0.0.1:9001",
        "DASHBOARD_TOKEN": "d",
        "PRICE_INPUT": "7",
        "PRICE_CACHED": "7",
        "PRICE_OUTPUT": "7",
        "METRICS_TOKEN": "m",
        **{name: "7" for name, default in DEFAULTS.items() if isinstance(default, int | float) and name != "PORT"},
        "DASHBOARD_SHOW_WORDS": "1",
    }
    assert given.keys() == DEFAULTS.keys()
    settings = load(**given)
    unchanged = [name for name, default in DEFAULTS.items() if getattr(settings, name.lower()) == default]
    assert unchanged == []


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_in_repr(name: str) -> None:
    """A secret is in neither the repr nor the text of the settings."""
    settings = load(OPENAI_FALLBACK_MODEL="spare", MAIL_FROM="relay@example.com", **SECRETS)
    assert getattr(settings, name.lower())
    assert "sesame" not in f"{settings!r} {settings}"


def test_no_phone_number_in_repr() -> None:
    """Nor is a phone number."""
    settings = load(TWILIO_PHONE_NUMBER="+15550100200", TRANSFER_TO="+15550100201")
    assert "5550100" not in f"{settings!r} {settings}"


def test_all_problems_at_once() -> None:
    """Every malformed and every missing value is reported, each by name in one sentence of one line."""
    found = problems(
        PUBLIC_URL="http://voice.example.com",
        PORT="eighty",
        REDIS_URL="sesame",
        LOG_LEVEL="sesame",
        OPENAI_BASE_URL="https://host.example.com/sesame",
        TWILIO_ACCOUNT_SID="sesame",
        TWILIO_API_KEY="sesame",
        TWILIO_PHONE_NUMBER="0800 sesame",
        TURN_DEADLINE="-1",
        HISTORY_TOKENS="0",
    )
    names = [sentence.split()[0] for sentence in found]
    assert names == [
        "PUBLIC_URL",
        "PORT",
        "REDIS_URL",
        "LOG_LEVEL",
        "OPENAI_BASE_URL",
        "TWILIO_ACCOUNT_SID",
        "TWILIO_PHONE_NUMBER",
        "TURN_DEADLINE",
        "HISTORY_TOKENS",
        "TWILIO_API_SECRET",
    ]
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in found)
    assert "sesame" not in "".join(found)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("https://voice.example.com", "https://voice.example.com"),
        ("https://voice.example.com/", "https://voice.example.com"),
        ("https://voice.example.com/relay/", "https://voice.example.com/relay"),
        ("https://voice.example.com:8443/a/b", "https://voice.example.com:8443/a/b"),
    ],
)
def test_public_url(given: str, wanted: str) -> None:
    """PUBLIC_URL is https, a host and perhaps a prefix, without its trailing slash."""
    assert load(PUBLIC_URL=given).public_url == wanted


def test_chat_origins() -> None:
    """Origins are spelled as browsers spell them: lower case, without the usual port or a last slash."""
    told = load(CHAT_ORIGINS="https://Shop.Example.com/, http://localhost:3000,https://a.example:443,").chat_origins
    assert told == ("https://shop.example.com", "http://localhost:3000", "https://a.example")


@pytest.mark.parametrize("given", ["shop.example.com", "https://a.example/shop", "*", "null", "https://a.example?x"])
def test_chat_origins_refused(given: str) -> None:
    """What is no origin would never match one."""
    [sentence] = problems(CHAT_ORIGINS=f"https://b.example,{given}")
    assert sentence.startswith("CHAT_ORIGINS must look like https://host or https://host:8443")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("host:443", "host:443"), ("https://host:443", "host:443"), ("http://127.0.0.1:9001", "http://127.0.0.1:9001")],
)
def test_dialogflow_endpoint(given: str, wanted: str) -> None:
    """A host and a port, with http:// where there is no TLS."""
    assert load(DIALOGFLOW_ENDPOINT=given).dialogflow_endpoint == wanted


@pytest.mark.parametrize("given", ["host", "ftp://host:1", "http://host", "host:0", "host:1/v2"])
def test_dialogflow_endpoint_refused(given: str) -> None:
    """Without a port nobody would know which."""
    [sentence] = problems(DIALOGFLOW_ENDPOINT=given)
    assert sentence.startswith("DIALOGFLOW_ENDPOINT must look like host:443")


@pytest.mark.parametrize(
    "given",
    [
        "http://a.example",
        "wss://a.example",
        "a.example",
        "https://",
        "https://a.example?x=1",
        "https://a.example/#x",
        "https://me:pw@a.example",
        "https://a.example:port",
        "https://a example",
        "https://[::1",
    ],
)
def test_public_url_refused(given: str) -> None:
    """Anything else as PUBLIC_URL is refused."""
    assert problems(PUBLIC_URL=given) == ["PUBLIC_URL must look like https://host or https://host/prefix."]


@pytest.mark.parametrize(
    "given",
    [
        "redis://cache",
        "redis://user:p%40ss@cache.example.com:6380/2",
        "rediss://:pass@[::1]:6380",
        "redis://cache/0?protocol=3",
        "unix:///run/redis.sock",
        "redis+sentinel://s1:26379,s2:26379/main/0",
        "redis+sentinel://user:pass@s1,s2,[::1]:5/my-service",
        "rediss+sentinel://s1:26379/main",
        "redis+cluster://n1:7000,n2:7001",
        "rediss+cluster://:pass@n1:7000/",
    ],
)
def test_redis_url(given: str) -> None:
    """REDIS_URL names one server, the Sentinels that know it by its service, or nodes of a Cluster."""
    url = load(REDIS_URL=given).redis_url
    assert url is not None and url.get_secret_value() == given


@pytest.mark.parametrize(
    "given",
    [
        "localhost:6379",
        "http://localhost",
        "redis://",
        "redis://h:port",
        "redis://h:0",
        "redis://h1,h2",
        "unix://",
        "redis+sentinel://s1:26379,s2:26379",
        "redis+sentinel://s1:26379,,s2/main",
        "redis+sentinel:///main",
        "redis+cluster://",
        "redis+cluster://n1:7000/1",
    ],
)
def test_redis_url_refused(given: str) -> None:
    """Anything else as REDIS_URL is refused: a Cluster has one database, Sentinels need a service."""
    assert problems(REDIS_URL=given)[0].startswith("REDIS_URL must look like ")


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"RENDER_EXTERNAL_URL": "https://relay.onrender.com"}, "https://relay.onrender.com"),
        ({"FLY_APP_NAME": "my-relay"}, "https://my-relay.fly.dev"),
        ({"FLY_APP_NAME": "my-relay", "PUBLIC_URL": "https://voice.example.com"}, "https://voice.example.com"),
        ({"FLY_APP_NAME": ""}, None),
    ],
)
def test_platforms_tell_the_public_url(environ: dict[str, str], url: str | None) -> None:
    """On Render and on Fly PUBLIC_URL, and with it HOST, is known without being set; set, it wins."""
    settings = load(**environ)
    assert settings.public_url == url
    assert settings.host == ("0.0.0.0" if url else "127.0.0.1")


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_from_files(name: str, tmp_path: Path) -> None:
    """Every secret may stand in a file that NAME_FILE names, as container platforms mount them."""
    file = tmp_path / "secret"
    file.write_text(SECRETS[name] + "\n")
    others = {"TWILIO_API_KEY": "k", "TWILIO_API_SECRET": "s", "OPENAI_FALLBACK_MODEL": "spare", "MAIL_FROM": "a@b.c"}
    environ = {other: value for other, value in others.items() if other != name}
    given, from_file = load(**environ, **{name: SECRETS[name]}), load(**environ, **{f"{name}_FILE": str(file)})
    assert from_file == given and getattr(given, name.lower())


def test_secret_files_that_do_not_serve(tmp_path: Path) -> None:
    """A secret given twice, a file that is not there, and one that is empty, are each reported by name."""
    file = tmp_path / "empty"
    file.touch()
    assert problems(
        API_TOKEN="a",
        API_TOKEN_FILE=str(file),
        METRICS_TOKEN_FILE=str(tmp_path / "none"),
        OPENAI_API_KEY_FILE=str(file),
    ) == [
        "OPENAI_API_KEY_FILE names an empty file.",
        "API_TOKEN and API_TOKEN_FILE are both set; remove one of them.",
        "METRICS_TOKEN_FILE names a file that cannot be read: FileNotFoundError.",
    ]


@pytest.mark.parametrize("name", ["CALLS_PER_PERSON_HOUR", "BUDGET_TOKENS_PER_DAY", "BUDGET_TOKENS_PER_PERSON_DAY"])
def test_limits_that_may_be_off(name: str) -> None:
    """Some limits are off unless they are set; `off` and `0` say so too."""
    assert getattr(load(**{name: "off"}), name.lower()) is getattr(load(**{name: "0"}), name.lower()) is None
    assert getattr(load(**{name: "12"}), name.lower()) == 12
    assert problems(**{name: "-1"})[0].startswith(f"{name} ")


@pytest.mark.parametrize("given", ["1", "true", "Yes", "ON", "0", "false", "no", "Off"])
def test_a_switch(given: str) -> None:
    """Whoever says yes or no is understood."""
    assert load(DASHBOARD_SHOW_WORDS=given).dashboard_show_words == (given.lower() in ("1", "true", "yes", "on"))


@pytest.mark.parametrize("given", ["2", "-1", "sesame", "y", "1.0"])
def test_a_switch_refused(given: str) -> None:
    """Whoever says something else is told what to write."""
    assert problems(DASHBOARD_SHOW_WORDS=given) == [
        "DASHBOARD_SHOW_WORDS must be 1 or 0 (or true, yes, on, false, no, off)."
    ]


def test_blanks_around_a_value() -> None:
    """Blanks around a value, such as a line end pasted with a secret, do not belong to it."""
    key = load(OPENAI_API_KEY=" sesame\n").openai_api_key
    assert key is not None and key.get_secret_value() == "sesame"


def test_host_follows_public_url() -> None:
    """HOST opens up once PUBLIC_URL is set, unless it is set itself."""
    assert load(PUBLIC_URL="https://a.example").host == "0.0.0.0"
    assert load(PUBLIC_URL="https://a.example", HOST="127.0.0.1").host == "127.0.0.1"


def test_base_url() -> None:
    """OPENAI_BASE_URL loses its slash and must end in /v1."""
    assert load(OPENAI_BASE_URL="http://localhost:11434/v1/").openai_base_url == "http://localhost:11434/v1"
    assert problems(OPENAI_BASE_URL="http://localhost:11434") == ["OPENAI_BASE_URL must end in /v1."]


def test_twilio_api_base() -> None:
    """TWILIO_API_BASE is the root before the version, whether or not the version was written."""
    assert load(TWILIO_API_BASE="http://127.0.0.1:9000/").twilio_api_base == "http://127.0.0.1:9000"
    assert load(TWILIO_API_BASE="http://127.0.0.1:9000/2010-04-01").twilio_api_base == "http://127.0.0.1:9000"


def test_auth_tokens() -> None:
    """TWILIO_AUTH_TOKEN holds several secrets in order while one is rotated out."""
    tokens = load(TWILIO_AUTH_TOKEN="new, old,").twilio_auth_token
    assert [token.get_secret_value() for token in tokens] == ["new", "old"]


@pytest.mark.parametrize("name", ["SETUP_DEADLINE", "TURN_DEADLINE", "CALL_HISTORY_HOURS"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
def test_times_are_positive(name: str, value: str) -> None:
    """A time is a finite number greater than zero."""
    assert problems(**{name: value})[0].startswith(f"{name} ")


@pytest.mark.parametrize("value", ["5550100200", "+05550100200", "+1 555 010 0200", "+1555", "+1555010020055501"])
def test_phone_numbers_are_e164(value: str) -> None:
    """A phone number that is not E.164 is refused."""
    assert len(problems(TWILIO_PHONE_NUMBER=value, TRANSFER_TO=value)) == 2


def test_empty_counts_as_unset() -> None:
    """An empty or blank value is the same as none, also over a file."""
    assert load(**dict.fromkeys(DEFAULTS, " ")) == load() == load(**dict.fromkeys(DEFAULTS, ""))


def test_relative_folders_start_at_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """DATA_DIR and AGENTS_DIR do not depend on the working directory."""
    monkeypatch.chdir(tmp_path)
    settings = load(DATA_DIR="./elsewhere")
    assert settings.data_dir == CHECKOUT / "elsewhere"
    assert settings.agents_dir == CHECKOUT / "config" / "agents"
    assert load(DATA_DIR="/var/lib/relay").data_dir == Path("/var/lib/relay")


def test_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`.env` of the working directory is read, unknown names in it are ignored, and the environment wins."""
    (tmp_path / ".env").write_text("PORT=1\nINTERDIGIT=2 # a comment\nMETRICS_TOKEN=\nOTHER=x\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    settings = load_settings(environ={"PORT": "2"})
    assert (settings.port, settings.interdigit, settings.metrics_token) == (2, 2.0, None)
    assert load_settings(env_file=None, environ={}).port == 8080


def test_env_file_of_the_checkout(tmp_path: Path) -> None:
    """`.env` beside `config/` is read from any working directory; one in the working directory wins over it."""
    package = tmp_path / "checkout" / "config"
    package.mkdir(parents=True)
    package.joinpath("__init__.py").touch()
    for name in ("settings.py", "values.py"):
        package.joinpath(name).write_text(CHECKOUT.joinpath("config", name).read_text())
    package.parent.joinpath("relay").symlink_to(CHECKOUT / "relay")
    package.parent.joinpath(".env").write_text("PORT=1\nTOOL_ROUNDS=2\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.joinpath(".env").write_text("TOOL_ROUNDS=3\n")
    script = (
        "from config.settings import load_settings as l; s = l(environ={}); print(s.port, s.tool_rounds, s.data_dir)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(package.parent)!r}); {script}"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.split() == ["1", "3", str(package.parent / "data")]


def test_variables_of_libraries_are_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the file has for a library goes into the environment where that has not got it; nothing else does."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("OTEL_SERVICE_NAME=desk\nOTEL_TRACES_SAMPLER=always_on\nPORT=1\nOTEL_LOG_LEVEL=\n")
    environ = {"OTEL_TRACES_SAMPLER": "always_off"}
    hand_on("OTEL_", environ=environ)
    assert environ == {"OTEL_TRACES_SAMPLER": "always_off", "OTEL_SERVICE_NAME": "desk"}


def test_unreadable_env_file(tmp_path: Path) -> None:
    """A `.env` that is no text is reported as a sentence."""
    (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe")
    with pytest.raises(ConfigError, match=r"\.env cannot be read"):
        load_settings(env_file=tmp_path / ".env", environ={})


def test_os_environ_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mapping the process's own environment is read."""
    monkeypatch.setenv("PORT", "8099")
    assert load_settings(env_file=None).port == 8099


def test_settings_read_nothing_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings made directly hold what was passed in and nothing from the environment."""
    monkeypatch.setenv("PORT", "8099")
    assert Settings().port == 8080


@pytest.mark.parametrize(
    ("environ", "name"),
    [({"FLY_APP_NAME": "relay"}, "Fly"), ({"RENDER": "true"}, "Render"), ({"RENDER": ""}, ""), ({}, "")],
)
def test_the_platform_is_told_by_its_variables(environ: dict[str, str], name: str) -> None:
    """Fly and Render name themselves."""
    assert platform(environ) == name


def test_frozen() -> None:
    """Settings do not change after they were read."""
    with pytest.raises(ValidationError):
        load().port = 1


@given(st.dictionaries(st.sampled_from(sorted(DEFAULTS)), st.text(max_size=20)))
def test_nothing_else_is_raised(environ: dict[str, str]) -> None:
    """Whatever stands in the environment, it is accepted or reported by name."""
    try:
        load(**environ)
    except ConfigError as error:
        assert {sentence.split()[0] for sentence in error.problems} <= DEFAULTS.keys()
