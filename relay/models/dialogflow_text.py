"""Parts of Dialogflow's rich messages as text: choices, links, SSML, what Dialogflow Messenger shows. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

_ALIAS = re.compile(r"""<sub\b[^>]*\balias\s*=\s*(["'])(.*?)\1[^>]*>.*?</sub\s*>""", re.IGNORECASE | re.DOTALL)
_APART = re.compile(r"</?(?:speak|p|s|break|audio|media|seq|par|desc)\b[^>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_MARKUP = re.compile(r"<speak\b", re.IGNORECASE)


def strings(value: Any) -> list[str]:
    """A text, or those of a list, without empty ones."""
    values = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    return [text.strip() for text in values if isinstance(text, str) and text.strip()]


def without_tags(text: str) -> str:
    """The words of SSML; any other text as it is."""
    if not _MARKUP.search(text):
        return text.strip()
    text = _TAG.sub("", _APART.sub(" ", _ALIAS.sub(r"\2", text)))
    return " ".join(html.unescape(text).split())


def lines(*parts: str) -> str:
    return "\n".join(filter(None, (part.strip() for part in parts)))


def link(text: str, address: str) -> str:
    """``address``: only one of the web is shown."""
    if not address.startswith(("http://", "https://")):
        return text
    return f"[{text}]({address})" if text else address


def choices(options: Iterable[str], spoken: bool) -> str:
    """One after the other for the ear, below each other for the eye."""
    named = [option for option in options if option]
    if spoken:
        return f"{', '.join(named)}." if named else ""
    return "\n".join(f"- {option}" for option in named)


def rich_content(payload: Mapping[str, Any], spoken: bool) -> str:
    """Of a custom payload its ``text``, and the ``richContent`` of Dialogflow Messenger."""
    groups = [group for group in payload.get("richContent") or () if isinstance(group, list)]
    elements = (_element(each, spoken) for group in groups for each in group if isinstance(each, Mapping))
    return lines(*strings(payload.get("text")), *elements)


def _element(element: Mapping[str, Any], spoken: bool) -> str:
    """Any of its elements: info, description, list, accordion, button, image, chips."""

    def text(name: str, of: Mapping[str, Any] = element) -> str:
        return "\n".join(strings(of.get(name)))

    anchor = element.get("anchor")
    address = text("link") or text("actionLink") or (text("href", anchor) if isinstance(anchor, Mapping) else "")
    if element.get("type") == "button":
        return choices([link(text("text"), address)], spoken)
    if element.get("type") == "image":
        return link(text("accessibilityText"), "" if spoken else text("rawUrl"))
    options = [each for each in element.get("options") or () if isinstance(each, Mapping)]
    return lines(
        link(text("title"), address) if address else text("title"),
        text("subtitle"),
        text("text"),
        choices((link(text("text", each), text("link", each)) for each in options), spoken),
    )
