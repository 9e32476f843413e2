"""`make up`, `make down`, `make audit`: what they ask of Docker and pip-audit, and what they say when that fails."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from config.values import CHECKOUT

DOCKER = """#!/bin/sh
echo "$*" >>asked
case "$*" in
"${FAILS:-nothing}"*) exit 1 ;;
"compose port relay"*) echo 127.0.0.1:8080 ;;
"compose port"*) echo 127.0.0.1:9999 ;;
esac
"""
"""A docker that writes down what it is asked, and refuses what begins like ``FAILS``."""


@dataclass
class Place:
    """A checkout with the services' files, on a machine with ``docker``."""

    root: Path
    programs: Path

    @property
    def asked(self) -> list[str]:
        """What docker was asked that does something."""
        file = self.root / "asked"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if "version" not in line and "port" not in line]

    def make(self, *arguments: str, terminal: str | None = None, fails: str = "") -> tuple[int, str]:
        """Status and all output. ``terminal``: what a person at one types; None: there is nobody."""
        mine, other = pty.openpty() if terminal is not None else (None, subprocess.DEVNULL)
        if mine is not None:
            os.write(mine, f"{terminal}\n".encode())
        try:
            done = subprocess.run(
                ["make", *arguments],
                cwd=self.root,
                env={"PATH": f"{self.programs}{os.pathsep}/usr/bin{os.pathsep}/bin", "FAILS": fails or "nothing"},
                stdin=other,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=30,
                check=False,
            )
        finally:
            for descriptor in (mine, other):
                if descriptor is not None and descriptor >= 0:
                    os.close(descriptor)
        return done.returncode, done.stdout


def script(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    root, programs = tmp_path / "checkout", tmp_path / "bin"
    (root / "commands").mkdir(parents=True)
    for name in ("Makefile", "commands/services.sh", "commands/audit.sh"):
        shutil.copy(CHECKOUT / name, root / name)
    script(programs / "docker", DOCKER)
    return Place(root, programs)


def test_up(place: Place) -> None:
    """The services are built, started and waited for; where they are and what comes next is printed."""
    status, said = place.make("up")
    assert status == 0
    assert place.asked == ["compose up --detach --build --wait --wait-timeout 300"]
    assert "relay       http://127.0.0.1:8080" in said
    assert "docker compose exec relay relay call" in said
    assert "Without PUBLIC_URL" in said


def test_up_makes_the_metrics_token_once(place: Place) -> None:
    """It is random, nobody else on the machine can read it, and the next `make up` keeps it."""
    place.make("up")
    file = place.root / "data" / "services" / "metrics_token"
    token = file.read_text()
    assert re.fullmatch(r"[0-9a-f]{48}", token)
    assert file.parent.stat().st_mode & 0o077 == 0
    (place.root / ".env").write_text("PUBLIC_URL=https://relay.example.com\n")
    _, said = place.make("up")
    assert file.read_text() == token
    assert token not in said and "Without PUBLIC_URL" not in said


def test_up_that_fails(place: Place) -> None:
    """A service that does not become healthy is a failure, with the command that tells why."""
    status, said = place.make("up", fails="compose up")
    assert status == 2
    assert "docker compose logs relay" in said and "http://127" not in said


@pytest.mark.parametrize("target", ["up", "down"])
@pytest.mark.parametrize(
    ("fails", "mend"), [("version", "cannot be reached"), ("compose version", "docker-compose-plugin")]
)
def test_a_docker_that_will_not_do(place: Place, target: str, fails: str, mend: str) -> None:
    """An engine that cannot be reached, and one without compose, are told apart, each with the way out."""
    status, said = place.make(target, fails=fails)
    assert status == 2 and mend in said and place.asked == []


@pytest.mark.parametrize("target", ["up", "down"])
def test_no_docker(place: Place, target: str) -> None:
    """Without Docker one sentence says where to get it, and that nobody needs it."""
    (place.programs / "docker").unlink()
    for tool in ("sh", "make", "dirname"):
        found = shutil.which(tool)
        assert found is not None
        (place.programs / tool).symlink_to(found)
    done = subprocess.run(
        ["make", target], cwd=place.root, env={"PATH": str(place.programs)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("Docker was not found") and "make run" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "typed", "asked"),
    [
        (["VOLUMES=remove"], None, "compose down --volumes"),
        (["VOLUMES=keep"], None, "compose down"),
        ([], None, "compose down"),
        ([], "y", "compose down --volumes"),
        ([], "", "compose down"),
        ([], "what?", "compose down"),
    ],
    ids=["told to remove", "told to keep", "nobody to ask", "yes", "no answer", "something else"],
)
def test_down(place: Place, arguments: list[str], typed: str | None, asked: str) -> None:
    """The data goes only where somebody said so; what was done is told."""
    status, said = place.make("down", *arguments, terminal=typed)
    assert status == 0
    assert place.asked == [asked]
    assert ("their volumes are gone" if "--volumes" in asked else "the volumes are kept") in said
    if not arguments:
        assert "every history, person, order and tour" in said


def test_down_with_a_typing_error(place: Place) -> None:
    """An answer that is none removes nothing and stops nothing."""
    assert place.make("down", "VOLUMES=yes")[0] == 2
    assert place.asked == []


PYTHON = """#!/bin/sh
# python -m venv PLACE
[ "$2" = venv ] || exit 0
mkdir -p "$3/bin"
echo "$3" >place
printf '#!/bin/sh\\necho pip "$*" >>asked; exit %s\\n' "${PIP:-0}" >"$3/bin/pip"
printf '#!/bin/sh\\necho audit "$*" >>asked; case "$*" in *"$FINDING"*) exit 1 ;; esac\\n' >"$3/bin/pip-audit"
chmod +x "$3/bin/pip" "$3/bin/pip-audit"
"""


@pytest.mark.parametrize(
    ("pip", "finding", "status", "told"),
    [
        ("0", "nowhere", 0, "redis.txt"),
        ("0", "requirements/dev.txt", 1, "requirements/dev.txt has a finding, or could not be looked up"),
        ("1", "nowhere", 1, "needs the network"),
    ],
    ids=["nothing found", "a finding", "no network"],
)
def test_audit(place: Place, pip: str, finding: str, status: int, told: str) -> None:
    """Every file of pins is looked up, strictly, with a tool that is gone afterwards; a failure is one."""
    script(place.root / ".venv" / "bin" / "python", PYTHON)
    done = subprocess.run(
        ["sh", "commands/audit.sh"],
        cwd=place.root,
        env={"PATH": os.environ["PATH"], "PIP": pip, "FINDING": finding},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert told in done.stdout + done.stderr
    audits = [line for line in place.asked if line.startswith("audit")]
    assert all("--strict" in line for line in audits)
    assert status or [line.rpartition("/")[2] for line in audits] == ["requirements.txt", "dev.txt", "redis.txt"]
    assert not Path((place.root / "place").read_text().strip()).exists()
