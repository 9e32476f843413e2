"""Rich messages and signals of Dialogflow, as Google's message classes have them."""

from __future__ import annotations

from typing import Any

import pytest
from google.cloud import dialogflow_v2 as es
from google.cloud import dialogflowcx_v3 as cx

from relay.models.dialogflow_answer import REASON, SUMMARY, Handoff, Reply, cx_reply, es_reply, unsaid
from relay.models.dialogflow_client import _fields

Fields = dict[str, Any]


def es_answer(*messages: Fields, spoken: bool = False, **result: Any) -> Reply:
    """Of a response with these messages, the way it comes over the wire."""
    response = es.DetectIntentResponse(
        query_result={"fulfillment_messages": [es.Intent.Message(each) for each in messages], **result}
    )
    return es_reply(_fields(es.DetectIntentResponse.deserialize(type(response).serialize(response))), spoken=spoken)


def cx_answer(*messages: Fields, spoken: bool = False, **result: Any) -> Reply:
    response = cx.DetectIntentResponse(
        query_result={"response_messages": [cx.ResponseMessage(each) for each in messages], **result}
    )
    return cx_reply(_fields(cx.DetectIntentResponse.deserialize(type(response).serialize(response))), spoken=spoken)


def text(*texts: str) -> Fields:
    return {"text": {"text": list(texts)}}


BUTTON = {"title": "Map", "open_uri_action": {"uri": "https://x.y/map"}}
ITEMS = [{"title": "Small", "description": "for one"}, {"title": "Large"}]


@pytest.mark.parametrize(
    ("message", "shown", "spoken"),
    [
        (text("Hello.", " "), "Hello.", "Hello."),
        (
            {"quick_replies": {"title": "Which size?", "quick_replies": ["Small", "Large"]}},
            "Which size?\n- Small\n- Large",
            "Which size?\nSmall, Large.",
        ),
        (
            {"card": {"title": "Room", "subtitle": "Two beds", "buttons": [{"text": "Book", "postback": "book it"}]}},
            "Room\nTwo beds\n- Book",
            "Room\nTwo beds\nBook.",
        ),
        (
            {"card": {"title": "Room", "buttons": [{"text": "See", "postback": "https://x.y"}]}},
            "Room\n- [See](https://x.y)",
            "Room\n[See](https://x.y).",
        ),
        (
            {"basic_card": {"title": "Room", "formatted_text": "Two beds", "buttons": [BUTTON]}},
            "Room\nTwo beds\n- [Map](https://x.y/map)",
            "Room\nTwo beds\n[Map](https://x.y/map).",
        ),
        ({"suggestions": {"suggestions": [{"title": "Yes"}, {"title": "No"}]}}, "- Yes\n- No", "Yes, No."),
        (
            {"link_out_suggestion": {"destination_name": "Our site", "uri": "https://x.y"}},
            "[Our site](https://x.y)",
            "[Our site](https://x.y)",
        ),
        (
            {"list_select": {"title": "Sizes", "items": ITEMS}},
            "Sizes\n- Small: for one\n- Large",
            "Sizes\nSmall: for one, Large.",
        ),
        ({"carousel_select": {"items": ITEMS}}, "- Small: for one\n- Large", "Small: for one, Large."),
        (
            {"browse_carousel_card": {"items": [{"title": "A", "open_uri_action": {"url": "https://x.y"}}]}},
            "- [A](https://x.y)",
            "[A](https://x.y).",
        ),
        (
            {"table_card": {"title": "Hours", "rows": [{"cells": [{"text": "Sunday"}, {"text": "9-5"}]}]}},
            "Hours\n- Sunday, 9-5",
            "Hours\nSunday, 9-5.",
        ),
        (
            {"media_content": {"media_objects": [{"name": "Song", "content_url": "https://x.y/s.mp3"}]}},
            "- [Song](https://x.y/s.mp3)",
            "[Song](https://x.y/s.mp3).",
        ),
        (
            {"image": {"image_uri": "https://x.y/a.png", "accessibility_text": "The house"}},
            "[The house](https://x.y/a.png)",
            "The house",
        ),
        (
            {
                "simple_responses": {
                    "simple_responses": [
                        {
                            "ssml": "<speak>At <say-as interpret-as='time'>9</say-as><break/>sharp</speak>",
                            "display_text": "9:00",
                        }
                    ]
                }
            },
            "9:00",
            "At 9 sharp",
        ),
        ({"payload": {"text": ["One.", "Two."]}}, "One.\nTwo.", "One.\nTwo."),
        ({"payload": {"facebook": {"attachment": {}}, "n": 1}}, "", ""),
        ({"payload": {"text": 5, "richContent": "no", "live_agent_handoff": False}}, "", ""),
    ],
)
def test_messages_of_es(message: Fields, shown: str, spoken: str) -> None:
    """As text: choices below each other for the eye, in a row for the ear."""
    assert es_answer(message).texts == ((shown,) if shown else ())
    assert es_answer(message, spoken=True).texts == ((spoken,) if spoken else ())


