"""``POST /dashboard/api/conversations/{id}/say|agent|transfer|hangup``: an operator acts on a call, whichever process
has it. Its own is asked without Redis."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog
from aiohttp import web

from handlers.bearer import answer, json_object, problem
from handlers.dashboard_access import DASHBOARD, Access
from relay.errors import StoreError
from relay.events import Order, SayLine
from relay.operator import MOST_LINES, Refusal
from relay.toolbox import EndCall, SwitchAgent, Transfer

PATH = f"{DASHBOARD}/api/conversations/{{id}}/{{action:say|agent|transfer|hangup}}"

LONGEST_LINE = 500
LONGEST_NAME = 64
LONGEST_REASON = 100
"""Characters."""

REASON = "operator"
SUMMARY = "Somebody who watched the call has handed it over."

_CONVERSATION = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)

MEANINGS: Mapping[str, str] = {
    "not_begun": "The call has not begun yet.",
    "ending": "The call is ending already.",
    "ended": "The call has ended.",
    "unknown_agent": "There is no agent of that name.",
    "no_transfer": "There is nobody to hand calls to: TRANSFER_TO is not set.",
    "too_many_lines": f"{MOST_LINES} lines wait to be said.",
    "not_possible": "That is for calls: a chat can be hung up, and a line said in it.",
}
"""What a ``Refusal`` tells an operator."""

log = structlog.get_logger(__name__)


class BadOrder(Exception):
    """``status`` 400: not understood; 422: it cannot be said."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def order_of(action: str, fields: Mapping[str, Any]) -> Order:
    """What these fields order. Raises BadOrder."""
    match action:
        case "say":
            return SayLine(_text(fields, "text", LONGEST_LINE))
        case "agent":
            return SwitchAgent(_text(fields, "agent", LONGEST_NAME))
        case "transfer":
            return Transfer(_text(fields, "reason", LONGEST_REASON, default=REASON), SUMMARY)
        case "hangup":
            _known(fields)
            return EndCall()
    raise BadOrder(400, "unknown_action", "There is no such action.")


def _known(fields: Mapping[str, Any], *names: str) -> None:
    if unknown := sorted(fields.keys() - set(names)):
        raise BadOrder(400, "unknown_field", f"There is no field {unknown[0][:64]!r}.")


def _text(fields: Mapping[str, Any], name: str, longest: int, *, default: str = "") -> str:
    """The one field there may be, on one line."""
    _known(fields, name)
    given = fields.get(name, default)
    if not isinstance(given, str):
        raise BadOrder(400, "bad_field", f"{name} must be a text.")
    text = " ".join(given.split())
    if not text or len(text) > longest or not text.isprintable():
        raise BadOrder(422, "bad_text", f"{name} must be 1 to {longest} printable characters.")
    return text


class Elsewhere(Protocol):
    """The other processes; ``relay.store.commands.Commands`` satisfies it. Both raise StoreError."""

    async def holder(self, conversation: str) -> str: ...

    async def ask(self, worker: str, conversation: str, action: str, fields: Mapping[str, Any]) -> str | None: ...


Operate = Callable[[str, Order], Refusal | None]
"""(conversation, order) -> why it is not carried out, "" where it is, None where the conversation is not here."""


def first_of(*several: Operate) -> Operate:
    """One of them has the conversation, or none."""

    def operate(conversation: str, order: Order) -> Refusal | None:
        answers = (each(conversation, order) for each in several)
        return next((answer for answer in answers if answer is not None), None)

    return operate


def carry_out(operate: Operate, conversation: str, action: str, fields: Mapping[str, Any]) -> str | None:
    """What another process asks for."""
    try:
        order = order_of(action, fields)
    except BadOrder as bad:
        return bad.code
    return _acted(operate, conversation, action, order)


def _acted(operate: Operate, conversation: str, action: str, order: Order) -> Refusal | None:
    refusal = operate(conversation, order)
    if refusal is not None:
        log.info("operator", call_sid=conversation, action=action, **({"refused": refusal} if refusal else {}))
    return refusal


class OperatorRoutes:
    """``worker``: the name of this process. ``operate``: reaches the calls that are here."""

    def __init__(self, access: Access, worker: str, operate: Operate, elsewhere: Elsewhere) -> None:
        self._access = access
        self._worker = worker
        self._operate = operate
        self._elsewhere = elsewhere

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post(PATH, self.act)

    async def act(self, request: web.Request) -> web.Response:
        """202 once the call has the order. A cancel may leave it carried out."""
        self._access.check(request)
        conversation, action = request.match_info["id"], request.match_info["action"]
        # There may be nothing to tell: an order without a body is one without fields.
        fields = await json_object(request) if request.can_read_body else {}
        try:
            order = order_of(action, fields)
        except BadOrder as bad:
            raise problem(bad.status, bad.code, str(bad)) from None
        known = _CONVERSATION.fullmatch(conversation)
        refusal = await self._deliver(conversation, action, order, fields) if known else None
        if refusal is None:
            raise problem(404, "not_live", "There is no such call now.")
        if refusal:
            raise problem(409, refusal, MEANINGS.get(refusal, "The process that has the call does not do that."))
        return answer(202, {"delivered": True})

    async def _deliver(self, conversation: str, action: str, order: Order, fields: Mapping[str, Any]) -> str | None:
        refusal = _acted(self._operate, conversation, action, order)
        if refusal is not None:
            return refusal
        try:
            worker = await self._elsewhere.holder(conversation)
            if worker in ("", self._worker):
                return None
            return await self._elsewhere.ask(worker, conversation, action, fields)
        except StoreError as error:
            log.warning("operator not answered", call_sid=conversation, action=action, code=error.code)
            message = "The process that has the call does not answer; it may have done it all the same."
            raise problem(503, "no_answer", message, {"Retry-After": "1"}) from None


__all__ = ["OperatorRoutes", "carry_out", "first_of"]
