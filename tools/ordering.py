"""From what a caller asked for, in words, to what stands on the menu and what it costs; pure.

Everything in an order has to be on the menu: a word nobody understands is asked about, never passed on to the kitchen.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from config.menu import Entry, Menu
from relay.errors import ToolRetry
from tools.words import dollars, listed, said

_CUT = re.compile(r"[,;/&+.()]|\b(?:with|plus|and|con|y|e)\b", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_WITHOUT = frozenset({"no", "without", "hold", "sin"})
_TWICE = frozenset({"double", "triple", "doble"})
_MORE = frozenset({"extra", "more", "mas"})
# Words that carry no wish of their own.
_FILLING = frozenset(
    {
        *("a", "an", "the", "of", "on", "it", "some", "extra", "more", "add", "topping", "please", "also", "too"),
        *("order", "pizza", "un", "una", "el", "la", "lo", "los", "las", "de", "del", "al", "por", "favor"),
        *("agregar", "agrega", "anadir", "tambien", "ademas", "mas"),
    }
)

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an order: ``text`` for the caller, ``cents`` for all of it. ``content``: what it is, apart from how
    many, the same however it was said."""

    text: str
    quantity: int
    cents: int
    content: tuple[str, ...]


def read_line(menu: Menu, name: str, details: str, quantity: int, language: str) -> Line:
    """What was asked for. Raises ToolRetry, in that language, for what is not on the menu or not clear."""
    words, size = _without_size(menu, _reduced(name), f"{name}, {details}", language)
    item, rest = _item(menu, words)
    if item is None:
        raise ToolRetry(
            said(
                language,
                f"{_quoted(name)} is not on the menu. There is {_names(menu.items, language)}. Ask the caller which of "
                "these they would like.",
                f"{_quoted(name)} no está en la carta. Hay {_names(menu.items, language)}. Pregunte cuál de estos "
                "desea la persona.",
            )
        )
    # First of all, whether it is what it was called: "Hawaiian pizza" is no cheese pizza without a size.
    toppings, wishes = _details(menu, item, name, rest, details, str(quantity), language)
    sized = "" not in item.prices
    if sized and size is None:
        prices = ", ".join(
            f"{each.called(language)} {dollars(item.prices[each.key])}"
            for each in menu.sizes
            if each.key in item.prices
        )
        raise ToolRetry(
            said(
                language,
                f"The size of the {item.called(language)} is missing: {prices}. Ask the caller which size.",
                f"Falta el tamaño de la {item.called(language)}: {prices}. Pregunte qué tamaño desea la persona.",
            )
        )
    if not sized and size is not None:
        raise ToolRetry(
            said(
                language,
                f"{item.called(language)} comes in one size only, for {dollars(item.prices[''])}. Ask whether that is "
                "all right, and leave the size out.",
                f"{item.called(language)} viene en un solo tamaño, por {dollars(item.prices[''])}. Pregunte si está "
                "bien y omita el tamaño.",
            )
        )
    key = size.key if size else ""
    cents = item.prices[key] + sum(topping.prices[key] for topping in toppings)
    return Line(
        _text(item, size, toppings, wishes, language),
        quantity,
        cents * quantity,
        (
            item.key,
            key,
            *sorted(topping.key for topping in toppings),
            *sorted(wish.key if isinstance(wish, Entry) else " ".join(_reduced(wish)) for wish in wishes),
        ),
    )


def _without_size(menu: Menu, words: Words, everything: str, language: str) -> tuple[Words, Entry | None]:
    """The words of the name without those of its size, and the size, wherever it was said."""
    heard = _reduced(everything)
    named = [(at, size) for size in menu.sizes for at in _places(heard, size.spellings)]
    sizes = {size.key: size for _, size in named}
    unknown = any(at and heard[at - 1] in ("extra", "x") for at, _ in named) or {"xl", "jumbo"} & set(heard)
    if len(sizes) > 1 or unknown:
        raise ToolRetry(
            said(
                language,
                f"The size is not clear. There is {_names(menu.sizes, language)}. Ask the caller which one.",
                f"El tamaño no está claro. Hay {_names(menu.sizes, language)}. Pregunte cuál desea la persona.",
            )
        )
    for size in menu.sizes:
        words = _remove(words, size.spellings)
    return words, next(iter(sizes.values()), None)


def _item(menu: Menu, words: Words) -> tuple[Entry | None, Words]:
    """The item whose name is the longest in these words, the first of equal ones; and the words beside it."""
    found = [
        (-len(phrase), at, item, phrase)
        for item in menu.items
        for phrase in map(_reduced, item.spellings)
        for at in _places(words, [" ".join(phrase)])
    ]
    if not found:
        return None, words
    _, at, item, phrase = min(found, key=lambda each: each[:2])
    return item, words[:at] + words[at + len(phrase) :]