RICH = {
    "richContent": [
        [
            {"type": "info", "title": "Room", "subtitle": "Two beds", "actionLink": "https://x.y"},
            {"type": "divider"},
            {"type": "description", "title": "About", "text": ["Quiet.", "Sunny."]},
        ],
        [
            {"type": "image", "rawUrl": "https://x.y/a.png", "accessibilityText": "The house"},
            {"type": "button", "text": "Book", "anchor": {"href": "https://x.y/b"}},
            {"type": "list", "title": "First", "subtitle": "of all", "event": {"name": "first"}},
            {"type": "accordion", "title": "More", "text": "Breakfast is at eight."},
            {"type": "chips", "options": [{"text": "Yes"}, {"text": "Site", "link": "https://x.y"}, "?"]},
            "nonsense",
        ],
    ]
}


@pytest.mark.parametrize("answer", [es_answer, cx_answer])
def test_what_dialogflow_messenger_shows(answer: Any) -> None:
    """All its elements, in payloads of both editions."""
    assert answer({"payload": RICH}).texts[0].splitlines() == [
        "[Room](https://x.y)",
        "Two beds",
        "About",
        "Quiet.",
        "Sunny.",
        "[The house](https://x.y/a.png)",
        "- [Book](https://x.y/b)",
        "First",
        "of all",
        "More",
        "Breakfast is at eight.",
        "- Yes",
        "- [Site](https://x.y)",
    ]


def test_messages_for_other_platforms() -> None:
    """Are used only where there is nothing else: first the default ones, then the text, then another platform's."""
    own, other = text("Ours."), {**text("For Slack."), "platform": "SLACK"}
    assert es_answer(other, own).texts == ("Ours.",)
    assert es_answer(other, fulfillment_text="Plain.").texts == ("Plain.",)
    assert es_answer(other, {**text("For Viber."), "platform": "VIBER"}).texts == ("For Slack.",)
    assert es_answer(text(""), fulfillment_text="<speak>Plain &amp; <sub alias='simple'>s</sub></speak>").texts == (
        "Plain & simple",
    )
    assert es_answer() == Reply()


@pytest.mark.parametrize(
    ("messages", "shown", "spoken"),
    [
        ([text("Read."), {"output_audio_text": {"ssml": "<speak>Hear, <b>it</b>!</speak>"}}], "Read.", "Hear, it!"),
        ([{"output_audio_text": {"text": "Hear."}}], "Hear.", "Hear."),
        ([{"play_audio": {"audio_uri": "https://x.y/a.wav"}}, text("Read.")], "Read.", "Read."),
        ([{"conversation_success": {}}, {"mixed_audio": {}}], "", ""),
    ],
)
def test_messages_of_cx(messages: list[Fields], shown: str, spoken: str) -> None:
    """What is meant for the ear is spoken, and shown only where there is nothing else; sounds are left out."""
    assert cx_answer(*messages).texts == ((shown,) if shown else ())
    assert cx_answer(*messages, spoken=True).texts == ((spoken,) if spoken else ())


