"""What a session works with: one call's agents, tools, model, history."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from relay.budget import Allowance
from relay.cast import Cast
from relay.masks import Masks
from relay.models.base import LanguageModel
from relay.sideeffects import SideEffects
from relay.spans import CallSpans, NoCallSpans
from relay.telemetry import Telemetry
from relay.toolbox import ToolBox, ToolContext
from relay.trace import NoTrail, Trail
from relay.writer import ConversationWriter


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What a session works with. ``cast``: the agents, of which ``context`` names the first. ``talking`` is called with
    the name of each that takes the call over.
    ``foreseen`` is called whenever the caller is heard before a turn of theirs begins; it returns at once.
    ``admitted`` answers whether the call may go on (a ticket's first use). ``reconnects``: after a lost socket Twilio
    may open another for the same session and tell it again what it had told. ``begun``: called once a call, by its
    first session, with the moment it began (ms since 1970); it returns at once. ``masks``: of what is stored, the same
    as those of ``effects``. ``returned``: what the model is told, and the caller by it, as the session begins: nobody
    took the call it was to be handed over in. ``allowance``: what may be spent on models. ``trail``: takes the
    session's trace. ``worker``: the name of this process, for others that want something of the call. ``spans``: of a
    tracing system."""

    model: LanguageModel
    cast: Cast
    tools: ToolBox
    writer: ConversationWriter
    effects: SideEffects
    telemetry: Telemetry
    admitted: Callable[[], Awaitable[bool]]
    context: ToolContext
    foreseen: Callable[[], object] = lambda: None
    begun: Callable[[int], object] = lambda at_ms: None
    talking: Callable[[str], object] = lambda agent: None
    reconnects: bool = False
    masks: Masks = field(default_factory=Masks)
    returned: str = ""
    allowance: Allowance = field(default_factory=Allowance)
    trail: Trail = field(default_factory=NoTrail)
    worker: str = ""
    spans: CallSpans = field(default_factory=NoCallSpans)
