"""Where the telephone number's calls go: to this relay, by POST, with a way out and a report of their end."""

from __future__ import annotations

from urllib.parse import urlsplit

from channels.twilio.numbers import BUY_ONE, NoNumber, Number, Numbers, Routing
from commands.doctor.finding import Finding, failed, ok, warning
from commands.doctor.twilio import refused
from commands.number import our_routing
from config.settings import Settings
from handlers.messaging import make_rest
from relay.errors import ChannelError

CONNECT = "relay number connect"


async def look(settings: Settings) -> Finding:
    """The settings' number; without one, those that point here."""
    rest = make_rest(settings)
    assert rest is not None and settings.public_url is not None  # who calls has looked
    ours = our_routing(settings.public_url, fallback_url=settings.voice_fallback_url or "")
    try:
        return await _look(Numbers(rest), ours, settings.twilio_phone_number or "")
    except NoNumber as error:
        return failed(str(error), "Correct TWILIO_PHONE_NUMBER; relay number list shows what there is.")
    except ChannelError as error:
        return refused(error, settings)
    finally:
        await rest.close()


async def _look(numbers: Numbers, ours: Routing, wanted: str) -> Finding:
    if wanted:
        number = await numbers.choose(wanted)
        return _judged(number, await _routing(numbers, number), ours, CONNECT)
    able = [each for each in await numbers.all() if each.voice]
    if not able:
        return failed("The account has no number that takes calls.", BUY_ONE)
    fix = CONNECT if len(able) == 1 else f"{CONNECT} NUMBER"
    found = [_judged(each, await _routing(numbers, each), ours, fix) for each in able]
    here = [each for each in found if each.status != "failed"]
    if not here and len(found) > 1:
        return failed(f"None of the account's {len(found)} numbers points here.", f"{fix}    (see relay number list)")
    return next((each for each in here if each.status == "warning"), (here or found)[0])


async def _routing(numbers: Numbers, number: Number) -> Routing:
    sid = number.routing.voice_application_sid
    return await numbers.application(sid) if sid else number.routing


def _judged(number: Number, routing: Routing, ours: Routing, fix: str) -> Finding:
    name = number.number
    app = "its TwiML app's" if number.routing.voice_application_sid else "its"
    if number.routing.trunk_sid:
        return failed(f"The calls of {name} go to a SIP trunk, whatever its voice URL is.", fix)
    if _bare(routing.voice_url) != ours.voice_url:
        return failed(f"{name}: {app} voice URL is {_shown(routing.voice_url)}, not {ours.voice_url}.", fix)
    if routing.voice_method != "POST":
        return failed(f"{name}: {app} voice URL is asked for by {routing.voice_method}, not by POST.", fix)
    if _bare(routing.voice_fallback_url) != _bare(ours.voice_fallback_url):
        told = f"{app} fallback URL is {_shown(routing.voice_fallback_url)}"
        return warning(f"{name}: {told}: callers hear Twilio's error while we cannot be reached.", fix)
    if _bare(routing.status_callback) != ours.status_callback or routing.status_callback_method != "POST":
        told = f"{app} status callback is {_shown(routing.status_callback)}"
        return warning(f"{name}: {told}: the end of a call is noticed late where its connection broke.", fix)
    return ok(f"{name} points here.")


def _bare(url: str) -> str:
    """Without the agent in the query, and Twilio's own options behind the #."""
    return url.partition("#")[0].partition("?")[0]


def _shown(url: str) -> str:
    """Without a user, a password and a query, which may be secrets of another program."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{parts.path}" if parts.hostname else "none"
