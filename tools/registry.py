"""The tools a model may use: what it is shown of them, and how a call of one becomes a result it can act on.

A tool is an async function whose first parameter is the ``ToolContext``; the others are its arguments. Their types and
the docstring are what the model sees:

    async def save_name(context: ToolContext, first_name: str, last_name: str) -> ToolResult:
        \"\"\"Save the caller's name.

        Args:
            first_name: The first name, as the caller spells it.
        \"\"\"

It returns words for the model (a dict; anything else is wrapped in one) or a ``ToolResult`` with effects, or a sound
for the caller, besides. It raises ``ToolRetry`` when other arguments may work, ``ToolDoubt`` when it may have been done
all the same, and ``ToolError`` when nothing will help. One that takes long may tell the caller how far it is:
``context.progress("I have found two hotels so far.")``.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_type_hints

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import ErrorDetails

from relay.errors import ToolDoubt, ToolError, ToolRetry
from relay.models.base import ToolSpec
from relay.toolbox import Effect, ToolContext, ToolOutcome, ToolPolicy
from tools.leniency import lenient

MAX_OUTPUT = 16 * 1024
"""Bytes of JSON a tool may give a model; every later request of the conversation carries them."""

ASKS_FIRST = (
    "Call this without asking the caller first: the first call changes nothing and tells you to ask. Call it again "
    "with the same arguments once the caller has agreed."
)
"""What the model is told of a tool that asks before it acts, so that the caller is asked once."""

ToolFunction = Callable[..., Awaitable[Any]]
Objects = Callable[..., object]
"""Called as the tool is, before the caller is asked for consent; raises the ToolError the tool would end in anyway."""

Result = Literal["ok", "failed", "retry", "timeout", "invalid", "cancelled"]
Refuses = Callable[[Effect, ToolContext, Callable[[str], str]], str]
"""(effect, context, what is wrong with a tool of a name) -> why the effect cannot be carried out, "" if it can."""

Observe = Callable[[str, Result, float], None]
"""Told (tool, how it ended, seconds) of every call; the tool is "unknown" where the model made up a name."""

_ARGS = re.compile(r"^(?:Args|Arguments|Parameters):\s*$", re.MULTILINE)
_SECTION = re.compile(r"^(?:Args|Arguments|Parameters|Returns|Raises|Yields|Examples?|Notes?):\s*$", re.MULTILINE)
_ADDRESS = re.compile(r"https?://[^\s/]+\S*", re.IGNORECASE)
_ARG = re.compile(r"\s+(\w+)(?:\s*\([^)]*\))?:\s*(.*)")

_OWN_REASON = "The tool failed for a reason of its own. Do not call it again with the same arguments."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gives back: ``output`` for the model, ``effects`` for the conversation to carry out. ``play``: the
    http(s) address of a sound the caller is to hear before the reply, where the channel can play one. ``offers``:
    calls of tools with ``confirm``, name and arguments, that the words have the model offer: agreed to, they are
    carried out without a further question."""

    output: Any
    effects: tuple[Effect, ...] = ()
    play: str = field(default="", repr=False)
    offers: tuple[tuple[str, Mapping[str, Any]], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class _Tool:
    """``fields``: its arguments, as pydantic takes them. What is made of them takes a millisecond, and waits for the
    first agent that names the tool."""

    name: str
    description: str
    function: ToolFunction
    fields: Mapping[str, Any]
    policy: ToolPolicy
    objects: Objects | None = None

    @cached_property
    def arguments(self) -> type[BaseModel]:
        return create_model(self.name, __config__=ConfigDict(extra="forbid"), **self.fields)

    @cached_property
    def spec(self) -> ToolSpec:
        """What the model is shown."""
        schema = _plain_schema(self.arguments.model_json_schema(by_alias=True))
        schema.setdefault("properties", {})
        return ToolSpec(self.name, self.description, schema)

    def values(self, arguments: str) -> dict[str, Any]:
        """The arguments by name, and what is clearly meant by those that are nearly right. Raises ValidationError."""
        try:
            arguments = json.dumps(lenient(json.loads(arguments), self.spec.parameters))
        except (ValueError, RecursionError):
            pass  # no JSON, or none that can be read: the check below says so
        checked = self.arguments.model_validate_json(arguments.strip() or "{}")
        fields = self.arguments.model_fields.items()
        return {field.alias or name: getattr(checked, name) for name, field in fields}


class ToolRegistry:
    """Satisfies ``relay.toolbox.ToolBox``. ``deadline``: seconds, for tools that name none of their own. ``refuses``:
    asked about every effect of a tool; one that is refused is a failure of that tool."""

    def __init__(self, deadline: float = 10.0, observe: Observe | None = None) -> None:
        self._deadline = deadline
        self._observe = observe
        self.refuses: Refuses = lambda effect, context, complaint: ""
        self._tools: dict[str, _Tool] = {}
        self._specs: dict[tuple[str, ...], tuple[ToolSpec, ...]] = {}

    def add(
        self,
        function: ToolFunction,
        *,
        name: str = "",
        side_effect: bool = False,
        terminal: bool = False,
        deadline: float | None = None,
        confirm: bool = False,
        expected: float = 0.0,
        objects: Objects | None = None,
    ) -> None:
        """Makes a tool of the function; the rest is ``ToolPolicy``. What is to be confirmed counts as a side effect
        unless it is terminal; ``objects`` spares the caller a question where it could not be done. Raises TypeError or
        ValueError where it cannot be a tool: a mistake of ours."""
        name = name or function.__name__
        if name in self._tools:
            raise ValueError(f"there are two tools named {name}")
        description, notes = _documentation(function)
        if confirm:
            description = f"{description} {ASKS_FIRST}"
        self._tools[name] = _Tool(
            name,
            description,
            function,
            _fields(function, name, notes),
            ToolPolicy(
                side_effect=side_effect or (confirm and not terminal),
                terminal=terminal,
                deadline=deadline,
                confirm=confirm,
                expected=expected,
            ),
            objects,
        )

    def complaint(self, name: str, arguments: Mapping[str, Any] | None = None) -> str:
        """What is wrong with a tool an agent's file names, called with these arguments; "" for nothing. What a model is
        shown of the tool is there from then on: no call is to wait for it."""
        tool = self._tools.get(name)
        if tool is None:
            return f"there is no tool named {name!r}."
        self.specs((name,))
        if arguments is not None:
            try:
                tool.values(orjson.dumps(arguments).decode())
            except ValidationError as error:
                fields = sorted({".".join(map(str, each["loc"])) for each in error.errors()})
                return f"the tool {name} cannot be called with these args; look at {', '.join(fields)}."
        return ""

    def specs(self, names: Sequence[str]) -> tuple[ToolSpec, ...]:
        """What the model is shown; the same object for the same names. Raises KeyError for an unknown one."""
        key = tuple(names)
        if key not in self._specs:
            self._specs[key] = tuple(self._tools[name].spec for name in key)
        return self._specs[key]

    def knows(self, name: str) -> bool:
        return name in self._tools

    def policy(self, name: str) -> ToolPolicy:
        tool = self._tools.get(name)
        return tool.policy if tool else ToolPolicy()

    def canonical(self, name: str, arguments: str) -> str:
        """The arguments in one spelling: checked, defaults filled in, sorted. Wrong ones come back sorted, or as they
        are where they are no JSON."""
        tool = self._tools.get(name)
        try:
            values = tool.values(arguments) if tool else json.loads(arguments)
        except (ValueError, RecursionError):  # pydantic's and json's errors both are the first
            try:
                values = json.loads(arguments)
            except (ValueError, RecursionError):
                return arguments
        return json.dumps(values, default=_plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    def objection(self, name: str, arguments: str, context: ToolContext) -> ToolOutcome | None:
        """See ``relay.toolbox.ToolBox``."""
        tool = self._tools.get(name)
        if tool is None:
            return None
        try:
            values = tool.values(arguments)
            if tool.objects is not None:
                tool.objects(context, **values)
        except ValidationError as error:
            return _wrong_arguments(error)
        except ToolError as error:
            return _refused(error)
        return None

    async def run(self, name: str, arguments: str, context: ToolContext) -> ToolOutcome:
        """Runs the tool within its deadline; whatever goes wrong becomes an outcome with ``error`` and ``message``.

        Raises nothing but CancelledError. A cancel, like the deadline, reaches the tool at the point where it waits;
        what it had done by then stays done.
        """
        started = time.monotonic()
        result: Result = "cancelled"
        try:
            outcome, result = await self._run(name, arguments, context)
        finally:
            if self._observe is not None:
                self._observe(name if name in self._tools else "unknown", result, time.monotonic() - started)
        return outcome

    async def _run(self, name: str, arguments: str, context: ToolContext) -> tuple[ToolOutcome, Result]:
        tool = self._tools.get(name)
        if tool is None:
            return _failure(
                "unknown_tool", f"There is no tool named {name[:64]!r}. Use only the tools listed."
            ), "invalid"
        try:
            values = tool.values(arguments)
        except ValidationError as error:
            return _wrong_arguments(error), "invalid"
        deadline = self._deadline if tool.policy.deadline is None else tool.policy.deadline
        try:
            async with asyncio.timeout(deadline) as limit:
                returned = await tool.function(context, **values)
            outcome = _outcome(name, returned)
            for effect in outcome.effects:
                if refusal := self.refuses(effect, context, self.complaint):
                    log.error("effect of a tool refused", tool=name, effect=type(effect).__name__)
                    return _failure("failed", refusal, certain=not tool.policy.side_effect), "failed"
            return outcome, "ok"
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Not ours: something the tool waited for was cancelled by somebody else.
            return _failure("failed", _OWN_REASON, certain=False), "failed"
        except ToolError as error:
            return _refused(error), "retry" if isinstance(error, ToolRetry) else "failed"
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                return _timeout(tool.policy, deadline), "timeout"
            # The message of an error, and the arguments in it, may be what a caller said: only its place is told.
            places = "".join(traceback.format_tb(error.__traceback__))
            log.error("tool failed", tool=name, error=type(error).__name__, trace=places)
            return _failure("failed", _OWN_REASON, certain=False), "failed"


def _documentation(function: ToolFunction) -> tuple[str, dict[str, str]]:
    """The description and the notes on arguments, from a docstring in Google's style."""
    text = inspect.getdoc(function) or ""
    section = _SECTION.search(text)
    description = " ".join(text[: section.start() if section else None].split())
    if not description:
        raise ValueError(f"{function.__name__} needs a docstring: it is what the model is told")
    notes: dict[str, str] = {}
    if start := _ARGS.search(text):
        rest = text[start.end() :]
        end = _SECTION.search(rest)
        last = ""
        for line in rest[: end.start() if end else None].splitlines():
            if found := _ARG.fullmatch(line):
                last = found[1]
                notes[last] = found[2].strip()
            elif last and line.strip():
                notes[last] += " " + line.strip()
    return description, notes


def _fields(function: ToolFunction, name: str, notes: dict[str, str]) -> dict[str, Any]:
    """The arguments. They are numbered and aliased, since a name such as ``schema`` is pydantic's."""
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{name} is not an async function")
    hints = get_type_hints(function, include_extras=True)
    context, *parameters = inspect.signature(function).parameters.values()
    if hints.get(context.name) is not ToolContext:
        raise TypeError(f"the first parameter of {name} is not a ToolContext")
    if unknown := notes.keys() - {parameter.name for parameter in parameters}:
        raise ValueError(f"the docstring of {name} describes {sorted(unknown)[0]}, which is no argument")
    fields: dict[str, Any] = {}
    for number, parameter in enumerate(parameters):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name not in hints:
            raise TypeError(f"the argument {parameter.name} of {name} has no type")
        default = ... if parameter.default is parameter.empty else parameter.default
        about = Field(default, alias=parameter.name, description=notes.get(parameter.name))
        fields[f"argument_{number}"] = (hints[parameter.name], about)
    return fields


def _plain_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as every provider takes it: without references, and without the titles pydantic makes from names and
    the ``null`` of what may be left out, which tell a model nothing and cost tokens."""
    shared = schema.get("$defs", {})

    def plain(part: Any) -> Any:
        if isinstance(part, list):
            return [plain(each) for each in part]
        if not isinstance(part, dict):
            return part
        if reference := part.get("$ref"):
            part = {
                **shared[reference.rpartition("/")[2]],
                **{key: each for key, each in part.items() if key != "$ref"},
            }
        choices = [each for each in part.get("anyOf", ()) if each != {"type": "null"}]
        if len(choices) == 1 and part.get("default", "") is None:
            part = {**choices[0], **{key: each for key, each in part.items() if key not in ("anyOf", "default")}}
            return plain(part)
        # Under "properties" a key is an argument's name, which may well be "title".
        return {
            key: {name: plain(each) for name, each in value.items()} if key == "properties" else plain(value)
            for key, value in part.items()
            if key not in ("title", "$defs")
        }

    try:
        found: dict[str, Any] = plain(schema)
    except RecursionError:  # an argument that holds its own kind
        return schema
    return found


def _plain(value: object) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def _outcome(name: str, returned: Any) -> ToolOutcome:
    result = returned if isinstance(returned, ToolResult) else ToolResult(returned)
    output = result.output
    if isinstance(output, str):
        output = {"message": output}
    elif not isinstance(output, dict):
        output = {"result": output}
    text = orjson.dumps(output, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    play = str(result.play or "")
    if play and not _ADDRESS.fullmatch(play):
        log.error("sound left out: not an http(s) address", tool=name)  # the result stands: the tool has done its work
        play = ""
    offers = tuple((tool, orjson.dumps(arguments).decode()) for tool, arguments in result.offers)
    return ToolOutcome(_bounded(text).decode(), effects=result.effects, play=play, offers=offers)


def _bounded(text: bytes) -> bytes:
    """The output, or its beginning where it is too long. Quoting the beginning can double it, hence the loop."""
    size = MAX_OUTPUT
    whole = text
    while len(text) > MAX_OUTPUT:
        size = size * 3 // 4
        beginning = whole[:size].decode(errors="ignore")
        text = orjson.dumps({"message": "The result was too long; this is its beginning.", "beginning": beginning})
    return text


def _failure(error: str, message: str, *, certain: bool = True) -> ToolOutcome:
    return ToolOutcome(orjson.dumps({"error": error, "message": message}).decode(), ok=False, certain=certain)


def _refused(error: ToolError) -> ToolOutcome:
    if isinstance(error, ToolRetry):
        return _failure("try_again", f"{error} Correct the arguments and call the tool again.")
    return _failure("failed", str(error), certain=not isinstance(error, ToolDoubt))


def _wrong_arguments(error: ValidationError) -> ToolOutcome:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    if problems[0]["type"] == "json_invalid":
        return _failure("bad_json", "The arguments are not valid JSON. Call the tool again with one JSON object.")
    told = "; ".join(_told(problem) for problem in problems[:8])
    return _failure(
        "wrong_arguments",
        f"{told}. Nothing was done. Correct the arguments and call the tool again; what only the caller can know, ask "
        "them.",
    )


def _told(problem: ErrorDetails) -> str:
    """What is wrong with one argument."""
    name = ".".join(map(str, problem["loc"])) or "arguments"
    match problem["type"]:
        case "missing":
            return f"{name} is missing"
        case "extra_forbidden":
            return f"{name} is no argument of this tool"
        case _:
            return f"{name}: {problem['msg']}"


def _timeout(policy: ToolPolicy, deadline: float) -> ToolOutcome:
    doubt = " It may have been done all the same: check before trying again." if policy.side_effect else ""
    return _failure("timeout", f"The tool gave no answer within {deadline:g} seconds.{doubt}", certain=False)
