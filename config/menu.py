"""What a restaurant sells: ``menu.toml`` beside an agent's ``agent.toml``. Its tools check an order against it.

    name = "Dough Boy Pizza"
    hours = {en = "Tuesday to Thursday ...", es = "De martes a jueves ..."}
    [location]                                     street city state zip
    [[sizes]]      key = "large"    name = {en = "large", es = "grande"}   also = ["big"]
    [[items]]      name = {...}     prices = {small = 11.00, large = 18.00}   or price = 3.00
    [[toppings]]   name = {...}     prices = {small = 1.00, large = 2.00}
    [[wishes]]     name = {en = "well done", es = "bien hecha"}            cost nothing

``name`` is the word a caller hears, by language; ``also``: other words for the same. Prices are in dollars. Items with
``prices`` come in sizes and take toppings, those with ``price`` do neither; ``includes``: toppings an item has already.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.errors import ConfigError

FILE = "menu.toml"
LANGUAGES = ("en", "es")
PARTS = ("sizes", "items", "toppings", "wishes")

_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")
_PLACE = ("street", "city", "state", "zip")


@dataclass(frozen=True, slots=True)
class Entry:
    """A size, an item, a topping or a wish. ``key`` tells it from the others; ``prices``: cents by the key of a size,
    by "" for what has one price."""

    key: str
    name: Mapping[str, str]
    also: tuple[str, ...] = ()
    prices: Mapping[str, int] = field(default_factory=dict)
    includes: tuple[str, ...] = ()

    @property
    def spellings(self) -> tuple[str, ...]:
        return (*self.name.values(), *self.also)

    def called(self, language: str) -> str:
        return self.name[language]


@dataclass(frozen=True, slots=True)
class Menu:
    """``location``: street, city, state, zip. ``hours``: a sentence by language."""

    name: str
    location: Mapping[str, str]
    hours: Mapping[str, str]
    sizes: tuple[Entry, ...]
    items: tuple[Entry, ...]
    toppings: tuple[Entry, ...]
    wishes: tuple[Entry, ...]


def load_menu(path: Path) -> Menu:
    """Reads a menu. Raises ConfigError with all that is wrong in it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT_LINE.search(str(error))
        line = found[1] if found else "1"
        raise ConfigError([f"{path}:{line}: {_AT_LINE.sub('', str(error))}."]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path} cannot be read: {type(error).__name__}."]) from None
    file = _MenuFile(path, text, data)
    menu = file.menu()
    if file.problems:
        raise ConfigError(file.problems)
    return menu


class Menus:
    """The menus below the folder of agents, as they are on disk now; one that is broken is not taken, the last good one
    stays. ``of`` does file work and belongs into a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[tuple[int, int, int], Menu | None]] = {}

    def of(self, agent: str) -> Menu | None:
        """The agent's menu, None if it has none."""
        path = self._folder / agent / FILE
        try:
            found = path.stat()
        except OSError:
            return None
        mark = found.st_mtime_ns, found.st_size, found.st_ino
        seen, menu = self._known.get(agent, ((0, 0, 0), None))
        if mark != seen:
            try:
                menu = load_menu(path)
            except ConfigError:
                pass  # ``relay agents check`` says what is wrong
            self._known[agent] = mark, menu
        return menu


