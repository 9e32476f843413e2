"""``relay doctor``: looks at everything a call needs, and says of what is wrong how it is mended."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict

import click
import orjson
import structlog

from commands.doctor.finding import Finding
from commands.doctor.plan import diagnose, unreadable
from commands.doctor.screen import Progress, summary, table
from config.settings import load_settings
from relay.errors import ConfigError


@click.command(short_help="Look at everything a call needs.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def doctor(as_json: bool) -> None:
    """Look at everything a call needs: settings, agents, Redis, the model, PUBLIC_URL, the Twilio account, the number.

    Run it where the relay runs, with the same settings, while it is running. Nothing is changed: requests are signed as
    Twilio signs them and sent to PUBLIC_URL, and no call is made. docs/doctor.md tells more of each check.

    The exit status is 1 when a check has failed; warnings are none. Telephone numbers are cut, and secrets not shown.
    """
    # Standard output is for the findings.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    findings = asyncio.run(_examine(silent=as_json))
    good = all(finding.status != "failed" for finding in findings.values())
    if as_json:
        click.echo(orjson.dumps({"ok": good, "checks": _as_data(findings)}, option=orjson.OPT_INDENT_2))
    else:
        for line in [*table(findings), "", f"  {summary(findings)}"]:
            click.echo(line)
    if not good:
        sys.exit(1)


async def _examine(*, silent: bool) -> Mapping[str, Finding]:
    try:
        settings = load_settings()
    except ConfigError as error:
        return await unreadable(error)
    return await diagnose(settings, (lambda name, finding: None) if silent else Progress().news)


def _as_data(findings: Mapping[str, Finding]) -> list[dict[str, str]]:
    return [{"name": name, **asdict(finding)} for name, finding in findings.items()]
