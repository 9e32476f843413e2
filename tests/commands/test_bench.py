"""``relay bench`` as a command, against the whole application: options, output, report, and two results compared."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from commands.bench import bench
from phone.bench.compare import compare, read
from phone.bench.failed import BenchFailed
from relay.frames import Incoming
from tests.commands.serving import INHERITED
from tests.fakes.echo_app import EchoApp, Wire
from tests.running import running, write_agent

COMMAND = (sys.executable, "-m", "commands.main", "bench")
NAMES = [
    "calls",
    "turns",
    "errors",
    "first_words_ms",
    "added_ms",
    "ghost_frames",
    "cpu_us_per_token",
    "rss_kb_per_call",
]
QUICK = ("--calls", "4", "--seconds", "1.5", "--think", "0.05")


async def start(*options: str, environ: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *COMMAND, *options, stdin=asyncio.subprocess.DEVNULL, stdout=-1, stderr=-1, env=INHERITED | dict(environ or {})
    )


async def run(*options: str, environ: Mapping[str, str] | None = None) -> tuple[int | None, str, str]:
    """The command in a process of its own: (exit status, output, errors)."""
    process = await start(*options, environ=environ)
    async with asyncio.timeout(60):
        out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_our_application_under_calls(redis_url: str, tmp_path: Path) -> None:
    """With its own model endpoint every figure is known, exactly these are printed, and the report shows them."""
    port, page = free_port(), tmp_path / "report.html"
    model = ("--model-port", str(port), "--first-token", "0.02", "--gap", "0.004", "--tokens", "12")
    load = (*QUICK, "--interrupt-rate", "0.4", "--pid", str(os.getpid()), "--html", str(page), "--json")
    agents = write_agent(tmp_path / "agents")
    async with running(redis_url, tmp_path, agents=agents, model_url=f"http://127.0.0.1:{port}/v1") as app:
        status, out, errors = await run(app.url + "/voice/incoming", *model, *load)
    assert status == 0, errors
    assert f"OPENAI_BASE_URL=http://127.0.0.1:{port}/v1" in errors.splitlines()
    found = json.loads(out)
    assert list(found) == NAMES
    assert (found["calls"], found["errors"], found["ghost_frames"]) == (4, 0, 0)
    assert found["turns"] > 8
    for name in ("first_words_ms", "added_ms"):
        assert list(found[name]) == ["p50", "p95", "p99"]
        assert 0 < found[name]["p50"] <= found[name]["p95"] <= found[name]["p99"]
    # A turn's first words come after the model's 20 ms, which are no part of what was added.
    assert found["first_words_ms"]["p50"] > 20
    assert found["added_ms"]["p50"] < found["first_words_ms"]["p50"] - 15
    assert found["cpu_us_per_token"] > 0 and found["rss_kb_per_call"] is not None
    check_report(page.read_text(encoding="utf-8"), found)


def check_report(text: str, found: dict[str, Any]) -> None:
    """It is well-formed, fetches and runs nothing, and holds the figures."""
    root = ElementTree.fromstring(text)
    words = " ".join(root.itertext())
    assert "<script" not in text and not re.search(r"""(?:src|href|url\()\s*=?\s*["'(]?""", text)
    titles = [each.text for each in root.iter() if each.get("class") == "title"]
    assert titles == [
        "First words, ms",
        "Added by the server, ms",
        "By share of the turns, ms",
        "What happened, a second",
        "CPU, % of a core",
        "Memory, MB",
    ]
    for name in ("first_words_ms", "added_ms"):
        assert all(f"{value:.1f}" in words for value in found[name].values())
    assert f"{found['cpu_us_per_token']:.1f}" in words
    assert json.loads(next(each.text or "" for each in root.iter("pre"))) == found
    rows = {row[0].text: row[1].text for row in root.iter("tr")}
    assert rows["turns"] == str(found["turns"])
    assert (rows["--calls"], rows["--interrupt-rate"], rows["--first-token"]) == ("4", "0.4", "0.02 s")


async def test_answers_that_go_wrong(redis_url: str, tmp_path: Path) -> None:
    """Faults are drawn and shown; the application asks again, and its callers notice no error."""
    port = free_port()
    model = ("--model-port", str(port), "--first-token", "0.01", "--gap", "0.002", "--tokens", "6")
    agents = write_agent(tmp_path / "agents")
    async with running(redis_url, tmp_path, agents=agents, model_url=f"http://127.0.0.1:{port}/v1") as app:
        status, out, errors = await run(app.url + "/voice/incoming", *model, *QUICK, "--faults", "cut=0.2,error=0.2")
    assert status == 0, errors
    shown = dict(re.findall(r"^ *(\S.*?)  +(\S+)$", out, re.MULTILINE))
    assert int(shown["answers gone wrong: cut"]) > 0
    assert int(shown["answers gone wrong: error"]) > 0
    assert int(shown["requests to the model"]) > int(shown["turns"])
    assert shown["errors"] == "0"
    assert "answers gone wrong: late" not in shown


async def test_a_signed_server_and_a_setting_that_does_not_match(redis_url: str, tmp_path: Path) -> None:
    """PUBLIC_URL and TWILIO_AUTH_TOKEN sign webhook and websocket; one that is not the server's is named."""
    environ = {"PUBLIC_URL": "https://relay.example.com", "TWILIO_AUTH_TOKEN": "secret"}
    agents = write_agent(tmp_path / "agents")
    async with running(redis_url, tmp_path, agents=agents, environ=environ) as app:
        url = app.url + "/voice/incoming"
        options = ("--calls", "1", "--seconds", "0.8", "--think", "0.01")
        good, wrong = await asyncio.gather(
            run(url, *options, "--json", environ=environ), run(url, *options, environ={"TWILIO_AUTH_TOKEN": "secret"})
        )
    status, out, errors = good
    assert status == 0, errors
    assert json.loads(out)["turns"] > 0
    assert json.loads(out)["added_ms"] is None
    status, out, errors = wrong
    assert (status, out) == (1, "")
    assert errors.splitlines()[-1] == (
        f"relay: {url} does not take the call (403): TWILIO_AUTH_TOKEN is not the server's, or it has a PUBLIC_URL: "
        "that is not set here, so the address itself was signed for."
    )


async def test_a_server_that_is_started_once_the_address_is_known() -> None:
    """--wait gives it time; Ctrl-C hangs up and ends with 130."""
    called = asyncio.Event()

    async def answer(wire: Wire, frame: Incoming) -> None:
        called.set()

    app = EchoApp(answer)
    app.server.port = free_port()
    url = f"ws://127.0.0.1:{app.server.port}/voice/relay"
    process = await start(url, "--wait", "30", "--model-port", "0", "--seconds", "60")
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            assert (await process.stderr.readline()).startswith(b"OPENAI_BASE_URL=http://127.0.0.1:")
            async with app:
                await called.wait()
                process.send_signal(signal.SIGINT)
                _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 130
    assert errors.decode().splitlines()[-1] == "relay: stopped"
    assert "Traceback" not in errors.decode()
    assert set(app.close_codes) == {1000}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["http://127.0.0.1:1/", "--gap", "1"], "--gap is of the model endpoint, which needs --model-port."),
        (["http://127.0.0.1:1/", "--think", "soon"], "soon is no number of seconds, nor two as MEDIAN:P95."),
        (["http://127.0.0.1:1/", "--faults", "2"], "Shares lie between 0 and 1"),
        (["http://127.0.0.1:1/", "--faults", "fire=0.1"], "fire is none of late, stall, cut, error."),
        (["http://127.0.0.1:1/", "--faults", "often"], "often is neither a share such as 0.1 nor a list"),
        (["http://127.0.0.1:1/", "--html", "/no/such/folder/report.html"], "There is no folder /no/such/folder."),
        ([], "Missing argument 'URL'"),
        (["compare", "one.json"], "Missing argument 'B'"),
    ],
)
def test_options_that_make_no_sense(options: list[str], told: str) -> None:
    """Each is a usage error that says what is wrong."""
    done = CliRunner().invoke(bench, options)
    assert done.exit_code == 2
    assert told in done.output


