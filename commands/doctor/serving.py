"""Whether it is this relay that answers at PUBLIC_URL, and how it is."""

from __future__ import annotations

import json
from importlib.metadata import version
from urllib.parse import urlsplit

from commands.doctor.answers import AGAIN, explained, unanswered
from commands.doctor.asking import Answer, Asker, Unanswered
from commands.doctor.finding import Finding, ok, warning
from handlers.health import AWAY, LIVE, READY


async def look(public_url: str, asker: Asker) -> Finding:
    url, ours = public_url + LIVE, version("relay")
    try:
        answer = await asker.get(url)
        state = _object(answer)
        if answer.status != 200 or "version" not in state:
            return explained(answer, url, urlsplit(public_url).path)
        if state["version"] != ours:
            return warning(
                f"Relay {state['version']} answers, and this is {ours}.", "Restart the one that serves, or update this."
            )
        return _ready(_object(await asker.get(public_url + READY)), ours)
    except Unanswered as error:
        return unanswered(error, asker.deadline)


def _ready(state: dict[str, str], ours: str) -> Finding:
    if state.get("status") == "draining":
        return warning("The relay there is leaving and takes no new calls.", AGAIN)
    if away := [name for name, each in state.items() if each == AWAY]:
        return warning(
            f"Relay {ours} answers, and says that it does not reach: {', '.join(away)}.",
            "See the checks above; if they are fine, it runs with other settings: restart it.",
        )
    return ok(f"Relay {ours} answers.")


def _object(answer: Answer) -> dict[str, str]:
    """A JSON object of texts; empty for anything else."""
    try:
        found = json.loads(answer.body)
    except ValueError:
        return {}
    return {name: text for name, text in found.items() if isinstance(text, str)} if isinstance(found, dict) else {}
