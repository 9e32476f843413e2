"""The set-up: what a newcomer runs, and the files that must agree with the code."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import env_example, settings_table
from config.values import CHECKOUT

TARGETS = {"install", "run", "dev", "call", "test", "lint", "format", "bench", "audit", "up", "down", "clean"}


def read(name: str) -> str:
    return (CHECKOUT / name).read_text(encoding="utf-8")


def test_env_example() -> None:
    """`.env.example` has every setting and its default, as the settings class says them."""
    assert read(".env.example") == env_example()


def test_readme_table() -> None:
    """README's table of settings is the one made from the settings class."""
    found = re.search(r"<!-- settings -->\n(.*)<!-- /settings -->", read("README.md"), re.DOTALL)
    assert found is not None, "README.md has lost the markers of the settings table"
    assert found[1] == settings_table()


@pytest.mark.parametrize("option", ["--env-example", "--table"])
def test_settings_print_themselves(option: str) -> None:
    """`python -m config.settings` prints what the two files hold."""
    command = [sys.executable, "-W", "error", "-m", "config.settings", option]
    printed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert printed == (env_example() if option == "--env-example" else settings_table())


@pytest.mark.parametrize("name", ["requirements.txt", "dev.txt", "redis.txt"])
def test_requirements_name_no_place(name: str) -> None:
    """Every line pins one package by version, and no line names an index, find-links or an address."""
    text = read(f"requirements/{name}")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines
    for line in lines:
        assert re.fullmatch(r"[a-z0-9-]+(\[[a-z,]+\])?==[0-9][\w.!]*( ; .+)?", line), line
    assert not re.search(r"://|--(extra-)?index|--find|@ ", text)


def test_requirements_cover_the_project() -> None:
    """Whatever the project depends on is pinned, and both files agree on the pins."""
    main, dev = read("requirements/requirements.txt"), read("requirements/dev.txt")
    pins = {line for line in main.splitlines() if "==" in line}
    assert pins <= set(dev.splitlines())
    project = read("pyproject.toml")
    for group, text in (("dependencies", main), ("otel", dev), ("dev", dev)):
        listed = re.search(rf"^{group} = \[\n(.*?)^\]", project, re.DOTALL | re.MULTILINE)
        assert listed is not None
        for name in re.findall(r'^    "([A-Za-z0-9-]+)', listed[1], re.MULTILINE):
            assert name == "relay" or re.search(rf"^{name}==", text, re.MULTILINE), name  # an extra of its own


def test_make_lists_its_targets() -> None:
    """`make` alone lists every target with one line of help, and does nothing."""
    printed = subprocess.run(["make"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    listed = dict(line.split(maxsplit=1) for line in printed.splitlines())
    assert listed.keys() == TARGETS
    assert all(listed.values())


@pytest.mark.parametrize("name", ["config", "handlers", "tests", "tools"])
def test_top_level_names(name: str) -> None:
    """These common names are imported from this checkout and not from somebody's package."""
    module = importlib.import_module(name)
    assert module.__file__ == str(CHECKOUT / name / "__init__.py")


@pytest.mark.parametrize("name", ["config", "handlers", "tests", "tools"])
def test_top_level_names_from_elsewhere(name: str, tmp_path: Path) -> None:
    """So they are when Python was started in another folder."""
    command = [sys.executable, "-c", f"import {name}; print({name}.__file__)"]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(CHECKOUT / name / "__init__.py")


def test_licence() -> None:
    """The licence is MIT's, in the authors' name."""
    assert read("LICENSE").startswith("MIT License\n")
    assert "The relay authors" in read("LICENSE")


@pytest.fixture(autouse=True)
def no_outer_make(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a make above this run was given (`make test ARGS=...`) is not passed on to the makes under test."""
    for name in ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "ARGS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the set-up reads, with a virtual environment that counts as installed."""
    root = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / "requirements", root / "requirements")
    (root / "commands").mkdir()
    for name in ("Makefile", "pyproject.toml", "commands/install.sh", "commands/under_make.py"):
        shutil.copy(CHECKOUT / name, root / name)
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
    for name in ("requirements", "dev"):
        files = f"requirements/{name}.txt requirements/redis.txt pyproject.toml commands/install.sh"
        key = subprocess.run(
            f"(pwd; cat {files}) | cksum", shell=True, cwd=root, capture_output=True, check=True
        ).stdout
        (root / ".venv" / f"installed-{name}").write_bytes(key)
    return root


def script(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


SERVER = f"""#!{sys.executable}
import signal, time
heard = []
def note(number, frame):
    heard.append(number)
    print("heard", number, flush=True)
signal.signal(signal.SIGTERM, note)
signal.signal(signal.SIGINT, note)
print("listening", flush=True)
while not heard:
    time.sleep(0.01)
time.sleep(0.5)  # calls in progress end; a second signal would be heard here
"""


@pytest.fixture
def running(checkout: Path) -> Iterator[subprocess.Popen[str]]:
    """`make run` with a server that tells which signals reach it, in a process group of its own."""
    script(checkout / ".venv" / "bin" / "relay", SERVER)
    make = subprocess.Popen(["make", "run"], cwd=checkout, stdout=subprocess.PIPE, text=True, process_group=0)
    assert make.stdout is not None
    assert make.stdout.readline() == "listening\n"
    yield make
    make.stdout.close()
    make.wait()


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGINT, True)],
    ids=["SIGTERM to make", "SIGINT to make", "Ctrl-C"],
)
def test_signals_reach_the_server(running: subprocess.Popen[str], number: signal.Signals, whole_group: bool) -> None:
    """A signal to make reaches the server once; make waits for it to end and then ends by that signal itself."""
    if whole_group:
        os.killpg(running.pid, number)
    else:
        running.send_signal(number)
    assert running.communicate(timeout=20)[0] == f"heard {int(number)}\n"
    assert running.returncode == -number


