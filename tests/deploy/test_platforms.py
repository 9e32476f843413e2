"""The files of the platforms, of systemd and of compose agree with the program they start."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
from pydantic import SecretStr

from commands.serve import LEAVE_DEADLINE
from config.settings import Settings
from config.values import CHECKOUT
from handlers.app import AFTER_CALL_DEADLINE, FLUSH_DEADLINE
from handlers.drain import HAND_ON_SECONDS, LINGER_SECONDS
from handlers.health import READY
from handlers.websocket import HEARTBEAT
from relay.ending import CLOSE_AFTER_END
from tests.deploy.files import (
    compose,
    fly,
    image_environment,
    in_yaml,
    instruction,
    mounts,
    read,
    render,
    settings_of,
    unit,
    unit_environment,
)

DEFAULTS = Settings()
TWILIO = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "token", "OPENAI_API_KEY": "key"}
EMBEDDED_CLOSES = 5.0
LEAVING = (
    DEFAULTS.drain_seconds
    + (HAND_ON_SECONDS + CLOSE_AFTER_END + 1.0 + LINGER_SECONDS)
    + LEAVE_DEADLINE
    + (DEFAULTS.tool_deadline + FLUSH_DEADLINE + AFTER_CALL_DEADLINE + EMBEDDED_CLOSES)
)
"""Seconds a process takes to leave when every one of its deadlines is used to the end."""


def seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)s?", text)
    assert found is not None, text
    return float(found[1])


@pytest.mark.parametrize(
    "killed_after",
    [
        pytest.param(fly()["kill_timeout"], id="fly"),
        pytest.param(render("web")["maxShutdownDelaySeconds"], id="render"),
        pytest.param(seconds(compose()["services"]["relay"]["stop_grace_period"]), id="compose"),
        pytest.param(seconds(unit()["TimeoutStopSec"][0]), id="systemd"),
    ],
)
def test_a_leaving_process_is_given_its_time(killed_after: float) -> None:
    """Nobody kills the process before all of its own deadlines are over; platforms allow 300 s at most."""
    assert LEAVING < killed_after <= 300


def test_leaving_begins_with_the_signal_that_is_listened_to() -> None:
    """SIGTERM, to the process itself: no shell stands in between, and systemd leaves the Redis server alone."""
    assert fly()["kill_signal"] == instruction("STOPSIGNAL") == "SIGTERM"
    assert json.loads(instruction("ENTRYPOINT")) + json.loads(instruction("CMD")) == ["relay", "serve"]
    assert read("Procfile") == "web: relay serve\n"
    assert render("web")["startCommand"] == "exec relay serve"
    assert unit()["ExecStart"] == ["/opt/relay/.venv/bin/relay serve"]
    assert unit()["KillMode"] == ["mixed"] and "KillSignal" not in unit()


def test_fly() -> None:
    """What Fly gives the process makes a server that is reached, at the port it is looked for, with its data kept."""
    settings = settings_of({**image_environment(), **fly()["env"], **TWILIO, "FLY_APP_NAME": "my-relay"})
    service = fly()["http_service"]
    assert settings.public_url == "https://my-relay.fly.dev"
    assert (settings.host, settings.port) == ("0.0.0.0", service["internal_port"])
    [mount] = fly()["mounts"]
    assert mount["destination"] == str(settings.data_dir)
    assert service["auto_stop_machines"] == "off" and service["min_machines_running"] >= 1
    [check] = service["checks"]
    assert check["path"] == READY


def test_fly_leaves_being_busy_to_the_relay() -> None:
    """The proxy lets through more connections than there may be calls, and counts those: websockets last."""
    limits = fly()["http_service"]["concurrency"]
    assert limits["type"] == "connections"
    assert limits["soft_limit"] <= DEFAULTS.max_calls < limits["hard_limit"]


def test_render() -> None:
    """What Render gives the process makes a server that is reached; its store forgets nothing and is not open."""
    web, store = render("web"), render("keyvalue")
    given = {each["key"]: each for each in web["envVars"]}
    values = {key: each["value"] for key, each in given.items() if "value" in each}
    assert all(isinstance(value, str) for value in values.values())
    made = {"RENDER_EXTERNAL_URL": "https://my-relay.onrender.com", "PORT": "10000", "REDIS_URL": "redis://store:6379"}
    settings = settings_of({**values, **made, **TWILIO, "METRICS_TOKEN": "made"})
    assert (settings.public_url, settings.host) == (made["RENDER_EXTERNAL_URL"], "0.0.0.0")
    assert given["REDIS_URL"]["fromService"] == {
        "type": "keyvalue",
        "name": store["name"],
        "property": "connectionString",
    }
    assert store["maxmemoryPolicy"] == "noeviction" and store["ipAllowList"] == []
    assert store["region"] == web["region"] and "free" not in (web["plan"], store["plan"])
    assert web["healthCheckPath"] == READY
    assert "disk" not in web, "with a disk the old instance is stopped before the new one starts"


def test_render_is_told_no_secret() -> None:
    """What is secret is asked for or made, and stands in no file."""
    names = {name.upper() for name, field in Settings.model_fields.items() if SecretStr.__name__ in str(field)}
    assert {"OPENAI_API_KEY", "TWILIO_AUTH_TOKEN", "METRICS_TOKEN"} <= names
    for each in render("web")["envVars"]:
        if each["key"] in names - {"REDIS_URL"}:
            assert each.get("sync") is False or each.get("generateValue") is True, each["key"]


def test_python_versions() -> None:
    """The image's and Render's Python are the same, and new enough."""
    wanted = tomllib.loads(read("pyproject.toml"))["project"]["requires-python"]
    [version] = [each["value"] for each in render("web")["envVars"] if each["key"] == "PYTHON_VERSION"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version), "Render takes a whole version only"
    minor = version.rpartition(".")[0]
    assert f"\nARG PYTHON={minor}\n" in read("Dockerfile")
    assert [int(part) for part in minor.split(".")] >= [int(part) for part in wanted.removeprefix(">=").split(".")]


def test_systemd() -> None:
    """The unit makes a server that only its own machine reaches, with data where systemd made the folder for them."""
    settings = settings_of({**unit_environment(8081), **TWILIO, "PUBLIC_URL": "https://relay.example.com"})
    assert (settings.host, settings.port) == ("127.0.0.1", 8081)
    assert str(settings.data_dir) == f"/var/lib/{unit()['StateDirectory'][0]}"
    assert unit_environment(8081)["XDG_RUNTIME_DIR"] == f"/run/{unit(8081)['RuntimeDirectory'][0]}"
    assert int(unit()["LimitNOFILE"][0]) > 4 * DEFAULTS.max_calls
    assert unit()["Type"] == ["notify"]


def test_systemd_keeps_the_port() -> None:
    """The socket is opened where the unit's process would listen by itself, and the unit does not start without it."""
    socket = read("deploy/relay@.socket")
    assert f"\nListenStream={unit_environment()['HOST']}:%i\n" in socket and "\nWantedBy=sockets.target\n" in socket
    assert "\nRequires=relay@%i.socket\n" in read("deploy/relay@.service")