@dataclass(slots=True)
class _MenuFile:
    path: Path
    text: str
    data: dict[str, Any]
    problems: list[str] = field(default_factory=list)

    def menu(self) -> Menu:
        for unknown in sorted(self.data.keys() - {"name", "hours", "location", *PARTS}):
            self._wrong(1, f"there is no setting {unknown!r} in a menu.")
        name, place = self.data.get("name"), self.data.get("location")
        if not isinstance(name, str) or not name.strip():
            self._wrong(1, "name is the restaurant's name, in quotes.")
        if not isinstance(place, dict) or set(place) != set(_PLACE) or not all(map(_is_text, place.values())):
            self._wrong(1, "location is a section with street, city, state and zip, each in quotes.")
        hours = self._texts(self.data.get("hours"), 1, "hours")
        sizes = self._part("sizes")
        keys = [size.key for size in sizes]
        toppings = self._part("toppings", keys)
        return Menu(
            str(name),
            place if isinstance(place, dict) else {},
            hours,
            sizes,
            self._part("items", keys, [topping.key for topping in toppings]),
            toppings,
            self._part("wishes"),
        )

    def _part(self, part: str, sizes: list[str] | None = None, toppings: list[str] | None = None) -> tuple[Entry, ...]:
        entries = self.data.get(part, [])
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            self._wrong(1, f"{part} are written as [[{part}]].")
            return ()
        if part == "items" and not entries:
            self._wrong(1, "there is nothing on the menu: no [[items]].")
        found: dict[str, Entry] = {}
        for number, entry in enumerate(entries):
            line = self._line(part, number)
            name = self._texts(entry.get("name"), line, "name")
            key = str(entry.get("key") or name["en"])
            also, includes = self._list(entry, "also", line), self._list(entry, "includes", line)
            prices = {} if sizes is None else self._prices(entry, line, sizes, by_size=part == "toppings")
            if key in found:
                self._wrong(line, f"{key!r} is given twice.")
            for missing in [each for each in includes if each not in (toppings or [])]:
                self._wrong(line, f"{key!r} includes {missing!r}, which is no topping.")
            for unknown in sorted(entry.keys() - {"key", "name", "also", "price", "prices", "includes"}):
                self._wrong(line, f"there is no setting {unknown!r} in [[{part}]].")
            found[key] = Entry(key, name, also, prices, includes)
        return tuple(found.values())

    def _prices(self, entry: Mapping[str, Any], line: int, sizes: list[str], *, by_size: bool) -> dict[str, int]:
        given = entry.get("prices", {"": entry["price"]} if "price" in entry and not by_size else None)
        if not isinstance(given, dict) or ("price" in entry and "prices" in entry):
            self._wrong(line, "a price is missing: prices = {...} by size" + ("." if by_size else ", or one price."))
            return {}
        if "" not in given and set(given) != set(sizes):
            self._wrong(line, f"prices are wanted for {', '.join(sizes)}, and no other size.")
        prices = {size: _cents(price) for size, price in given.items()}
        for wrong in [size for size, cents in prices.items() if cents is None]:
            self._wrong(line, f"the price {given[wrong]!r} is no amount of dollars and cents above 0.")
        return {size: cents for size, cents in prices.items() if cents is not None}

    def _texts(self, value: Any, line: int, what: str) -> dict[str, str]:
        if isinstance(value, dict) and set(value) == set(LANGUAGES) and all(map(_is_text, value.values())):
            return value
        self._wrong(line, f'{what} is wanted in both languages: {{en = "...", es = "..."}}.')
        return dict.fromkeys(LANGUAGES, "?")

    def _list(self, entry: Mapping[str, Any], key: str, line: int) -> tuple[str, ...]:
        value = entry.get(key, [])
        if isinstance(value, list) and all(map(_is_text, value)):
            return tuple(value)
        self._wrong(line, f"{key} must be a list of words.")
        return ()

    def _line(self, part: str, number: int) -> int:
        """The line of the so-manieth section of that name; 1 where it is written otherwise."""
        header = re.compile(rf"\s*\[\[\s*{part}\s*\]\]")
        lines = [at for at, text in enumerate(self.text.splitlines(), 1) if header.match(text)]
        return lines[number] if number < len(lines) else 1

    def _wrong(self, line: int, sentence: str) -> None:
        self.problems.append(f"{self.path}:{line}: {sentence}")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _cents(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10_000:
        return None
    cents = round(value * 100)
    return cents if abs(value * 100 - cents) < 1e-6 else None