# -- two results


def result(**changed: Any) -> dict[str, Any]:
    three = {"p50": 300.0, "p95": 600.0, "p99": 800.0}
    given: dict[str, Any] = {
        "calls": 10,
        "turns": 1000,
        "errors": 0,
        "first_words_ms": three,
        "added_ms": {"p50": 2.0, "p95": 4.0, "p99": 8.0},
        "ghost_frames": 0,
        "cpu_us_per_token": 50.0,
        "rss_kb_per_call": 100.0,
    }
    return given | changed


def verdicts(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> dict[str, str]:
    return {each.name: each.verdict for each in compare(a, b) if each.verdict != "no difference"}


def test_two_results_are_told_apart_by_more_than_noise(tmp_path: Path) -> None:
    """Ratios with percent, and a sentence that says which is better."""
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    a.write_text(json.dumps(result()))
    b.write_text(json.dumps(result(cpu_us_per_token=40.0, first_words_ms={"p50": 303.0, "p95": 600.0, "p99": 900.0})))
    done = CliRunner().invoke(bench, ["compare", str(a), str(b)])
    assert done.exit_code == 0, done.output
    rows = {line.split("  ")[0]: line.split() for line in done.output.splitlines()}
    assert rows["cpu_us_per_token"][1:] == ["50.00", "40.00", "0.80", "-20%", "10%", "B", "is", "better"]
    assert rows["first_words_ms p50"][4:] == ["1.01", "+1%", "10%", "no", "difference"]
    assert rows["first_words_ms p99"][4:] == ["1.12", "+12%", "32%", "no", "difference"]
    assert done.output.splitlines()[-1] == (
        "B is better, in cpu_us_per_token; the rest is within the noise or unknown."
    )


def test_what_one_side_does_not_know_is_not_compared() -> None:
    """null is neither better nor worse."""
    assert verdicts([result()], [result(added_ms=None, cpu_us_per_token=None)]) == {
        **{f"added_ms {p}": "unknown" for p in ("p50", "p95", "p99")},
        "cpu_us_per_token": "unknown",
    }


@pytest.mark.parametrize(
    ("a", "b", "warned"), [(True, False, "A"), (False, True, "B"), (True, True, ""), (False, False, "")]
)
def test_a_side_whose_model_is_not_known_is_warned_of(tmp_path: Path, a: bool, b: bool, warned: str) -> None:
    """Where only the other has ``added_ms`` its answers may have been apologies: they come fast."""
    files = []
    for name, knows in (("a.json", a), ("b.json", b)):
        files.append(tmp_path / name)
        files[-1].write_text(json.dumps(result() if knows else result(added_ms=None)))
    done = CliRunner().invoke(bench, ["compare", *map(str, files)])
    told = re.findall(r"Only (.) has added_ms", done.output)
    assert (done.exit_code, told) == (0, [warned] if warned else [])


def test_rare_things_differ_by_more_than_chance() -> None:
    """Of counts, by the turns: three of a thousand may be chance, thirty are not, nor are as many in more turns."""
    assert verdicts([result()], [result(errors=3)]) == {}
    assert verdicts([result()], [result(errors=30)]) == {"errors, 1000 turns": "A is better"}
    assert verdicts([result(errors=30)], [result(errors=90, turns=3000)]) == {}


def test_several_runs_tell_their_own_noise(tmp_path: Path) -> None:
    """A file may hold one run a line; a difference counts when the runs of both do not overlap."""
    file = tmp_path / "runs.json"
    file.write_text("".join(json.dumps(result(cpu_us_per_token=cpu)) + "\n" for cpu in (50.0, 51.0, 52.0)))
    runs = read(file)
    assert [run["cpu_us_per_token"] for run in runs] == [50.0, 51.0, 52.0]
    assert verdicts(runs, [result(cpu_us_per_token=cpu) for cpu in (47.0, 48.0, 49.0)]) == {
        "cpu_us_per_token": "B is better"
    }
    assert verdicts(runs, [result(cpu_us_per_token=cpu) for cpu in (40.0, 48.0, 50.5)]) == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot be read: No such file or directory."),
        ("", "it is empty."),
        ("no json", "it is not JSON."),
        ("{}", "it has no calls."),
        ("[1]", "it has no calls."),
        (json.dumps(result(added_ms={"p50": "fast"})), "its added_ms p50 is no number."),
        (json.dumps(result(turns=None)), "a count in it is no number."),
    ],
)
def test_what_is_no_result_is_one_sentence(tmp_path: Path, text: str | None, told: str) -> None:
    """A file that is not there, is no JSON, or not of relay bench."""
    file = tmp_path / "result.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(BenchFailed) as failed:
        read(file)
    assert str(failed.value).startswith(str(file))
    assert str(failed.value).endswith(told)
