"""The demonstrations a caller may choose from; the choice holds for their next calls."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from relay.errors import StoreError, ToolError, ToolRetry
from relay.store.people import is_known
from relay.toolbox import ToolContext
from tools.registry import ToolFunction, ToolRegistry, ToolResult
from tools.words import language_of, listed, said

_ORDINALS = {
    word: number
    for number, words in enumerate(
        (
            "1 one first 1st uno una primero primera primer",
            "2 two second 2nd dos segundo segunda",
            "3 three third 3rd tres tercero tercera tercer",
            "4 four fourth 4th cuatro cuarto cuarta",
            "5 five fifth 5th cinco quinto quinta",
            "6 six sixth 6th seis sexto sexta",
            "7 seven seventh 7th siete septimo septima",
            "8 eight eighth 8th ocho octavo octava",
            "9 nine ninth 9th nueve noveno novena",
        ),
        1,
    )
    for word in words.split()
}
# The number is a choice only where nothing else is said: "the second one", "number two", "la segunda".
_AROUND = frozenset({"the", "number", "option", "demo", "please", "la", "el", "opcion", "numero", "por", "favor"})
_BACK = re.compile(
    r"\b(start(ing)? (over|again)|main menu|beginning|go back|reset|empezar de nuevo|volver|inicio|menu principal)\b"
)


class Demo(Protocol):
    """What of an agent's definition is used."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...


class People(Protocol):
    async def update(self, person: str, /, **changes: str) -> Any: ...


def demos(people: People, agents: Callable[[], Mapping[str, Demo]], default: str) -> ToolFunction:
    """``choose_demo`` among these agents; ``default`` is the one who answers those who have not chosen."""

    async def choose_demo(context: ToolContext, agent: str) -> ToolResult:
        """Save which demonstration answers when the caller calls this number again. Choosing the default one brings the
        caller back to the beginning.

        Args:
            agent: The demonstration's key; its number or its title will do. "default" to start over.
        """
        language, known = language_of(context), dict(agents())
        chosen = _choice(agent, known, default, context.agent)
        if chosen is None:
            choices = listed([f"{demo.title} ({demo.name})" for demo in known.values()], language)
            raise ToolRetry(
                said(
                    language,
                    f"There is no such demonstration. There are: {choices}. Ask the caller which one they would like.",
                    f"No existe esa demostración. Hay: {choices}. Pregunte cuál desea la persona.",
                )
            )
        title = known[chosen].title
        output: dict[str, Any] = {"agent": chosen, "title": title}
        if not context.person or not is_known(context.person):
            message = said(
                language,
                f"{title} cannot be remembered: the caller's number is withheld. Their next call begins here again.",
                f"No se puede recordar {title}: el número de la persona está oculto. Su próxima llamada empezará otra "
                "vez aquí.",
            )
            return ToolResult({**output, "saved": False, "message": message})
        try:
            # No choice is the way back: whichever agent is the default one then will answer.
            await people.update(context.person, agent="" if chosen == default else chosen)
        except StoreError as error:
            raise ToolError(
                said(
                    language,
                    "The choice could not be saved just now. Tell the caller, and try again in a moment.",
                    "Ahora mismo no se ha podido guardar la elección. Dígalo y vuelva a intentarlo en un momento.",
                )
            ) from error
        message = said(
            language,
            f"The choice is saved. Hang up and call this number again: {title} will answer.",
            f"La elección está guardada. Cuelgue y llame otra vez a este número: responderá {title}.",
        )
        return ToolResult({**output, "saved": True, "message": message})

    return choose_demo


def add_demos(registry: ToolRegistry, people: People, agents: Callable[[], Mapping[str, Demo]], default: str) -> None:
    registry.add(demos(people, agents, default), side_effect=True)


def _choice(wanted: str, known: Mapping[str, Demo], default: str, current: str) -> str | None:
    """The agent that was meant: by key, title, number on the list the current agent reads out, or by a word that only
    one of them has in its key or title. None for none, or for more than one."""
    words = _words(wanted)
    plain = " ".join(words)
    if not words:
        return None
    for name, demo in known.items():
        if plain in (" ".join(_words(name)), " ".join(_words(demo.title))):
            return name
    if _BACK.search(plain) or "default" in words:
        return default if default in known else None
    others = [name for name in known if name != current]
    rest = [word for word in words if word not in _AROUND]
    if len(rest) > 1 and rest[-1] == "one":
        rest.pop()  # "the second one"
    numbers = {_ORDINALS[word] for word in rest if word in _ORDINALS}
    if len(numbers) == 1 and all(word in _ORDINALS for word in rest):
        (number,) = numbers
        return others[number - 1] if number <= len(others) else None
    found = [
        name
        for name, demo in known.items()
        if {_stem(word) for word in words}
        & {_stem(word) for word in (*_words(name), *_words(demo.title))} - _AROUND - _ORDINALS.keys()
    ]
    return found[0] if len(found) == 1 else None


def _words(text: str) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return re.findall(r"[^\W_]+", plain)


def _stem(word: str) -> str:
    """Without the s of a plural, and the last vowel: "restaurante" and "restaurant" are one."""
    word = word[:-1] if word.endswith("s") and len(word) > 3 else word
    return word[:-1] if word[-1] in "aeo" and len(word) > 5 else word
