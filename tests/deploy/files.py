"""The files a deployment is made of, read."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import yaml

from config.settings import Settings, load_settings
from config.values import CHECKOUT


def read(name: str) -> str:
    return (CHECKOUT / name).read_text(encoding="utf-8")


def fly() -> dict[str, Any]:
    return tomllib.loads(read("fly.toml"))


def in_yaml(name: str) -> Any:
    return yaml.safe_load(read(name))


def render(kind: str) -> dict[str, Any]:
    """The one service of this type."""
    [service] = [each for each in in_yaml("render.yaml")["services"] if each["type"] == kind]
    return dict(service)


def compose() -> dict[str, Any]:
    return dict(in_yaml("docker-compose.yml"))


def mounts() -> Iterator[tuple[str, str]]:
    """(what, where) of the services' volumes."""
    for service in compose()["services"].values():
        for mount in service.get("volumes", []):
            if isinstance(mount, str):
                what, where, *_ = mount.split(":")
            else:
                what, where = re.sub(r"\$\{\w+:-(.+)\}", r"\1", mount["source"]), mount["target"]
            yield what, where


def unit(port: int = 8080) -> dict[str, list[str]]:
    """What ``[Service]`` of the systemd unit says: the values of each name, for the instance of this port."""
    places = {"%i": str(port), "%S": "/var/lib", "%t": "/run"}
    section = read("deploy/relay@.service").partition("[Service]\n")[2].partition("\n[")[0]
    values: dict[str, list[str]] = {}
    for line in section.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            values.setdefault(name, []).append(re.sub("%[iSt]", lambda found: places[found[0]], value))
    return values


def unit_environment(port: int = 8080) -> dict[str, str]:
    words = " ".join(unit(port)["Environment"]).split()
    return dict(word.split("=", 1) for word in words)


def dockerfile() -> list[tuple[str, str]]:
    """(instruction, arguments) of each line, continued ones as one, without comments."""
    lines = [line for line in read("Dockerfile").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word]


def instruction(name: str) -> str:
    """The arguments of the last such line."""
    return [rest for word, rest in dockerfile() if word == name][-1]


def image_environment() -> dict[str, str]:
    return dict(word.split("=", 1) for word in instruction("ENV").split())


def health_command() -> list[str]:
    return [str(word) for word in json.loads(instruction("HEALTHCHECK").partition(" CMD ")[2])]


def settings_of(environ: dict[str, str]) -> Settings:
    """The settings a process has that is started with these variables; raises ``ConfigError``."""
    unknown = {name for name in environ if name.lower().removesuffix("_file") not in Settings.model_fields}
    assert not unknown - {"PATH", "XDG_RUNTIME_DIR", "PYTHON_VERSION", "FLY_APP_NAME", "RENDER_EXTERNAL_URL"}
    return load_settings(None, environ)
