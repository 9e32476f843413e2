"""Logs. None ever carries a caller's words, numbers or tool arguments."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Literal

import structlog


class Current:
    """A name bound to log records that may change while they are written: each tells the one of its moment, whatever
    task writes it."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def become(self, name: str) -> None:
        self._name = name

    def __structlog__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return self._name


def configure_logging(level: str = "info", fmt: Literal["auto", "json", "text"] = "auto") -> None:
    """Structured logs on standard output: JSON, or lines for people where standard output is a terminal.

    Records of libraries (aiohttp, websockets) go the same way from warning on. The message of an exception is shown at
    level debug only, and never a library's: aiohttp repeats a request it cannot read, token and all.
    """
    pretty = fmt == "text" or (fmt == "auto" and sys.stdout.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if pretty
        else structlog.processors.JSONRenderer()
    )
    own = structlog.processors.ExceptionRenderer(_trace if number > logging.DEBUG else _full_trace)
    libraries = structlog.processors.ExceptionRenderer(_trace)
    structlog.configure(
        processors=[*shared, own, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, libraries, renderer],
        )
    )
    # Who offers a subprotocol that is not ours has it repeated to us, and there are clients that send secrets in its
    # place.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, number))


ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def _full_trace(exc_info: ExcInfo) -> str:
    return "".join(traceback.format_exception(*exc_info)).rstrip()


def _trace(exc_info: ExcInfo) -> str:
    """Where it happened and what it was, without its message: that may repeat what a caller said."""

    def lines(error: BaseException) -> Iterator[str]:
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if before is not None:
            yield from lines(before)
        yield from traceback.format_tb(error.__traceback__)
        yield type(error).__qualname__ + "\n"
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from lines(each)

    return "".join(lines(exc_info[1])).rstrip()