def _details(
    menu: Menu, item: Entry, name: str, rest: Words, details: str, quantity: str, language: str
) -> tuple[list[Entry], list[Entry | str]]:
    """Toppings to be paid for, and wishes that cost nothing: the menu's, or "no onions" in the caller's words."""
    toppings: dict[str, Entry] = {}
    wishes: dict[str, Entry | str] = {}
    kept = set(rest)
    chunks = [(chunk, tuple(word for word in _reduced(chunk) if word in kept)) for chunk in _CUT.split(name)]
    for chunk, left in [*chunks, *((chunk, _reduced(chunk)) for chunk in _CUT.split(details))]:
        for size in menu.sizes:
            left = _remove(left, size.spellings)
        for wish in menu.wishes:
            if _places(left, wish.spellings):
                wishes[wish.key] = wish
                left = _remove(left, wish.spellings)
        if _WITHOUT & set(left):
            wishes[" ".join(left)] = " ".join(chunk.split())
            continue
        extra = bool(_MORE & set(left))
        for topping in sorted(menu.toppings, key=lambda each: -max(map(len, map(_reduced, each.spellings)))):
            if not _places(left, topping.spellings):
                continue
            left = _remove(left, topping.spellings)
            if _TWICE & set(left) or "" in item.prices:
                raise ToolRetry(_one_portion(item, topping, language))
            if extra or topping.key not in item.includes:
                toppings[topping.key] = topping
        # "pepperoni pizza" in the details of a pepperoni pizza says nothing new.
        left = _remove(left, item.spellings)
        unknown = [word for word in left if word not in _FILLING and word != quantity]
        if unknown:
            raise ToolRetry(_not_understood(menu, " ".join(unknown), language))
    return list(toppings.values()), list(wishes.values())


def _one_portion(item: Entry, topping: Entry, language: str) -> str:
    if "" in item.prices:
        return said(
            language,
            f"There are no toppings for {item.called(language)}. Tell the caller.",
            f"No hay ingredientes adicionales para {item.called(language)}. Dígaselo a la persona.",
        )
    return said(
        language,
        f"A pizza takes one portion of {topping.called(language)}. Tell the caller.",
        f"Una pizza lleva una sola porción de {topping.called(language)}. Dígaselo a la persona.",
    )


def _not_understood(menu: Menu, unknown: str, language: str) -> str:
    toppings, wishes = _names(menu.toppings, language), _names(menu.wishes, language)
    return said(
        language,
        f"{_quoted(unknown)} is not on the menu. Toppings are {toppings}; wishes that cost nothing are {wishes}. "
        "Tell the caller, and leave out what there is not. How many goes into quantity.",
        f"{_quoted(unknown)} no está en la carta. Los ingredientes adicionales son {toppings}; sin coste se puede "
        f"pedir {wishes}. Dígaselo a la persona y omita lo que no hay. La cantidad va en quantity.",
    )


def _text(
    item: Entry, size: Entry | None, toppings: Sequence[Entry], wishes: Sequence[Entry | str], language: str
) -> str:
    name, extent = item.called(language), size.called(language) if size else ""
    text = said(language, f"{extent} {name}", f"{name} {extent}").strip()
    if toppings:
        text += said(language, " with ", " con ") + _names(toppings, language)
    if wishes:
        text += f" ({', '.join(wish.called(language) if isinstance(wish, Entry) else wish for wish in wishes)})"
    return text


def _names(entries: Iterable[Entry], language: str) -> str:
    return listed([entry.called(language) for entry in entries], language)


def _quoted(text: str) -> str:
    return f"'{' '.join(text.split())[:60]}'"


def _reduced(text: str) -> Words:
    """Words without accents, capitals and the s of a plural: "Champiñones" and "champinone" are one."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    words = _WORD.findall(plain.replace("'s", "").replace("’s", ""))
    return tuple(word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words)


def _places(words: Words, spellings: Iterable[str]) -> list[int]:
    """Where in the words one of the spellings begins."""
    phrases = [phrase for phrase in map(_reduced, spellings) if phrase]
    return [at for at in range(len(words)) if any(words[at : at + len(phrase)] == phrase for phrase in phrases)]


def _remove(words: Words, spellings: Iterable[str]) -> Words:
    """The words without any of the spellings, the longest ones first."""
    for phrase in sorted(map(_reduced, spellings), key=len, reverse=True):
        at = 0
        while phrase and at <= len(words) - len(phrase):
            if words[at : at + len(phrase)] == phrase:
                words = words[:at] + words[at + len(phrase) :]
            else:
                at += 1
    return words
