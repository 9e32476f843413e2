"""The agents' scripts as they are on disk now: a changed file plays from the next request on, a broken one never."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from phone.endpoint.checks import Ask
from phone.endpoint.reply import Reply
from phone.endpoint.rules import ScriptError
from phone.endpoint.script import Rehearsal, Rehearsals


class LiveRehearsals(Collection[str]):
    """The names of models there are, and what each of them says. Raises ScriptError with all that is wrong in the
    folder at first; afterwards the last good script of an agent stays."""

    def __init__(self, agents: Path, *, default: str = "default") -> None:
        self._agents = agents
        self._default = default
        self._seen = self._state()
        self._scripts = Rehearsals.load(agents, default=default).scripts
        self._playing = Rehearsals(self._scripts, default=default)

    def __call__(self, ask: Ask) -> Reply:
        return self._playing(ask)

    def __contains__(self, name: object) -> bool:
        self._look()  # once a request: this is where its model's name is checked
        return name in self._playing.models

    def __iter__(self) -> Iterator[str]:
        self._look()
        return iter(self._playing.models)

    def __len__(self) -> int:
        return len(self._playing.models)

    def _look(self) -> None:
        now = self._state()
        changed = {name for name in now.keys() | self._seen.keys() if now.get(name) != self._seen.get(name)}
        if not changed:
            return
        self._seen = now
        for name in changed:
            path = self._agents / name / "rehearsal.toml"
            try:
                if path.exists():
                    self._scripts[name] = Rehearsal.load(path)
                elif path.parent.is_dir():
                    self._scripts[name] = Rehearsal()
                else:
                    self._scripts.pop(name, None)
            except ScriptError:
                pass  # `relay agents check` tells what is wrong with it
        self._playing = Rehearsals(self._scripts, default=self._default)

    def _state(self) -> dict[str, tuple[int, int, int]]:
        """What tells a changed script from the same one; zeros for an agent without one."""
        state: dict[str, tuple[int, int, int]] = {}
        try:
            for folder in self._agents.iterdir():
                try:
                    found = (folder / "rehearsal.toml").stat()
                    state[folder.name] = found.st_mtime_ns, found.st_size, found.st_ino
                except OSError:
                    if folder.is_dir():
                        state[folder.name] = (0, 0, 0)
        except OSError:
            pass
        return state


__all__ = ["LiveRehearsals"]
