"""The debate as an OpenAPI 3.1 document, served at ``/api/openapi.json``: what this server takes, with its limits."""

from __future__ import annotations

from typing import Any

from handlers.debate_api import CHAT, ONE, OPENAPI
from handlers.debate_request import CURSOR, KEY, KEY_HEADER, MOST_LIMIT, USUAL_LIMIT, VISIBLE
from relay.debating import MOST_STANCE, MOST_TOPIC, MOST_WORDS

Json = dict[str, Any]

ERRORS = {
    400: "The body is no JSON, or a field is missing, wrong, blank or too long.",
    401: "A valid bearer token is needed.",
    404: "There is no such debate, or it is not kept any more.",
    408: "The body did not arrive in time.",
    409: "Topic and stance are settled and the request names others, or its Idempotency-Key was another request's.",
    413: "The body is too large.",
    415: "The body is not application/json, or is compressed.",
    429: "Too many requests, too many at once to one debate, or the budget of the day is used up.",
    502: "The model did not answer. Nothing was stored.",
    503: "The store does not answer, or this process is leaving.",
    504: "There was no answer in time. Nothing was stored.",
}
RETRIED = (429, 503)
"""Those that may say when to come again."""

EXAMPLE: Json = {
    "conversation_id": "0b7e5b0e-3f0e-4a53-9c1b-6f1f4a2f1c55",
    "message": [
        {"role": "user", "message": "The Earth is round, everybody knows that."},
        {"role": "bot", "message": "Everybody knew once that it was the centre of everything. What have you seen?"},
    ],
}


def document(*, most: int, history: int, keyed: bool) -> Json:
    """``most``: characters of a message. ``history``: messages of an answer. ``keyed``: DEBATE_API_KEY is set."""
    who: list[Json] = [{"debateKey": []}, {"operatorToken": []}] if keyed else []
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Debate",
            "version": "1",
            "description": "Debates with somebody who takes a side on a topic of your choice and never changes it.",
        },
        "servers": [{"url": "/"}],
        "paths": {
            CHAT: {"post": _post(history, who), "get": _list()},
            ONE: {"get": _one(who)},
            OPENAPI: {"get": _itself()},
        },
        "components": {
            "schemas": _schemas(most, history),
            "responses": {str(status): _error(status, told) for status, told in ERRORS.items()},
            "securitySchemes": {
                "debateKey": {"type": "http", "scheme": "bearer", "description": "DEBATE_API_KEY"},
                "operatorToken": {"type": "http", "scheme": "bearer", "description": "API_TOKEN"},
            },
        },
    }


def _post(history: int, who: list[Json]) -> Json:
    return {
        "operationId": "debate",
        "summary": "Say something; without a conversation_id a debate begins",
        "description": f"The answer has the {history} latest messages, the latest last. With `Accept: "
        'text/event-stream` our reply comes as it is written: events `delta` `{"text"}`, then `done` with the JSON '
        'answer, or `error` with `{"code", "message"}`.',
        "security": who,
        "parameters": [
            {
                "name": KEY_HEADER,
                "in": "header",
                "required": False,
                "description": "A retry with the same key and body, within a day, is no second turn: its answer is "
                "that of the first. Best a random one, such as a UUID.",
                "schema": {"type": "string", "pattern": f"^{KEY}$"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _ref("Post"),
                    "example": {"conversation_id": None, "message": EXAMPLE["message"][0]["message"]},
                }
            },
        },
        "responses": {
            "200": {
                "description": "The debate, with our reply.",
                "content": {
                    "application/json": {"schema": _ref("Answer"), "example": EXAMPLE},
                    "text/event-stream": {"schema": {"type": "string"}},
                },
                "links": {
                    "goOn": {
                        "operationId": "debate",
                        "requestBody": {
                            "conversation_id": "$response.body#/conversation_id",
                            "message": "I still do not believe it.",
                        },
                    },
                    "read": {"operationId": "readDebate", "parameters": {"id": "$response.body#/conversation_id"}},
                },
            },
            **_errors(400, 401, 404, 408, 409, 413, 415, 429, 502, 503, 504),
        },
    }


