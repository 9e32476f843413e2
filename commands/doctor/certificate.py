"""The certificate at PUBLIC_URL, as Twilio judges it: it takes none that is self-signed, expired or of another name."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from commands.doctor.finding import Finding, failed, ok, warning

DEADLINE = 8.0
SOON = 14 * 86400.0  # seconds before a certificate ends in which nobody has renewed it


_RENEW = "Renew it: certbot renew"
_AUTHORITY = "Use one of a public authority: certbot, or the proxy's own (Caddy, Fly and Render do it by themselves)."


async def look(
    public_url: str, context: ssl.SSLContext, *, now: Callable[[], float] = time.time, deadline: float = DEADLINE
) -> Finding:
    """``now``: epoch seconds."""
    parts = urlsplit(public_url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        async with asyncio.timeout(deadline):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except TimeoutError:
        return failed(f"Port {port} of {host} does not speak TLS within {deadline:g} s.", _TLS_THERE)
    except ssl.SSLCertVerificationError as error:
        return _distrusted(error, host)
    except ssl.SSLError as error:
        return _no_tls(error, host, port)
    except OSError as error:
        return failed(f"TLS breaks off at {host} ({type(error).__name__}).", _TLS_THERE)
    certificate = writer.get_extra_info("peercert") or {}
    version = writer.get_extra_info("ssl_object").version()
    writer.transport.abort()
    ends = str(certificate.get("notAfter", ""))
    left = ssl.cert_time_to_seconds(ends) - now() if ends else SOON
    if left < SOON:
        return warning(f"The certificate of {host} ends in {left / 86400:.0f} days ({ends}).", _RENEW)
    return ok(f"{version}, and the certificate of {host} is good until {ends}.")


_TLS_THERE = "Let the proxy speak TLS on this port, or correct the port of PUBLIC_URL."


def _distrusted(error: ssl.SSLCertVerificationError, host: str) -> Finding:
    match error.verify_code:
        case 10:
            return failed(f"The certificate of {host} has expired.", _RENEW)
        case 9:
            return failed(f"The certificate of {host} is not valid yet.", "Check this machine's clock.")
        case 62:
            return failed(
                f"The certificate is for another name than {host}.",
                f"Have one made for {host}, or set PUBLIC_URL to the name it is for.",
            )
        case 18:
            return failed(f"The certificate of {host} is signed by itself: Twilio does not take it.", _AUTHORITY)
        case 19:
            return failed(f"The certificate of {host} is of an authority that nobody knows.", _AUTHORITY)
        case 20 | 21:
            return failed(
                f"The certificate of {host} comes without those between it and a known authority, or has none.",
                f"Have the proxy send the whole chain (certbot's fullchain.pem, not cert.pem). {_AUTHORITY}",
            )
    return failed(f"The certificate of {host} is not accepted ({error.verify_message}).", _AUTHORITY)


def _no_tls(error: ssl.SSLError, host: str, port: int) -> Finding:
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return failed(f"Port {port} of {host} speaks something else than TLS, perhaps plain HTTP.", _TLS_THERE)
    return failed(f"TLS fails at {host} ({error.reason or type(error).__name__}).", _TLS_THERE)
