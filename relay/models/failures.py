"""What went wrong on the way to a model, in our words: the only place where the provider's errors are told apart.

A provider's message may quote what the caller said, so none of it goes into our errors: only its status, its code and
its request id. Codes: https://platform.openai.com/docs/guides/error-codes and the types of the SDK (ResponseError).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import httpx2
import openai

from relay.errors import ModelCut, ModelError, ModelQuota, ModelRejected, ModelUnavailable

_QUOTA = {"insufficient_quota", "billing_hard_limit_reached"}
_TRANSIENT = {"server_error", "rate_limit_exceeded", "overloaded_error", "vector_store_timeout"}
_REJECTED = {
    "invalid_request_error",
    "invalid_prompt",
    "context_length_exceeded",
    "model_not_found",
    "invalid_api_key",
    "data_residency_mismatch",
    "bio_policy",
    "misalignment_policy_violation",
}
_PLAIN = re.compile(r"[\w.-]{1,64}", re.ASCII)


def from_exception(error: Exception, *, received: bool, request_id: str = "") -> ModelError:
    """The error for what the SDK or its transport raised. ``received``: something of the answer was handed on."""
    if isinstance(error, openai.APIStatusError):
        return _told_apart(
            error.status_code, {error.code, error.type}, received=received, request_id=error.request_id or request_id
        )
    fields = _fields(0, root_name(error), request_id)
    if received:
        return ModelCut("the model's stream was cut", received=True, fields=fields)
    if isinstance(error, (httpx2.HTTPError, openai.OpenAIError)):
        return ModelUnavailable("the model's endpoint cannot be reached", fields=fields)
    return ModelUnavailable("the model's endpoint did not answer as HTTP", fields=fields)


def root_name(error: BaseException) -> str:
    """The class of what went wrong first: the transport calls a refused connection and a wrong certificate timeouts."""
    while error.__cause__ is not None and not isinstance(error.__cause__, asyncio.CancelledError):  # of a deadline
        error = error.__cause__
    return type(error).__name__


def from_payload(error: object, *, received: bool, request_id: str = "") -> ModelError:
    """The error for an error object inside a stream: ``{"code", "type", "status"}``, or whatever else is there."""
    names = ("code", "type", "status")
    codes: set[object] = {error.get(name) for name in names} if isinstance(error, Mapping) else set()
    numbers = [int(str(code)) for code in codes if str(code).isdecimal() and len(str(code)) == 3]
    return _told_apart(numbers[0] if numbers else 0, codes, received=received, request_id=request_id)


def _told_apart(status: int, codes: set[object] | set[str | None], *, received: bool, request_id: str) -> ModelError:
    names = {code for code in codes if isinstance(code, str) and _PLAIN.fullmatch(code) and not code.isdecimal()}
    quota, transient, rejected = names & _QUOTA, names & _TRANSIENT, names & _REJECTED
    reason = next((name for group in (quota, transient, rejected, names) for name in sorted(group)), "")
    fields = _fields(status, reason, request_id)
    said = " ".join(str(part) for part in (status, reason) if part) or "an error"
    if status == 402 or quota:
        return ModelQuota(f"the model's account has no quota left: {said}", received=received, fields=fields)
    refused = 400 <= status < 500 and status not in (408, 429) if status else bool(rejected) and not transient
    if refused:
        return ModelRejected(f"the model's endpoint refused the request: {said}", received=received, fields=fields)
    if received:
        return ModelCut(f"the model's stream ended with {said}", received=True, fields=fields)
    return ModelUnavailable(f"the model's endpoint answered {said}", fields=fields)


def _fields(status: int, reason: str, request_id: str) -> dict[str, str | int]:
    fields: dict[str, str | int] = {"status": status, "reason": reason, "request_id": request_id[:128]}
    return {name: value for name, value in fields.items() if value}
