"""How the API refuses a request, and the small checks every part of one goes through.

The wording follows what OpenAI's API answers, so that a client's handling of it is exercised as it will be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

_JSON_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}


class Rejected(Exception):
    """An answer with an HTTP status of 400 or above, in OpenAI's error shape."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.body = {"error": {"message": message, "type": type, "param": param, "code": code}}


def typed(value: Any, wanted: type, param: str) -> None:
    """The value has the JSON type."""
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        got = "null" if value is None else _JSON_NAMES.get(type(value), "value")
        name = _JSON_NAMES[wanted]
        article = "an" if name[0] in "aio" else "a"
        raise Rejected(
            f"Invalid type for '{param}': expected {article} {name}, but got {got} instead.",
            param=param,
            code="invalid_type",
        )


def missing(param: str) -> NoReturn:
    raise Rejected(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def one_of(value: Any, allowed: tuple[str, ...], param: str) -> None:
    """The value is one of the names."""
    if value not in allowed:
        names = ", ".join(f"'{name}'" for name in allowed[:-1]) + f", and '{allowed[-1]}'"
        raise Rejected(f"Invalid value: '{value}'. Supported values are: {names}.", param=param, code="invalid_value")


def text_of(holder: dict[str, Any], key: str, param: str) -> str:
    """The string under a key that must be there."""
    if key not in holder:
        missing(f"{param}.{key}")
    typed(holder[key], str, f"{param}.{key}")
    return str(holder[key])


def short(value: Any, param: str, limit: int) -> None:
    """The value is a string of at most ``limit`` characters."""
    typed(value, str, param)
    if len(value) > limit:
        raise Rejected(
            f"Invalid '{param}': string too long. Expected a string with maximum length {limit}, "
            f"but got a string with length {len(value)} instead.",
            param=param,
            code="string_above_max_length",
        )


def objects(value: Any, param: str) -> list[dict[str, Any]]:
    """The value is an array of objects."""
    typed(value, list, param)
    for index, item in enumerate(value):
        typed(item, dict, f"{param}[{index}]")
    return list(value)
