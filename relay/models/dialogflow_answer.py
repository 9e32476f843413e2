"""What Dialogflow's responses say: rich messages to text, and its signals. Pure.

A response is a mapping of the fields that are set, by the names of Google's messages (``Intent.Message`` of ES,
``ResponseMessage`` of CX). Text is Markdown as models write it: the channel makes of it what it can show or say.
Whatever is unknown is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.models.dialogflow_text import choices, lines, link, rich_content, strings, without_tags

Message = Mapping[str, Any]

REASON = "handoff"
SUMMARY = "The Dialogflow agent hands the conversation over."
MOST_FOUND = 200  # characters of a name in a trace


@dataclass(frozen=True, slots=True)
class Handoff:
    """A person is to take over. What is told of it may be of the person's own words."""

    reason: str = field(default=REASON, repr=False)
    summary: str = field(default=SUMMARY, repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """One response. ``texts``: a message each. ``ends``: the conversation is over. ``final``: no more responses follow.
    ``found``: of the intent, in the words of who made the Dialogflow agent."""

    texts: tuple[str, ...] = field(default=(), repr=False)
    handoff: Handoff | None = None
    ends: bool = False
    final: bool = True
    found: Mapping[str, str | float] = field(default_factory=dict)


def es_reply(response: Message, *, spoken: bool) -> Reply:
    """Of Dialogflow ES. ``spoken``: the answer is for the ear."""
    result: Message = response.get("query_result", {})
    messages: Sequence[Message] = result.get("fulfillment_messages", ())
    texts = _es_texts([each for each in messages if "platform" not in each], spoken)
    if not texts and (text := result.get("fulfillment_text", "").strip()):
        texts = (without_tags(text),)
    for platform in dict.fromkeys(each["platform"] for each in messages if "platform" in each):
        texts = texts or _es_texts([each for each in messages if each.get("platform") == platform], spoken)
    intent: Message = result.get("intent", {})
    payloads = [*(each["payload"] for each in messages if "payload" in each), result.get("webhook_payload", {})]
    handoff = _first(_handoff_in(payload) for payload in payloads)
    ends = intent.get("end_interaction") or result.get("diagnostic_info", {}).get("end_conversation") is True
    return Reply(
        texts,
        handoff or (Handoff() if intent.get("live_agent_handoff") else None),
        bool(ends or any(map(_ends_in, payloads))),
        found=_found(
            intent=intent.get("display_name"),
            action=result.get("action"),
            confidence=result.get("intent_detection_confidence"),
        ),
    )


def cx_reply(response: Message, *, spoken: bool) -> Reply:
    """Of Dialogflow CX; the same."""
    result: Message = response.get("query_result", {})
    messages: Sequence[Message] = result.get("response_messages", ())
    # Words that are meant for the ear stand in the place of those to be read.
    has_text, has_speech = (any(kind in each for each in messages) for kind in ("text", "output_audio_text"))
    left_out = "text" if spoken and has_speech else "output_audio_text" if has_text else ""
    payloads = [each["payload"] for each in messages if "payload" in each]
    handoff = _first(
        _handoff(each["live_agent_handoff"].get("metadata", {}))
        if "live_agent_handoff" in each
        else Handoff("telephony-transfer")
        if "telephony_transfer_call" in each
        else None
        for each in messages
    )
    match: Message = result.get("match", {})
    return Reply(
        tuple(text for each in messages if left_out not in each and (text := _cx_text(each, spoken))),
        handoff or _first(map(_handoff_in, payloads)),
        any("end_interaction" in each for each in messages) or any(map(_ends_in, payloads)),
        response.get("response_type") != "PARTIAL",
        _found(
            intent=match.get("intent", {}).get("display_name"),
            match=match.get("match_type"),
            confidence=match.get("confidence"),
            page=result.get("current_page", {}).get("display_name"),
        ),
    )


def unsaid(said: Sequence[str], texts: Sequence[str]) -> list[str]:
    """What of these messages is new after those that were said: a response may begin with the messages of the ones
    before it, or with some of them, or with the same words cut otherwise."""
    for count in range(min(len(said), len(texts)), 0, -1):
        if list(said[-count:]) == list(texts[:count]):
            return list(texts[count:])
    before, text = "".join(" ".join(said).split()), "\n\n".join(texts)
    if not before or not "".join(text.split()).startswith(before):
        return list(texts)
    marks = (at for at, character in enumerate(text, 1) if not character.isspace())
    end = next(at for count, at in enumerate(marks, 1) if count == len(before))
    return [rest] if (rest := text[end:].strip()) else []


# -- texts


def _es_texts(messages: Iterable[Message], spoken: bool) -> tuple[str, ...]:
    return tuple(text for message in messages if (text := _es_text(message, spoken)))


def _es_text(message: Message, spoken: bool) -> str:
    kind = next((name for name in _ES if name in message), "")
    return _ES[kind](message[kind], spoken).strip() if kind else ""


def _cx_text(message: Message, spoken: bool) -> str:
    match message:
        case {"text": text}:
            return "\n".join(strings(text.get("text"))).strip()
        case {"output_audio_text": speech}:
            return without_tags(speech.get("text") or speech.get("ssml") or "")
        case {"payload": payload}:
            return rich_content(payload, spoken)
    return ""


def _said(response: Message, spoken: bool) -> str:
    """One of ``simple_responses``."""
    shown, speech = response.get("display_text", ""), response.get("text_to_speech") or response.get("ssml", "")
    return without_tags((speech or shown) if spoken else (shown or speech))


def _card(card: Message, spoken: bool) -> str:
    buttons = (
        link(
            each.get("text") or each.get("title", ""),
            each.get("postback") or each.get("open_uri_action", {}).get("uri", ""),
        )
        for each in card.get("buttons", ())
    )
    parts = (card.get(name, "") for name in ("title", "subtitle", "formatted_text"))
    return lines(*parts, choices(buttons, spoken))


def _options(select: Message, spoken: bool) -> str:
    options = (
        ": ".join(filter(None, (_option(each), each.get("description", "")))) for each in select.get("items", ())
    )
    return lines(select.get("title", ""), select.get("subtitle", ""), choices(options, spoken))


def _option(item: Message) -> str:
    return link(item.get("title", ""), item.get("open_uri_action", {}).get("url", ""))


def _table(table: Message, spoken: bool) -> str:
    rows = (", ".join(strings([cell.get("text") for cell in row.get("cells", ())])) for row in table.get("rows", ()))
    return lines(table.get("title", ""), table.get("subtitle", ""), choices(rows, spoken))


def _image(image: Message, spoken: bool) -> str:
    return link(image.get("accessibility_text", ""), "" if spoken else image.get("image_uri", ""))


_ES: Mapping[str, Callable[[Any, bool], str]] = {
    "text": lambda text, spoken: "\n".join(strings(text.get("text"))),
    "simple_responses": lambda all_of, spoken: lines(*(_said(each, spoken) for each in all_of["simple_responses"])),
    "quick_replies": lambda quick, spoken: lines(
        quick.get("title", ""), choices(strings(quick.get("quick_replies")), spoken)
    ),
    "card": _card,
    "basic_card": _card,
    "suggestions": lambda all_of, spoken: choices((each.get("title", "") for each in all_of["suggestions"]), spoken),
    "link_out_suggestion": lambda out, spoken: link(out.get("destination_name", ""), out.get("uri", "")),
    "list_select": _options,
    "carousel_select": _options,
    "browse_carousel_card": _options,
    "table_card": _table,
    "media_content": lambda media, spoken: choices(
        (link(each.get("name", ""), each.get("content_url", "")) for each in media.get("media_objects", ())), spoken
    ),
    "image": _image,
    "payload": rich_content,
}


# -- signals


def _signals(payload: Message) -> Iterator[tuple[str, Any]]:
    """Its fields, by names without regard to how they are written."""
    for name, value in payload.items():
        yield name.replace("_", "").casefold(), value


def _handoff_in(payload: Message) -> Handoff | None:
    for name, value in _signals(payload):
        if name == "liveagenthandoff" and value not in (False, None):
            return _handoff(value.get("metadata", value) if isinstance(value, Mapping) else {})
    return None


def _ends_in(payload: Message) -> bool:
    for name, value in _signals(payload):
        if name in ("endinteraction", "endconversation") and value not in (False, None):
            return True
        if name == "google" and isinstance(value, Mapping) and value.get("expectUserResponse") is False:
            return True
    return False


def _handoff(metadata: Any) -> Handoff:
    """``reason`` and ``summary`` of it, the rest of it in the place of a summary that is missing."""
    told = {str(name): _plain(value) for name, value in metadata.items()} if isinstance(metadata, Mapping) else {}
    reason, summary = told.pop("reason", ""), told.pop("summary", "")
    rest = "; ".join(f"{name}: {value}" for name, value in sorted(told.items()) if value)
    return Handoff(reason or REASON, summary or rest or SUMMARY)


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.15g}"
    return value.strip() if isinstance(value, str) else str(value) if isinstance(value, bool) else ""


def _first(found: Iterable[Handoff | None]) -> Handoff | None:
    return next((each for each in found if each is not None), None)


def _found(**told: object) -> dict[str, str | float]:
    found: dict[str, str | float] = {}
    for name, value in told.items():
        if isinstance(value, float):
            found[name] = round(value, 3)
        elif isinstance(value, str) and value:
            found[name] = value[:MOST_FOUND]
    return found
