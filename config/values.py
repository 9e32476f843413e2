"""The kinds of values settings have: what each must look like, said as the end of a sentence about the setting."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

CHECKOUT = Path(__file__).resolve().parent.parent
"""The folder that holds ``config/``: relative paths in settings start here, whatever the working directory is."""

_NODE = r"(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::0*[1-9]\d{0,4})?"
_NODES = rf"{_NODE}(?:,{_NODE})*"
_ONE, _CLUSTER = re.compile(rf"{_NODE}(?:/\d*)?"), re.compile(rf"{_NODES}/?")
_SENTINEL = re.compile(rf"{_NODES}/[\w.-]+(?:/\d*)?")
_REDIS_PLACES = {
    "unix": re.compile(r".*/.+"),
    **dict.fromkeys(("redis", "rediss"), _ONE),
    **dict.fromkeys(("redis+sentinel", "rediss+sentinel"), _SENTINEL),
    **dict.fromkeys(("redis+cluster", "rediss+cluster"), _CLUSTER),
}

_YES, _NO = ("true", "yes", "on"), ("false", "no", "off")


def _from_checkout(value: Path) -> Path:
    return Path(os.path.normpath(CHECKOUT / value.expanduser()))


def _url(value: str, schemes: tuple[str, ...], example: str) -> str:
    """The URL without its trailing slash; a user, a password, a query or a fragment has no place in it."""
    problem = f"must look like {example}"
    try:
        parts = urlsplit(value)
        port_is_fine = parts.port != 0
    except ValueError:
        raise ValueError(problem) from None
    odd = parts.username is not None or "?" in value or "#" in value or re.search(r"[\s\\]", value)
    if parts.scheme not in schemes or not parts.hostname or odd or not port_is_fine:
        raise ValueError(problem)
    return value.rstrip("/")


def _public_url(value: str) -> str:
    return _url(value, ("https",), "https://host or https://host/prefix")


def _model_url(value: str) -> str:
    url = _url(value, ("http", "https"), "https://host/v1")
    if not url.endswith("/v1"):
        raise ValueError("must end in /v1")
    return url


def _twilio_url(value: str) -> str:
    return _url(value, ("http", "https"), "https://host, without /2010-04-01").removesuffix("/2010-04-01")


def _redis_url(value: SecretStr) -> SecretStr:
    """One server (also by unix socket), the Sentinels that know it, or some of a Cluster's nodes."""
    try:
        parts = urlsplit(value.get_secret_value())
        fine = bool(_REDIS_PLACES[parts.scheme].fullmatch(parts.netloc.rpartition("@")[2] + parts.path))
    except (ValueError, KeyError):
        fine = False
    if not fine:
        raise ValueError(
            "must look like redis://host:6379/0, rediss://host:6379/0, unix:///path, "
            "redis+sentinel://host:26379,host:26379/SERVICE/0 or redis+cluster://host:7000,host:7001"
        )
    return value


def matching(pattern: str, wanted: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {wanted}")
        return value

    return AfterValidator(check)


def _secrets(value: Any) -> Any:
    """Comma-separated secrets as a tuple; spaces around them and empty places are dropped."""
    if not isinstance(value, str):
        return value
    secrets = tuple(part.strip() for part in value.split(",") if part.strip())
    if not secrets:
        raise ValueError("must name at least one secret")
    return secrets


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _off(value: Any) -> Any:
    """``off`` and ``0`` say the same as nothing."""
    return None if isinstance(value, str) and value.strip().lower() in ("off", "0") else value


def _switch(value: Any) -> Any:
    """1 or 0, however it is said."""
    if not isinstance(value, str):
        return value
    said = {**dict.fromkeys(("1", *_YES), 1), **dict.fromkeys(("0", *_NO), 0)}.get(value.lower())
    if said is None:
        raise ValueError(f"must be 1 or 0 (or {', '.join((*_YES, *_NO))})")
    return said


def _smtp_url(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value())
        fine = parts.scheme in ("smtp", "smtps") and parts.hostname and parts.port != 0 and parts.path in ("", "/")
    except ValueError:
        fine = False
    if not fine or parts.query or parts.fragment:
        raise ValueError("must look like smtp://user:password@host:587 or smtps://user:password@host")
    return value


def _web_url(value: str) -> str:
    """Any http(s) address; a query may be part of it."""
    try:
        parts = urlsplit(value)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        fine = False
    if not fine or parts.fragment or re.search(r"[\s\\]", value):
        raise ValueError("must look like https://host/path")
    return value


def _texts(value: Any) -> Any:
    """What stands between commas, as a tuple."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _origin(value: str) -> str:
    """As browsers spell it: lower case, and without the scheme's usual port."""
    origin = _url(value, ("https", "http"), "https://host or https://host:8443").lower()
    parts = urlsplit(origin)
    if parts.path:
        raise ValueError("must look like https://host or https://host:8443, without a path")
    return origin.removesuffix({"https": ":443", "http": ":80"}[parts.scheme])


def _grpc_endpoint(value: str) -> str:
    if not re.fullmatch(rf"(?:https?://)?{_NODE}", value) or ":" not in value.rpartition("/")[2]:
        raise ValueError("must look like host:443, or http://host:port for a server without TLS")
    return value.removeprefix("https://")


PublicUrl = Annotated[str, AfterValidator(_public_url)]
ModelUrl = Annotated[str, AfterValidator(_model_url)]
TwilioUrl = Annotated[str, AfterValidator(_twilio_url)]
WebUrl = Annotated[str, AfterValidator(_web_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
SmtpUrl = Annotated[SecretStr, AfterValidator(_smtp_url)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_secrets)]
ANY_CASE = BeforeValidator(_lower)
PhoneNumber = Annotated[str, matching(r"\+[1-9]\d{6,14}", "a phone number in E.164 form, such as +15550100200")]
Destination = Annotated[
    str, matching(r"\+[1-9]\d{6,14}|sips?:[^\s@]+@[^\s@]+", "a phone number such as +15550100200, or sip:name@host")
]
CallingCode = Annotated[str, matching(r"\+[1-9]\d{0,6}", "calling codes such as +1,+44")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, Field(ge=0, allow_inf_nan=False)]
CallingCodes = Annotated[tuple[CallingCode, ...], NoDecode, BeforeValidator(_texts)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(_texts)]
GrpcEndpoint = Annotated[str, AfterValidator(_grpc_endpoint)]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Switch = Annotated[int, Field(ge=0, le=1), BeforeValidator(_switch)]
Count = Annotated[int, Field(ge=1)]
CountOrOff = Annotated[int | None, Field(ge=1), BeforeValidator(_off)]
Folder = Annotated[Path, AfterValidator(_from_checkout)]
