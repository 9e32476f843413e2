"""Dialogflow, for agents that have it as their engine: the extra, the credentials, and whether it would answer."""

from __future__ import annotations

from commands.doctor.finding import Finding, failed, ok, skipped
from relay.errors import ModelError, ModelRejected
from relay.models.dialogflow_client import CREDENTIALS, INSTALL, Bot, DialogflowClient

PATIENCE = 15.0  # seconds; where there are no credentials the library looks for a while

UNUSED = skipped('No agent has engine = "dialogflow".')


async def look(bot: Bot) -> Finding:
    """Asks it for nothing, which it refuses: no session is changed, and nothing is to be paid."""
    client = DialogflowClient(bot)
    try:
        await client.prove(PATIENCE)
    except ModelError as error:
        return wrong(error, bot)
    finally:
        await client.close()
    edition = "CX agent" if bot.agent else "ES agent"
    taken = "" if bot.insecure else " and takes the credentials"
    return ok(f"{bot.address} has the {edition} of {bot.project}{taken}.")


def wrong(error: ModelError, bot: Bot) -> Finding:
    names = "DIALOGFLOW_PROJECT, DIALOGFLOW_AGENT and DIALOGFLOW_LOCATION"
    reason = str(error.fields.get("reason"))
    match reason:
        case "not installed":
            return failed("The extra dialogflow is not installed.", INSTALL)
        case "PERMISSION_DENIED" | "UNAUTHENTICATED":
            return failed(
                f"{bot.address} does not let these credentials in ({reason}).",
                f"Give the service account the role Dialogflow API Client in {bot.project}; {CREDENTIALS}.",
            )
        case "NOT_FOUND":
            return failed(f"{bot.address} has no such agent ({reason}).", f"Check {names}.")
        case "RESOURCE_EXHAUSTED":
            return failed(f"The quota of {bot.project} is used up ({reason}).", "Google Cloud console > Quotas.")
    if isinstance(error, ModelRejected) and "status" not in error.fields:
        return failed("There are no credentials for Dialogflow that can be used.", f"{CREDENTIALS}.")
    return failed(
        f"{bot.address} cannot be reached ({reason}).", f"Check DIALOGFLOW_ENDPOINT, {names}, and the network."
    )