def _list() -> Json:
    return {
        "operationId": "listDebates",
        "summary": "The debates, newest first; for the operator",
        "security": [{"operatorToken": []}],
        "parameters": [
            {
                "name": "limit",
                "in": "query",
                "required": False,
                "schema": {
                    "anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST_LIMIT}, {"const": ""}],
                    "default": USUAL_LIMIT,
                },
            },
            {
                "name": "after",
                "in": "query",
                "required": False,
                "description": "What the answer before gave: the list goes on there.",
                "schema": {"type": "string", "pattern": f"^({CURSOR})?$"},
            },
        ],
        "responses": {
            "200": {
                "description": "A page of the list. It may have fewer than `limit` and go on all the same.",
                "content": {"application/json": {"schema": _ref("List")}},
            },
            **_errors(400, 401, 404, 429, 503),
        },
    }


def _one(who: list[Json]) -> Json:
    return {
        "operationId": "readDebate",
        "summary": "All that was said in a debate",
        "security": who,
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}],
        "responses": {
            "200": {
                "description": "The debate, the latest message last.",
                "content": {"application/json": {"schema": _ref("Debate")}},
            },
            **_errors(401, 404, 429, 503),
        },
    }


def _itself() -> Json:
    return {
        "operationId": "openapi",
        "summary": "This document",
        "security": [],
        "responses": {
            "200": {"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {"type": "object"}}}},
            **_errors(429),
        },
    }


def _schemas(most: int, history: int) -> Json:
    said = {"type": "array", "items": _ref("Message")}
    told: Json = {"type": ["string", "null"]}
    return {
        "Post": _closed(
            {
                "conversation_id": {"type": ["string", "null"], "description": "Of a debate that goes on."},
                "message": {"type": "string", "minLength": 1, "maxLength": most, "pattern": VISIBLE},
                "topic": {
                    "type": ["string", "null"],
                    "maxLength": MOST_TOPIC,
                    "pattern": VISIBLE,
                    "description": "What is debated; else it is read from what the user says.",
                },
                "stance": {
                    "type": ["string", "null"],
                    "maxLength": MOST_STANCE,
                    "pattern": VISIBLE,
                    "description": "The side the bot takes; else the opposite of the user's.",
                },
            },
            "message",
        ),
        "Message": _closed(
            {
                "role": {"enum": ["user", "bot"]},
                "message": {"type": "string", "description": f"The bot's has {MOST_WORDS} words at most."},
            },
            "role",
            "message",
        ),
        "Answer": _closed(
            {"conversation_id": {"type": "string"}, "message": {**said, "minItems": 1, "maxItems": history}},
            "conversation_id",
            "message",
        ),
        "Debate": _closed(
            {"conversation_id": {"type": "string"}, "topic": told, "stance": told, "message": said},
            *("conversation_id", "topic", "stance", "message"),
        ),
        "List": _closed(
            {
                "conversations": {
                    "type": "array",
                    "items": _closed(
                        {
                            "conversation_id": {"type": "string"},
                            "started": {"type": "integer", "description": "Milliseconds since 1970."},
                            "turns": {"type": "integer"},
                            "topic": told,
                            "stance": told,
                        },
                        *("conversation_id", "started", "turns", "topic", "stance"),
                    ),
                },
                "after": told,
            },
            *("conversations", "after"),
        ),
        "Error": _closed({"code": {"type": "string"}, "message": {"type": "string"}}, "code", "message"),
    }


def _closed(properties: Json, *required: str) -> Json:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _ref(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}


def _errors(*statuses: int) -> Json:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}


def _error(status: int, told: str) -> Json:
    response: Json = {"description": told, "content": {"application/json": {"schema": _ref("Error")}}}
    if status in RETRIED:
        response["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return response


__all__ = ["document"]
