"""Who talks in a session, and how: what is asked of the model and told to Twilio and to other processes follows the
call, which has changed already when it is carried out here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from relay.call import Call
from relay.cast import Cast, Role
from relay.events import Restored
from relay.manner import dump_changes, load_changes
from relay.outgoing import Outgoing
from relay.rounds import Rounds
from relay.toolbox import ToolBox
from relay.writer import ConversationWriter


class Stage:
    """Made when the call is; nothing here waits."""

    def __init__(
        self,
        call: Call,
        cast: Cast,
        tools: ToolBox,
        writer: ConversationWriter,
        out: Outgoing,
        rounds: Rounds,
    ) -> None:
        self._call = call
        self._cast = cast
        self._tools = tools
        self._writer = writer
        self._out = out
        self._rounds = rounds
        self._voices = dict(self._role.voices)  # how languages are spoken, as far as Twilio was told
        self._kept = self._keepsake()
        self._agents = [call.manner.agent]
        self._use_tools()

    @property
    def agents(self) -> str:
        """All that have had the call, the first one first, as they are noted: none has a blank in its name."""
        return " ".join(self._agents)

    def instructions(self, language: str) -> Callable[[], str]:
        """Gives those of the agent that has the call now, as they are when asked; ``language`` as there."""
        return partial(self._cast.instructions, self._call.manner.agent, language)

    def follow(self) -> None:
        """Something of the call has changed."""
        self._use_tools()
        self._use_voice()
        self.keep()

    def keep(self) -> None:
        """Notes for other processes what they do not know yet."""
        keepsake = self._keepsake()
        if changed := {name: text for name, text in keepsake.items() if self._kept.get(name) != text}:
            self._kept = keepsake
            if (agent := keepsake["agent"]) not in self._agents:
                self._agents.append(agent)
                changed["agents"] = self.agents
            self._writer.note(**changed)

    def left(self, state: Mapping[str, str]) -> Restored | None:
        """What an earlier session of the call has left, in its state: None where this one has it already. An agent that
        is there no more leaves nothing."""
        self._kept |= {name: state[name] for name in self._kept if name in state}
        self._agents = state.get("agents", self._kept["agent"]).split()
        role = self._cast.role(self._kept["agent"])
        if role is None or self._kept == self._keepsake():
            return None
        manner = load_changes(role.manner, self._kept, self._tools.knows)
        return Restored(manner, self._kept["spoken"], self._kept["language"])

    @property
    def _role(self) -> Role:
        role = self._cast.role(self._call.manner.agent)
        assert role is not None, "a call has no agent that its cast has not"
        return role

    def _keepsake(self) -> dict[str, str]:
        """What another process must know of the call to go on with it as it is."""
        call = self._call
        own = {"agent": call.manner.agent, "spoken": call.spoken, "language": call.language}
        return own | dump_changes(call.manner, self._role.manner)

    def _use_tools(self) -> None:
        """The model is asked as the agent asks, and shown the tools of the moment."""
        role, tools = self._role, self._call.manner.tools
        if tools is None or tools == role.manner.tools:
            self._rounds.template = role.request
        else:
            self._rounds.template = replace(role.request, tools=self._tools.specs(tools))

    def _use_voice(self) -> None:
        """The language spoken is spoken as the agent has it."""
        language = self._call.spoken
        voice, told = self._role.voices.get(language, {}), self._voices.get(language, {})
        if any(told.get(name) != value for name, value in voice.items()):
            self._voices[language] = voice
            self._out.language(language, attributes=voice)
