"""The image, made by hand from what the Dockerfile and .dockerignore say, and run: all but the container."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from config.values import CHECKOUT
from handlers.health import LIVE
from tests.commands.serving import DEADLINE, launch, redis_process
from tests.deploy.files import dockerfile, health_command, image_environment, instruction, read, settings_of


def admitted() -> list[str]:
    """What of the checkout gets into the image."""
    lines = [line for line in read(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*", "nothing gets in that is not named"
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """/app of the image, what Python has compiled included."""
    folder = tmp_path / "app"
    for each in admitted():
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        if (CHECKOUT / each).is_dir():
            shutil.copytree(CHECKOUT / each, folder / each)
        else:
            shutil.copy(CHECKOUT / each, folder / each)
    return folder


def test_every_part_of_the_program_gets_in() -> None:
    """All packages but the tests, what names them, and the pins; secrets and data do not."""
    patterns = tomllib.loads(read("pyproject.toml"))["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = {pattern.removesuffix("*") for pattern in patterns} - {"tests"}
    beside = {"pyproject.toml", "README.md", "LICENSE", "requirements/requirements.txt"}
    assert set(admitted()) == packages | beside


def test_what_is_copied_is_there(app: Path) -> None:
    """Each COPY from the checkout names something that .dockerignore lets in."""
    copied = [rest.split()[:-1] for word, rest in dockerfile() if word == "COPY" and "--from" not in rest]
    assert copied
    for sources in copied:
        assert all((app / source).exists() for source in sources), sources


def test_nobody_is_root() -> None:
    """The process is a user by number (Kubernetes believes no name), and what it may write is a volume."""
    user, _, group = instruction("USER").partition(":")
    assert user.isdecimal() and group.isdecimal() and int(user) > 0
    assert settings_of(image_environment()).data_dir == Path(instruction("VOLUME"))


def healthy(port: int) -> bool:
    """What the container's health check finds."""
    program, *arguments = health_command()
    assert program == "python" and LIVE in arguments[-1]
    done = subprocess.run([sys.executable, *arguments], env={"PORT": str(port)}, stderr=subprocess.DEVNULL, timeout=10)
    return done.returncode == 0


async def test_it_serves_from_what_gets_in(app: Path, tmp_path: Path) -> None:
    """The files that get in are enough to serve; the health check sees it; SIGTERM ends it and its Redis server."""
    data = tmp_path / "data"
    environ = {name: value for name, value in image_environment().items() if name not in ("PATH", "PORT", "DATA_DIR")}
    program = (sys.executable, "-W", "error", "-m", "commands.main", "serve")
    server = await launch(data, cwd=app, arguments=program, **environ)
    try:
        await server.logged("listening")
        port = int(server.url.rpartition(":")[2])
        assert server.url.startswith("http://0.0.0.0:")
        assert await asyncio.to_thread(healthy, port)
        async with asyncio.timeout(DEADLINE):
            assert await server.stop() == 0
        assert not await asyncio.to_thread(healthy, port)
        assert redis_process(data) == 0
    finally:
        if server.process.returncode is None:
            server.process.kill()
            await server.ended()
