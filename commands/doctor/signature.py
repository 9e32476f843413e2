"""The way of a signed webhook through the public address: what we sign here the running relay must take for Twilio's.

What is posted is a call that we placed ourselves and that has been answered: it has no business hours, is nobody's, and
leaves nothing behind. Its answer is TwiML that nobody carries out.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from commands.doctor.answers import AGAIN, LEAVING, explained, unanswered
from commands.doctor.asking import Answer, Asker, Unanswered
from commands.doctor.finding import Finding, failed, ok, warning
from handlers.callbacks import INCOMING, RELAY
from handlers.signatures import SIGNATURE_HEADER
from phone.signing import sign

SAME_SETTINGS = "Restart the running relay with the settings of this command (PUBLIC_URL, TWILIO_AUTH_TOKEN)."

# The words of handlers/guard.py, by which a refusal of ours is told from a proxy's.
_MISMATCH = "The signature does not match."
_DEVELOPMENT = "PUBLIC_URL is not set."


async def look(public_url: str, tokens: Sequence[str], asker: Asker, *, account_sid: str = "") -> Finding:
    """``tokens``: all auth tokens of the settings, of which the running relay must know each."""
    url = public_url + INCOMING
    form = {
        "CallSid": f"CA{uuid4().hex}",
        "AccountSid": account_sid or "AC" + "0" * 32,
        "From": "anonymous",
        "To": "anonymous",
        "CallStatus": "in-progress",
        "Direction": "outbound-api",
    }
    body = urlencode(form).encode()
    try:
        for token in tokens:
            answer = await asker.post(url, body, {SIGNATURE_HEADER: sign(token, url, form)})
            if wrong := _signed(answer, public_url, first=token is tokens[0]):
                return wrong
        return _unsigned(await asker.post(url, body, {}))
    except Unanswered as error:
        return unanswered(error, asker.deadline)


def _signed(answer: Answer, public_url: str, *, first: bool) -> Finding | None:
    """What is wrong with the answer to a signed request; None for nothing."""
    parts = urlsplit(public_url)
    if answer.status == 403 and _MISMATCH in answer.body:
        if not first:
            return failed("The running relay does not know all tokens of TWILIO_AUTH_TOKEN.", SAME_SETTINGS)
        return failed(
            "The running relay refuses what is signed here (403): it has another TWILIO_AUTH_TOKEN, or another "
            f"PUBLIC_URL than https://{parts.netloc}{parts.path}.",
            f"{SAME_SETTINGS} The path of PUBLIC_URL must be the one the proxy takes off.",
        )
    if answer.status == 403 and _DEVELOPMENT in answer.body:
        return failed("The running relay has no PUBLIC_URL and takes no calls from outside (403).", SAME_SETTINGS)
    if answer.status == 404 and not answer.body:
        return failed("The running relay has no TWILIO_AUTH_TOKEN: its Twilio routes are closed (404).", SAME_SETTINGS)
    if answer.status == 503 and LEAVING in answer.body:
        return warning("The running relay is leaving and takes no new calls (503).", AGAIN)
    if answer.status == 500:
        return failed("The running relay fails (500).", "See its log.")
    if answer.status != 200 or "<Response>" not in answer.body:
        return explained(answer, public_url + INCOMING, parts.path)
    if "<ConversationRelay" in answer.body and f"wss://{parts.netloc}{parts.path}{RELAY}" not in answer.body:
        return failed(
            "The running relay tells Twilio another address for the websocket than PUBLIC_URL's.", SAME_SETTINGS
        )
    return None


def _unsigned(answer: Answer) -> Finding:
    match answer.status:
        case 403 | 429:
            return ok("What is signed is taken, and what is not is refused.")
        case 200:
            return failed("The running relay takes requests that nobody has signed.", SAME_SETTINGS)
    return warning(f"What is not signed is answered with {answer.status} instead of 403.", "Look at the proxy's rules.")
