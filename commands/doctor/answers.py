"""What answers in our place, told by its answer: a proxy, a tunnel, a firewall, or somebody else's page."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from commands.doctor.asking import Answer, Unanswered
from commands.doctor.finding import Finding, failed

LEADS = "Check PUBLIC_URL, and where its proxy or tunnel leads."
AGAIN = "Start it again: relay serve"
LEAVING = "This process is leaving"
"""The words of a refusal of ours, of a webhook or of a websocket, before the process ends."""
START = "Start it: relay serve; and look whether the proxy or tunnel passes on to its port (PORT)."

_NGROK = re.compile(r"ERR_NGROK_(\d{1,6})")
_NAME = re.compile(r"[\w./ -]{1,40}", re.ASCII)


def explained(answer: Answer, url: str, prefix: str) -> Finding:
    """Why an answer from ``url`` is not ours. ``prefix``: the path of PUBLIC_URL."""
    code = _NGROK.search(answer.headers.get("ngrok-error-code", "") + answer.body)
    if code:
        return _ngrok(code[1], url)
    status, server = answer.status, _server(answer)
    match status:
        case 301 | 302 | 303 | 307 | 308:
            target = urljoin(url, answer.headers.get("Location", ""))
            base = target.partition("?")[0].removesuffix(urlsplit(url).path.removeprefix(prefix))
            return failed(
                f"It redirects to {base} ({status}); a websocket follows no redirect, and signatures fail behind one.",
                f"Set PUBLIC_URL to the address at its end, or switch the redirect{server} off.",
            )
        case 401 | 407:
            return failed(
                f"Something before the relay asks for a password ({status}){server}; Twilio has none.",
                "Take the password off the paths below /voice/ and /twilio/: signatures guard them.",
            )
        case 403:
            return failed(
                f"Something before the relay refuses the request (403){server}.",
                "Let the paths below /voice/ and /twilio/ through its firewall, bot check or login.",
            )
        case 404 if prefix:
            return failed(
                f"There is nothing at this path (404){server}.",
                f"PUBLIC_URL ends in {prefix}: the proxy must take that off before it passes a request on.",
            )
        case 404:
            return failed(f"Something else answers there (404){server}.", LEADS)
        case 429:
            return failed(
                "There were too many requests (429).", "Wait a minute; RATE_PER_MINUTE or the proxy's limit is too low."
            )
        case 502 | 503 | 504 | 520 | 521 | 522 | 523 | 524 | 530:
            return failed(f"The proxy is there and cannot reach the relay ({status}){server}.", START)
        case _ if "<html" in answer.body[:2000].lower():
            return failed(f"A web page answers instead of the relay ({status}){server}.", LEADS)
    return failed(f"Something else answers ({status}){server}.", LEADS)


def unanswered(error: Unanswered, deadline: float) -> Finding:
    if error.late:
        return failed(
            f"There was no answer within {deadline:g} s.",
            "Look at the proxy's log, and whether the relay is overloaded or stopped.",
        )
    return failed(f"The connection broke without an answer ({error.kind}).", START)


def _ngrok(code: str, url: str) -> Finding:
    host = urlsplit(url).netloc
    match code:
        case "3200":
            return failed("The ngrok tunnel is not running (ERR_NGROK_3200).", f"ngrok http PORT --url https://{host}")
        case "8012":
            return failed("The ngrok tunnel runs and nothing listens where it leads (ERR_NGROK_8012).", START)
        case "6024":
            return failed(
                "ngrok shows its warning page instead of the relay (ERR_NGROK_6024).",
                "Twilio is not shown it, unless something makes requests look like a browser's; a paid plan has none.",
            )
    return failed(
        f"ngrok answers with an error (ERR_NGROK_{code}).", f"See https://ngrok.com/docs/errors/err_ngrok_{code}"
    )


def _server(answer: Answer) -> str:
    name = answer.headers.get("Server", "")
    return f" by {name}" if _NAME.fullmatch(name) else ""