TOLD = {"reason": "billing", "summary": "A wrong bill."}


@pytest.mark.parametrize(
    ("reply", "handoff", "ends"),
    [
        (cx_answer({"live_agent_handoff": {"metadata": TOLD}}), Handoff("billing", "A wrong bill."), False),
        (cx_answer({"live_agent_handoff": {}}), Handoff(REASON, SUMMARY), False),
        (
            cx_answer({"live_agent_handoff": {"metadata": {"team": "billing", "case": 17, "vip": True, "more": {}}}}),
            Handoff(REASON, "case: 17; team: billing; vip: True"),
            False,
        ),
        (
            cx_answer({"telephony_transfer_call": {"phone_number": "+15550100123"}}),
            Handoff("telephony-transfer", SUMMARY),
            False,
        ),
        (cx_answer({"end_interaction": {}}), None, True),
        (cx_answer({"payload": {"liveAgentHandoff": {"metadata": TOLD}}}), Handoff("billing", "A wrong bill."), False),
        (cx_answer({"payload": {"end_conversation": True}}), None, True),
        (es_answer(intent={"live_agent_handoff": True, "end_interaction": True}), Handoff(REASON, SUMMARY), True),
        (es_answer(intent={"end_interaction": True}), None, True),
        (es_answer(diagnostic_info={"end_conversation": True}), None, True),
        (es_answer(diagnostic_info={"end_conversation": False, "webhook_latency_ms": 1}), None, False),
        (es_answer({"payload": {"live_agent_handoff": TOLD}}), Handoff("billing", "A wrong bill."), False),
        (es_answer(webhook_payload={"liveAgentHandoff": True}), Handoff(REASON, SUMMARY), False),
        (es_answer(webhook_payload={"google": {"expectUserResponse": False}}), None, True),
        (es_answer(webhook_payload={"google": {"expectUserResponse": True}}), None, False),
        (es_answer(webhook_payload={"endInteraction": False, "live_agent_handoff": False}), None, False),
    ],
)
def test_signals(reply: Reply, handoff: Handoff | None, ends: bool) -> None:
    """Of the API's own fields, and of payloads by the same names."""
    assert (reply.handoff, reply.ends) == (handoff, ends)


def test_what_was_found() -> None:
    """Names that the agent's author gave, and how sure it was; not what the person said."""
    found = es_answer(
        intent={"display_name": "hours"},
        action="tell.hours",
        intent_detection_confidence=0.75,
        parameters={"day": "Sunday"},
    ).found
    assert found == {"intent": "hours", "action": "tell.hours", "confidence": 0.75}
    match = {
        "intent": {"display_name": "hours"},
        "match_type": "INTENT",
        "confidence": 0.5,
        "resolved_input": "Sunday?",
    }
    assert cx_answer(match=match, current_page={"display_name": "Start"}).found == {
        "intent": "hours",
        "match": "INTENT",
        "confidence": 0.5,
        "page": "Start",
    }


@pytest.mark.parametrize(
    ("said", "texts", "new"),
    [
        ([], ["A.", "B."], ["A.", "B."]),
        (["A."], ["A.", "B."], ["B."]),
        (["A.", "B."], ["B.", "C."], ["C."]),
        (["A.", "B."], ["A.", "B."], []),
        (["A.", "B."], ["C."], ["C."]),
        (["Well, I", "think"], ["Well, I think so."], ["so."]),
        (["Well, I thi"], ["Well, I think so."], ["nk so."]),
        (["A.", "B."], ["A. B."], []),
        (["A thing"], ["A matter"], ["A matter"]),
        (["A."], [], []),
        (["B."], ["A.", "B."], ["A.", "B."]),
    ],
)
def test_nothing_is_said_twice(said: list[str], texts: list[str], new: list[str]) -> None:
    """Of what a later response of the same answer repeats, whether it does so message by message or not."""
    assert unsaid(said, texts) == new
