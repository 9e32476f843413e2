"""What a model means by arguments that are not quite as its schema says: ``null`` and ``""`` for what it leaves out,
``"One bedroom"`` for ``one-bedroom``, ``"$1,500"`` for 1500; pure.

Only what can have one meaning is put right. Everything else is left as it is, for the check that follows to refuse.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

_LONGEST = 200  # characters of a number or a choice written as text; nothing longer is one
_AMOUNT = re.compile(
    r"(?:us ?)?\$? ?(-?[1-9]\d{0,2}(?:,\d{3})+|-?[1-9]\d{0,2}(?:\.\d{3})+|-?\d+)(\.\d{1,2})?"
    r" ?(?:\$|dollars?|bucks|usd|d[oó]lar(?:es)?)?(?:(?: (?:a|per|al) |/)(?:month|mes))?",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"#? ?\d(?:[ -]\d){2,}|# ?\d+")  # digit by digit, or as on a slip; "2-3" is two numbers

Schema = Mapping[str, Any]


def lenient(value: Any, schema: Schema) -> Any:
    """The value as the schema wants it, where it is clear what was meant; ``schema`` without references."""
    if isinstance(value, str) and schema.get("type") in ("object", "array"):
        value = _parsed(value)
    match schema.get("type"):
        case "object":
            return _object({} if value is None else value, schema)
        case "array" if isinstance(value, dict):
            return [lenient(value, schema.get("items", {}))]
        case "array" if isinstance(value, list):
            return [lenient(each, schema.get("items", {})) for each in value]
        case "string" if "enum" in schema:
            return _choice(value, schema["enum"])
        case "string" if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return ", ".join(value)
        case "string" if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        case "integer" | "number" if isinstance(value, str):
            return _number(value, whole=schema["type"] == "integer")
    return value


def _object(value: Any, schema: Schema) -> Any:
    if not isinstance(value, dict):
        return value
    properties: Mapping[str, Schema]
    properties, required = schema.get("properties", {}), schema.get("required", ())
    squashed: dict[str, str] = {_squashed(name): name for name in properties}
    found: dict[str, Any] = {}
    key: str
    for key, given in value.items():
        name = key if key in properties else squashed.get(_squashed(key), key)
        if name in found:
            name = key  # said twice: the second spelling is left to be refused
        if name not in properties and schema.get("additionalProperties") is False and given in (None, ""):
            continue
        if name in properties and name not in required and _is_nothing(given, properties[name]):
            continue
        found[name] = lenient(given, properties.get(name, {}))
    return found


def _is_nothing(value: Any, schema: Schema) -> bool:
    """Whether an argument that may be left out was left out in a way of its own. Empty text is a text."""
    if value is None:
        return True
    is_text = schema.get("type") == "string" and ("enum" not in schema or value in schema["enum"])
    return isinstance(value, str) and not is_text and value.strip().casefold() in ("", "null", "none")


def _choice(value: Any, choices: list[Any]) -> Any:
    if not isinstance(value, str) or value in choices or len(value) > _LONGEST:
        return value
    found = [choice for choice in choices if isinstance(choice, str) and _squashed(choice) == _squashed(value)]
    return found[0] if len(found) == 1 else value


def _number(value: str, *, whole: bool) -> Any:
    text = " ".join(value.split())
    if len(text) > _LONGEST:
        return value
    if whole and _DIGITS.fullmatch(text):
        return int(re.sub(r"\D", "", text))
    if not (found := _AMOUNT.fullmatch(text)):
        return value
    units, fraction = re.sub("[,.]", "", found[1]), found[2]
    return float(units + fraction) if fraction else int(units)


def _parsed(value: str) -> Any:
    """What was written as JSON within JSON."""
    try:
        return json.loads(value) if value.strip() else None
    except (ValueError, RecursionError):
        return value


def _squashed(text: str) -> str:
    """``One-Bedroom``, ``one_bedroom`` and ``oneBedroom`` are one."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(each for each in plain if each.isalnum())


__all__ = ["lenient"]
