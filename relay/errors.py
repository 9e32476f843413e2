"""The error tree. The first level says who has to act; errors of libraries are translated at the seam.

    RelayError
      InvalidFrame            the peer sent a frame we cannot read; counted and ignored
      ConfigError             the operator: a setting or an agent file is wrong
      ModelError              the model's side
        ModelUnavailable      nothing usable was received: refused, closed, timed out, 408, 429, 5xx; may be tried again
        ModelCut              the stream ended before its terminal event
        ModelRejected         the request itself was refused (400, 401, 404, ...); trying again does not help
          ModelQuota          429 with insufficient_quota: this key will not work until somebody pays
      ToolError               a tool could not do it; the message is told to the model
        ToolRetry             other arguments may work
        ToolDoubt             it may have been done all the same
      ChannelError            a vendor who carries messages or calls did not do it
        ChannelUnavailable    no answer in time, 429, 5xx; whether it was done may be unknown
        ChannelRejected       the request itself was refused; trying again does not help
      StoreError              Redis did not answer in time or answered an error
        Fenced                a newer session owns this conversation
        MissingWrite          a write it had taken is gone
      UnknownConversation     nobody has a text conversation of this name on this channel (any more)
      TurnTimeout             other turns of the same text conversation have taken too long
        TooManyTurns          so many wait already that this one was not let into the line

Every error that may leave the process has a stable ``code``; its message never carries a caller's words.
"""

from __future__ import annotations

from collections.abc import Mapping


class RelayError(Exception):
    """Base of everything this program raises on purpose."""

    code = "error"


class InvalidFrame(RelayError):
    """A known frame type with missing or wrong fields, or text that is not a JSON object."""

    code = "invalid_frame"


class ConfigError(RelayError):
    """Settings or agent files are wrong. ``problems`` lists all of them, one sentence each."""

    code = "config"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ModelError(RelayError):
    """The model's side failed. ``received`` tells whether any event had been read before.

    ``fields`` are for the log: ``status``, ``reason`` (the provider's code or a class of failure), ``request_id``.
    """

    code = "model"

    def __init__(self, message: str, *, received: bool = False, fields: Mapping[str, str | int] | None = None) -> None:
        super().__init__(message)
        self.received = received
        self.fields = fields or {}


class ModelUnavailable(ModelError):
    code = "model_unavailable"


class ModelCut(ModelError):
    code = "model_cut"


class ModelRejected(ModelError):
    code = "model_rejected"


class ModelQuota(ModelRejected):
    code = "model_quota"


class ToolError(RelayError):
    """Raised by a tool: its message is given to the model as the tool's result."""

    code = "tool"


class ToolRetry(ToolError):
    """The arguments cannot work; the message says what would."""

    code = "tool_retry"


class ToolDoubt(ToolError):
    """Nobody knows whether it was done: the same call made again is not carried out before the caller has been told."""

    code = "tool_doubt"


class ChannelError(RelayError):
    """A vendor's side failed. ``status``: of the HTTP or SMTP reply, 0 for none; ``vendor_code``: the vendor's own code
    for what was wrong, "" for none; ``undone``: what was asked for has surely not been done."""

    code = "channel"

    def __init__(self, message: str, *, status: int = 0, vendor_code: str = "", undone: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.vendor_code = vendor_code
        self.undone = undone


class ChannelUnavailable(ChannelError):
    code = "channel_unavailable"


class ChannelRejected(ChannelError):
    code = "channel_rejected"

    def __init__(self, message: str, *, status: int = 0, vendor_code: str = "") -> None:
        super().__init__(message, status=status, vendor_code=vendor_code, undone=True)


class StoreError(RelayError):
    code = "store"


class Fenced(StoreError):
    """The conversation's epoch in Redis is newer than this session's: nothing was written."""

    code = "fenced"


class MissingWrite(StoreError):
    """Redis has lost what it had said was written: nothing more was written. All of it is to be written again."""

    code = "missing_write"


class UnknownConversation(RelayError):
    code = "unknown_conversation"


class TurnTimeout(RelayError):
    """Nothing was begun: the same may be asked again."""

    code = "turn_timeout"


class TooManyTurns(TurnTimeout):
    code = "too_many_turns"
