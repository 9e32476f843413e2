"""From what a caller asks for to the menu and its prices."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.menu import Menu, Menus, load_menu
from config.values import CHECKOUT
from relay.errors import ConfigError, ToolRetry
from tools.addresses import spoken_address
from tools.ordering import read_line
from tools.words import dollars, dollars_aloud, listed, spaced

AGENT = CHECKOUT / "config" / "agents" / "restaurant"


MENU = load_menu(AGENT / "menu.toml")


@pytest.fixture
def menu() -> Menu:
    return MENU


@pytest.mark.parametrize(
    ("name", "details", "text", "cents"),
    [
        ("large pepperoni pizza", "", "large pepperoni pizza", 1800),
        ("Pepperoni Pizza", "Large", "large pepperoni pizza", 1800),
        ("small pepperoni pizzas", "", "small pepperoni pizza", 1150),
        ("pepperoni", "medium, with mushrooms", "medium pepperoni pizza with mushrooms", 1600),
        ("large pizza", "pepperoni", "large cheese pizza with pepperoni", 1850),
        ("large cheese pizza with onions and olives", "", "large cheese pizza with onions and olives", 2000),
        ("large pepperoni pizza", "pepperoni", "large pepperoni pizza", 1800),
        ("large pepperoni pizza", "extra pepperoni", "large pepperoni pizza with pepperoni", 2050),
        ("large pepperoni pizza", "extra cheese", "large pepperoni pizza with extra cheese", 2050),
        ("small veggie pizza", "no onions, well done", "small veggie pizza (no onions, well done)", 1200),
        ("16 inch Margherita", "", "large margherita pizza", 1750),
        ("meat lover's pizza", "medium; extra crispy", "medium meat pizza (well done)", 1650),
        ("mushroom pizza, large", "", "large cheese pizza with mushrooms", 1800),
        ("garlic knots", "", "garlic knots", 600),
        ("Coke", "", "cola", 250),
        ("pizza de pepperoni grande", "con champiñones", "large pepperoni pizza with mushrooms", 2000),
        ("ensalada", "sin cebolla", "house salad (sin cebolla)", 750),
    ],
)
def test_what_is_on_the_menu_is_found(menu: Menu, name: str, details: str, text: str, cents: int) -> None:
    """Sizes, toppings and wishes in any order, in either language, singular or plural; what an item includes is paid
    for only as an extra."""
    line = read_line(menu, name, details, 1, "en")
    assert (line.text, line.cents) == (text, cents)


def test_the_quantity_multiplies(menu: Menu) -> None:
    """Two cost twice as much; the number may stand in the name too."""
    line = read_line(menu, "2 large pepperoni pizzas", "mushrooms", 2, "en")
    assert (line.quantity, line.cents) == (2, 4000)


def test_a_caller_in_spanish_is_told_in_spanish(menu: Menu) -> None:
    """The same line by the menu's Spanish names; its content is the same."""
    spanish = read_line(menu, "large veggie pizza", "bacon, olives, extra basil, well done", 1, "es")
    assert spanish.text == "pizza vegetariana grande con tocino y albahaca (bien hecha)"
    english = read_line(menu, "pizza vegetariana", "grande, muy hecha, albahaca, tocino", 1, "en")
    assert english.content == spanish.content and english.cents == spanish.cents


@pytest.mark.parametrize(
    ("name", "details", "english", "spanish"),
    [
        ("sushi", "", "'sushi' is not on the menu. There is cheese pizza, margherita pizza", "no está en la carta"),
        ("pepperoni pizza", "", "size of the pepperoni pizza is missing: small $11.50", "Falta el tamaño"),
        ("Hawaiian pizza", "", "'hawaiian' is not on the menu", "no está en la carta"),
        ("small pepperoni pizza", "large", "size is not clear", "tamaño no está claro"),
        ("extra large pepperoni pizza", "", "size is not clear", "tamaño no está claro"),
        ("large lemonade", "", "one size only, for $3.50", "un solo tamaño"),
        ("large cheese pizza", "with anchovies", "'anchovie' is not on the menu. Toppings are extra cheese", "no está"),
        ("slice of pepperoni pizza", "large", "'slice' is not on the menu", "no está en la carta"),
        ("large cheese pizza", "double mushrooms", "one portion of mushrooms", "una sola porción"),
        ("house salad", "bacon", "no toppings for house salad", "No hay ingredientes"),
        ("", "", "is not on the menu", "no está en la carta"),
    ],
)
def test_what_is_not_on_the_menu_is_asked_about(
    menu: Menu, name: str, details: str, english: str, spanish: str
) -> None:
    """Nothing unknown reaches the kitchen; the model is told what there is, in the caller's language."""
    for language, told in (("en", english), ("es", spanish)):
        with pytest.raises(ToolRetry) as caught:
            read_line(menu, name, details, 1, language)
        assert told in str(caught.value)


def test_every_item_can_be_ordered_by_each_of_its_names(menu: Menu) -> None:
    """In all sizes, with every topping where it takes some, and with every wish: nothing on the menu hides another."""
    for item in menu.items:
        for name in item.spellings:
            for size in item.prices:
                assert read_line(menu, name, size, 1, "en").content == (item.key, size)
    for name in menu.toppings:
        for spelling in name.spellings:
            line = read_line(menu, "large cheese pizza", f"extra {spelling}", 1, "en")
            assert line.content == ("cheese pizza", "large", name.key), spelling
    for wish in menu.wishes:
        for spelling in wish.spellings:
            assert read_line(menu, "large cheese pizza", spelling, 1, "en").content[2:] == (wish.key,), spelling