def test_compose() -> None:
    """The relay is reached inside its network, by the ports and the data folder of its image, from loopback only."""
    services = compose()["services"]
    relay = services["relay"]
    settings = settings_of({**image_environment(), **relay["environment"], "METRICS_TOKEN_FILE": __file__})
    assert (settings.host, settings.port) == ("0.0.0.0", 8080)
    assert settings.redis_url is not None and settings.redis_url.get_secret_value() == "redis://redis:6379/0"
    assert settings.metrics_token is not None
    assert instruction("VOLUME") == str(settings.data_dir) == "/data"
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+:-\d+\}:\d+", port) for port in published)
    for name, service in services.items():
        assert "healthcheck" in service or name == "relay", "make up waits for it"
        assert "build" in service or re.fullmatch(r"[\w/]+:v?\d+\.\d+[\w.-]*", service["image"]), name


def test_compose_mounts_what_there_is() -> None:
    """Docker would make an empty folder of a file that is not there."""
    named = {what for what, _ in mounts() if not what.startswith(".")}
    assert named == set(compose()["volumes"])
    for what, _ in mounts():
        assert what in named or (CHECKOUT / what).exists(), what


def test_compose_keeps_what_was_answered() -> None:
    """Its Redis writes before it answers, and forgets nothing when it is full."""
    command = compose()["services"]["redis"]["command"]
    for option in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"):
        assert option in command


def test_metrics_are_scraped_with_their_token() -> None:
    """Prometheus knows the relay by its name in compose, and both read the token from the file `make up` makes."""
    services = compose()["services"]
    [job] = in_yaml("deploy/prometheus.yml")["scrape_configs"]
    [target] = [target for config in job["static_configs"] for target in config["targets"]]
    assert target == f"relay:{services['relay']['environment']['PORT']}"
    file = services["relay"]["environment"]["METRICS_TOKEN_FILE"]
    assert job["authorization"]["credentials_file"] == file == "/run/secrets/metrics_token"
    assert services["relay"]["secrets"] == services["prometheus"]["secrets"] == ["metrics_token"]
    assert f"\ntoken={compose()['secrets']['metrics_token']['file']}\n" in read("commands/services.sh")


def test_proxies_outlast_the_silence_between_pings() -> None:
    """nginx waits for longer than the relay is ever silent on a websocket, and both samples lead to the unit's port."""
    nginx, caddy = read("deploy/nginx.conf"), read("deploy/Caddyfile")
    [hours] = re.findall(r"proxy_read_timeout (\d+)h;", nginx)
    assert int(hours) * 3600 >= DEFAULTS.max_call_seconds > HEARTBEAT
    [hours] = re.findall(r"stream_close_delay (\d+)h\n", caddy)
    assert int(hours) * 3600 >= DEFAULTS.max_call_seconds
    assert "    server 127.0.0.1:8080;\n" in nginx and "\treverse_proxy 127.0.0.1:8080 {\n" in caddy