def test_no_server_is_left_behind(running: subprocess.Popen[str]) -> None:
    """A make that is killed takes its server with it."""
    running.kill()
    assert running.communicate(timeout=20)[0] == f"heard {int(signal.SIGTERM)}\n"


@pytest.mark.parametrize(("status", "reported"), [(0, 0), (1, 2), (78, 2)])
def test_exit_status(checkout: Path, status: int, reported: int) -> None:
    """make ends well if the server did, and not if it did not."""
    script(checkout / ".venv" / "bin" / "relay", f"#!/bin/sh\nexit {status}\n")
    assert subprocess.run(["make", "run"], cwd=checkout, capture_output=True).returncode == reported


def test_second_run_installs_nothing(checkout: Path) -> None:
    """As long as nothing changed, `make run` goes straight to the server, and `make dev` to its own with whatever it is
    given; a changed pin is installed first."""
    script(checkout / ".venv" / "bin" / "relay", '#!/bin/sh\necho "relay $*"\n')
    done = subprocess.run(["make", "run"], cwd=checkout, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == "relay serve\n"
    done = subprocess.run(["make", "dev", "ARGS=--no-tunnel"], cwd=checkout, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == "relay dev --no-tunnel\n"
    (checkout / ".venv" / "bin" / "python").unlink()
    pip_only = f'#!/bin/sh\n[ "$1" = -I ] && exec {sys.executable} "$@"\necho "python $*"\n'
    script(checkout / ".venv" / "bin" / "python", pip_only)
    with (checkout / "requirements" / "requirements.txt").open("a") as file:
        file.write("another==1.0\n")
    printed = subprocess.run(["make", "run"], cwd=checkout, capture_output=True, text=True, check=True).stdout
    assert "install --quiet -r requirements/requirements.txt" in printed
    assert printed.endswith("relay serve\n")


def install(checkout: Path, tmp_path: Path, **pythons: str) -> str:
    """What `make run` says on a machine with these programs and no virtual environment; it must fail."""
    shutil.rmtree(checkout / ".venv")
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "make", "cat", "cksum", "dirname", "basename", "uname", "rm"):
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)
    for name, text in pythons.items():
        script(folder / name, text)
    done = subprocess.run(
        ["make", "run"], cwd=checkout, env={"PATH": str(folder)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stdout == ""
    [sentence] = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    return sentence


def test_no_python(checkout: Path, tmp_path: Path) -> None:
    """A machine without Python is told which version and which command; a shim with nothing behind it is no Python."""
    sentence = install(checkout, tmp_path, python3="#!/bin/sh\nexit 127\n")
    assert sentence.startswith("Python was not found") and " install python" in sentence


OLD = """#!/bin/sh
case "$2" in
*version_info*'<'*) exit 1 ;;
*print*) echo 3.9 ;;
esac
"""

BARE = """#!/bin/sh
case "$2" in
*ensurepip*) exit 1 ;;
*print*) echo python3.12 ;;
esac
"""


def test_old_python(checkout: Path, tmp_path: Path) -> None:
    """A Python that is too old is named, with the command that installs a newer one."""
    sentence = install(checkout, tmp_path, python3=OLD)
    assert sentence.startswith("Python 3.9 is too old") and " install python" in sentence


def test_python_without_venv(checkout: Path, tmp_path: Path) -> None:
    """A Python without its venv module is named, with the command that installs the module."""
    sentence = install(checkout, tmp_path, **{"python3.12": BARE, "python3": OLD})
    assert sentence == "python3.12 has no venv module; install it: sudo apt install python3.12-venv"


def test_clean_keeps_data(checkout: Path) -> None:
    """`make clean` removes the virtual environment and caches, and never the data folder."""
    for name in ("data/redis", ".mypy_cache", "commands/__pycache__"):
        (checkout / name).mkdir(parents=True)
    subprocess.run(["make", "clean"], cwd=checkout, capture_output=True, check=True)
    assert (checkout / "data" / "redis").is_dir()
    assert not any((checkout / name).exists() for name in (".venv", ".mypy_cache", "commands/__pycache__"))


def test_pipeline_runs_the_tests(tmp_path: Path) -> None:
    """`.ci/run` calls `make test` in the checkout, with nothing on standard input, and passes its status on."""
    script(tmp_path / "make", '#!/bin/sh\necho "make $*" in "$(pwd)"\ncat\nexit 3\n')
    for program in ("chromium", "promtool"):  # there is nothing to install
        script(tmp_path / program, "#!/bin/sh\n")
    done = subprocess.run(
        [CHECKOUT / ".ci" / "run"],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "CI": "true"},
        input="not for you",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == (f"make test ARGS=--reruns 2 -rR in {CHECKOUT}\n", 3)