def test_the_prompt_tells_the_menu(menu: Menu) -> None:
    """Every item, price, topping, and the address of ``menu.toml`` stand in the prompt."""
    prompt = " ".join((AGENT / "prompt.md").read_text().split())
    for item in menu.items:
        prices = [f"{size} {cents / 100:.2f}" if size else f"{cents / 100:.2f}" for size, cents in item.prices.items()]
        assert f"{item.key}: {', '.join(prices)}" in prompt
    toppings = {topping.key: topping.prices for topping in menu.toppings}
    for key, prices in toppings.items():
        assert key in prompt
        assert ", ".join(f"{size} {cents / 100:.2f}" for size, cents in prices.items()) in prompt
    for wish in menu.wishes:
        assert wish.key in prompt
    for place in menu.location.values():
        assert place in prompt or " ".join(place) in prompt


WORDS = st.lists(
    st.sampled_from(
        [*(each for item in MENU.items for each in item.spellings), "extra", "no", "with", ",", "olives", "x"]
    )
).map(" ".join)


@given(st.text(max_size=60) | WORDS, st.text(max_size=60) | WORDS)
@settings(max_examples=200)
def test_whatever_is_said_is_on_the_menu_or_asked_about(name: str, details: str) -> None:
    """No words make it fail otherwise."""
    try:
        line = read_line(MENU, f"large {name}", details, 1, "en")
    except ToolRetry:
        return
    assert line.cents > 0


# -- the file


def test_mistakes_of_a_menu_have_lines(tmp_path: Path) -> None:
    """Everything that is wrong is named at once, each with the line of its section."""
    path = tmp_path / "menu.toml"
    path.write_text("""
name = ""
hours = {en = "always"}
tax = 3

[[sizes]]
key = "big"
name = {en = "big", es = "grande"}

[[items]]
name = {en = "soup", es = "sopa"}
price = -1

[[items]]
name = {en = "soup", es = "sopa"}
prices = {small = 3.00}
includes = ["salt"]

[[items]]
name = "pie"
price = 3.001
colour = "brown"

[[toppings]]
name = {en = "salt", es = "sal"}
also = "sodium"
price = 1.00
""")
    with pytest.raises(ConfigError) as caught:
        load_menu(path)
    told = [problem.removeprefix(f"{path}:") for problem in caught.value.problems]
    assert [int(each.split(":")[0]) for each in told] == [1, 1, 1, 1, 24, 24, 10, 14, 14, 19, 19, 19]
    told_of = " ".join(told)
    for words in ("'tax'", "street, city", "both languages", "price is missing", "-1", "3.001", "'colour'", "twice"):
        assert words in told_of
    path.write_text("name = 'x'\n[[items]\n")
    with pytest.raises(ConfigError, match=r"menu\.toml:2: "):
        load_menu(path)
    with pytest.raises(ConfigError, match="FileNotFoundError"):
        load_menu(tmp_path / "none.toml")


def test_a_menu_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """A changed one is used from the next order on; a broken one is not, and no menu is none."""
    folder = tmp_path / "pizza"
    folder.mkdir()
    text = (AGENT / "menu.toml").read_text()
    (folder / "menu.toml").write_text(text)
    menus = Menus(tmp_path)
    first = menus.of("pizza")
    assert first is not None and menus.of("pizza") is first
    (folder / "menu.toml").write_text(text.replace('name = "Dough Boy Pizza"', 'name = "Dough Girl"'))
    second = menus.of("pizza")
    assert second is not None and second.name == "Dough Girl"
    (folder / "menu.toml").write_text("name = ")
    assert menus.of("pizza") is second
    assert menus.of("hotel") is None


# -- words


@pytest.mark.parametrize(
    ("heard", "address"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada at example dot com", "ada@example.com"),
        ("ada dot lovelace at mail dot example dot co dot uk", "ada.lovelace@mail.example.co.uk"),
        ("a d a at example dot com.", "ada@example.com"),
        ("ada underscore l dash 1 plus pizza at example.com", "ada_l-1+pizza@example.com"),
        ("ada arroba ejemplo punto com", "ada@ejemplo.com"),
        ("ada guion bajo l arroba ejemplo punto es", "ada_l@ejemplo.es"),
        ("ada [at] example (dot) com", "ada@example.com"),
        ("<ADA@EXAMPLE.COM>", "ada@example.com"),
        ("matt@attic.com", "matt@attic.com"),
        ("dot at example dot com", ""),
        ("ada at example", ""),
        ("ada", ""),
        ("", ""),
        ("meet at work at example dot com", ""),
        ("ada@example.com, bob@example.com", ""),
        ("ada@example.com\r\nBcc: bob@example.com", ""),
        ("ada@127.0.0.1", ""),
        ("@example.com", ""),
        (f"{'a' * 65}@example.com", ""),
        (f"ada@{'a.' * 130}com", ""),
    ],
)
def test_an_address_as_it_is_said(heard: str, address: str) -> None:
    """Written or spoken, in English or Spanish; "" for what is no address or not certainly one."""
    assert spoken_address(heard) == address


def test_amounts_and_numbers_are_said() -> None:
    """In both languages, with one and with many."""
    assert [dollars(cents) for cents in (5, 1850, 100000)] == ["$0.05", "$18.50", "$1000.00"]
    assert dollars_aloud(1850, "en") == "18 dollars and 50 cents"
    assert dollars_aloud(101, "en") == "1 dollar and 1 cent"
    assert dollars_aloud(1850, "es") == "18 dólares con 50 centavos"
    assert dollars_aloud(100, "es") == "1 dólar"
    assert spaced(4017) == "4 0 1 7"
    assert listed(["a", "b", "c"], "en") == "a, b and c"
    assert (listed(["a", "b"], "es"), listed(["a"], "es"), listed([], "es")) == ("a y b", "a", "")
