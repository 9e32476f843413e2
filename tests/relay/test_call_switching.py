"""What tools change while a call goes on: the agent, its tools and keys, the language. The next moment goes by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from config.says import BUILT_IN, Says
from relay.events import Carry, LateResult, Mark, Restored, SetLanguage, StartTurn
from relay.items import ToolItem
from relay.keypad import Key
from relay.manner import Manner, dump_changes, load_changes
from relay.toolbox import (
    ChangeKeys,
    ChangeTools,
    Effect,
    EndCall,
    PersonChanged,
    SwitchAgent,
    SwitchLanguage,
    ToolOutcome,
)
from tests.relay.driver import Driver, call, done, started

SPANISH_APOLOGY = BUILT_IN["apology"]["es"]
DESK = Manner(
    agent="desk",
    line=Says("en-US").line,
    line_language=Says("en-US").line_language,
    fillers=Says("en-US").fillers,
    keys={"1": Key(say="Desk one."), "2": Key(tool="look_up")},
    tools=("look_up", "book", "pay", "end_call"),
    languages=("en-US", "es-US"),
)
KITCHEN = Manner(
    agent="kitchen",
    line=lambda name, language: f"Kitchen {name}.",
    keys={"1": Key(say="Kitchen one."), "3": Key(tool="search")},
    tools=("search", "book"),
)
TABERNA = Manner(
    agent="taberna",
    line=Says("es-US").line,
    line_language=Says("es-US").line_language,
    language="es-US",
    transcription="es-US",
    languages=("es-US",),
)
HOUSE = {manner.agent: manner for manner in (DESK, KITCHEN, TABERNA)}


def of(manner: Manner, **options: Any) -> dict[str, Any]:
    """Options of a driver: this agent has the call."""
    return {name: getattr(manner, name) for name in Manner.__dataclass_fields__} | {"manners": HOUSE.get} | options


def desk(**options: Any) -> Driver:
    return started(**of(DESK, **options))


def following(**options: Any) -> Driver:
    return desk(follow_language=True, **options)


def changed(driver: Driver, *effects: Effect, words: str = "Hi") -> list[Any]:
    """A look-up with these effects, in a turn of its own; what follows its result."""
    driver.prompt(words)
    driver.say("", call("look_up"))
    return driver.finish("look_up", done("{}", *effects))


# -- the agent


def test_the_next_round_of_the_same_turn_is_the_new_agents() -> None:
    """The change comes before the request that its result leads to."""
    driver = desk()
    actions = changed(driver, SwitchAgent("kitchen"))
    carry = actions.index(Carry(SwitchAgent("kitchen")))
    assert carry < next(at for at, action in enumerate(actions) if isinstance(action, StartTurn))
    assert driver.call.manner is KITCHEN
    assert driver.rounds[0].round == 1


def test_the_next_key_is_the_new_agents() -> None:
    """With its words or its tool, and keys of the agent before mean nothing of their own."""
    driver = desk()
    driver.press("1")
    changed(driver, SwitchAgent("kitchen"))
    driver.say("This is the kitchen.")
    driver.press("1")
    assert [text for text in driver.frames if text.endswith("one.")] == ["Desk one.", "Kitchen one."]
    driver.press("2")
    assert driver.started == ["look_up"], "only the model's call"
    driver.press("3")
    driver.reader()
    assert driver.started == ["look_up", "search"]


def test_fixed_lines_are_the_new_agents() -> None:
    """An apology is said in its words."""
    driver = desk()
    changed(driver, SwitchAgent("kitchen"))
    driver.fail()
    assert driver.frames[-2] == "Kitchen apology."


def test_a_sibling_keeps_the_round_waiting_and_the_change_does_not_wait() -> None:
    """The next key goes by the change while the other tool of the round still runs."""
    driver = desk()
    driver.prompt("Hi")
    driver.say("", call("look_up", '{"n":1}', "a"), call("look_up", '{"n":2}', "b"))
    driver.finish(min(driver.tools), done("{}", SwitchAgent("kitchen")))
    assert driver.rounds == []
    driver.press("1")
    assert "Kitchen one." in driver.frames
    driver.finish("look_up")
    assert driver.rounds[0].round == 1


@pytest.mark.parametrize("agent", ["nobody", "desk"])
def test_an_agent_nobody_knows_and_the_one_that_has_the_call(agent: str) -> None:
    """Nothing changes, and nothing is carried out."""
    driver = desk()
    changed(driver, SwitchAgent(agent))
    assert driver.changes == [] and driver.call.manner.agent == "desk"
    assert driver.rounds[0].round == 1


def test_a_tool_of_the_agent_before_is_none_any_more() -> None:
    """The model may remember it: the call is not carried out, and it is told so; a key's tool is the agent's own."""
    driver = desk()
    changed(driver, SwitchAgent("kitchen"))
    driver.say("", call("pay"), call("search"))
    driver.reader()
    assert driver.started == ["look_up", "search"]
    [refused] = [item for item in driver.items if isinstance(item, ToolItem) and item.name == "pay"]
    assert refused.status == "failed" and "unknown_tool" in refused.output


# -- tools and keys


def test_tools_are_added_and_removed() -> None:
    """A removed one is not carried out any more, an added one is; what is both is removed."""
    driver = desk()
    changed(driver, ChangeTools(add=("search", "pay", "wire"), remove=("look_up", "wire")))
    assert driver.call.manner.tools == ("book", "pay", "end_call", "search")
    driver.say("", call("look_up", '{"n":9}', "again"), call("search"))
    assert driver.started == ["look_up", "search"]


def test_keys_are_added_and_removed() -> None:
    """The next key goes by it."""
    driver = desk()
    changed(driver, ChangeKeys(add={"5": Key(say="Five.")}, remove=("1",)))
    driver.press("5")
    assert "Five." in driver.frames
    driver.press("1#")
    assert driver.story[-1] == "note: The caller pressed 1 on the keypad."


def test_a_switch_brings_the_agents_own_tools_and_keys() -> None:
    """What was added before is the former agent's."""
    driver = desk()
    changed(driver, ChangeTools(add=("search",)), ChangeKeys(remove=("1",)), SwitchAgent("kitchen"))
    assert driver.call.manner is KITCHEN


# -- once, and whatever becomes of the turn


def test_a_repeated_call_changes_nothing_twice() -> None:
    """The model makes the same call again: the first one answers it, and its effect is not applied anew."""
    driver = desk()
    driver.prompt("Book it")
    driver.say("", call("book", call_id="one"), call("book", call_id="two"))
    driver.reader()
    driver.finish("book", done("{}", ChangeTools(remove=("pay",))))
    assert driver.changes == [ChangeTools(remove=("pay",))]
    driver.say("", call("book", call_id="three"))
    driver.wait(0.1)
    assert driver.started == ["book"] and len(driver.changes) == 1


def test_a_change_of_a_superseded_turn_applies() -> None:
    """A side effect goes on: what it has changed holds, the end of the call it asks for does not."""
    driver = desk()
    driver.prompt("Book it")
    driver.say("", call("book"))
    driver.reader()
    driver.prompt("And hello?")
    driver.finish("book", done("{}", SwitchAgent("kitchen"), EndCall()))
    assert driver.call.manner is KITCHEN
    driver.wait(0.5)
    driver.say("Hello.")
    assert driver.ended is None and not driver.call.phase.value.startswith("end")


def test_a_look_up_of_a_superseded_turn_changes_nothing() -> None:
    """It ended with its turn: what it reports a moment too late is not heard of."""
    driver = desk()
    driver.prompt("Look")
    driver.say("", call("look_up"))
    key = driver.tool("look_up")
    driver.prompt("No, wait")
    driver.finish(key, done("{}", SwitchAgent("kitchen")))
    assert driver.changes == [] and driver.call.manner.agent == "desk"


def test_a_change_after_the_end_begins_nothing() -> None:
    """It is carried out, for whoever takes the call up again, and that is all."""
    driver = desk()
    driver.prompt("Book it")
    driver.say("", call("book"))
    driver.reader()
    driver.hang_up()
    driver.finish("book", done("{}", SwitchAgent("kitchen")))
    assert driver.changes == [SwitchAgent("kitchen")] and driver.rounds == []


def test_nothing_is_asked_ahead_that_a_tool_may_change() -> None:
    """Not while a side effect runs; once it has changed the call, what is asked is the new agent's."""
    driver = desk(speculation=True)
    driver.prompt("Book it")
    driver.say("", call("book"))
    driver.reader()
    key = driver.tool("book")
    driver.prompt("Where are you?", last=False)
    assert driver.ahead is None
    driver.finish(key, done("{}", SwitchAgent("kitchen")))
    driver.say("Here.")
    driver.prompt("Where are you going?", last=False)
    assert driver.ahead is not None and driver.call.manner is KITCHEN


def test_a_person_changed_is_carried_out() -> None:
    """The call has nothing to change of its own."""
    driver = desk()
    changed(driver, PersonChanged())
    assert driver.changes == [PersonChanged()]


# -- the language


def test_the_language_is_switched() -> None:
    """Both sides, under the agent's own tag; words need no mark, and the model is told."""
    driver = desk()
    changed(driver, SwitchLanguage("es"))
    assert driver.languages == [SetLanguage("es-US", "es-US")]
    assert driver.rounds[0].language == "es-US"
    driver.say("Claro.")
    assert driver.marks == [("", "Claro.")]
    driver.prompt("Gracias", "es-US")
    driver.fail()
    assert driver.frames[-2] == SPANISH_APOLOGY
    assert driver.marks[-1] == ("", SPANISH_APOLOGY)


def test_a_language_the_agent_does_not_declare() -> None:
    """Nothing changes."""
    driver = desk()
    changed(driver, SwitchLanguage("fr-FR"))
    assert driver.languages == [] and driver.changes == []


def test_any_language_stays_understood() -> None:
    """A recogniser that finds out the language goes on with that."""
    driver = desk(transcription="multi")
    changed(driver, SwitchLanguage("es-US"))
    assert driver.languages == [SetLanguage("es-US", "")]


def test_back_to_the_agents_own_language() -> None:
    """The model is not told any more, and both languages are as they were."""
    driver = desk(transcription="en-GB")
    changed(driver, SwitchLanguage("es-US"))
    driver.say("Claro.")
    changed(driver, SwitchLanguage("en"), words="English, please")
    assert driver.languages == [SetLanguage("es-US", "es-US"), SetLanguage("en-US", "en-GB")]
    assert driver.rounds[0].language == ""


def test_words_being_said_keep_their_language() -> None:
    """The language changes in the middle of a reply: the rest of it is marked with the one it has begun in."""
    driver = desk()
    driver.prompt("Book it")
    driver.say("", call("book"))
    driver.reader()
    driver.prompt("Tell me something")
    driver.wait(0.5)
    driver.delta("Once upon ")
    driver.finish("book", done("{}", SwitchLanguage("es")))
    driver.delta("a time.")
    assert driver.marks == [("", "Once upon "), ("en-US", "a time.")]
    driver.end_round()
    assert driver.rounds[0].language == "es-US"
    driver.say("Hecho.")
    assert driver.marks[-1] == ("", "Hecho.")


def test_an_agent_of_another_language() -> None:
    """It speaks its own, and the fixed lines are in that."""
    driver = desk()
    changed(driver, SwitchAgent("taberna"))
    assert driver.languages == [SetLanguage("es-US", "es-US")]
    assert driver.rounds[0].language == ""
    driver.fail()
    assert driver.frames[-2] == SPANISH_APOLOGY


def test_an_agent_that_has_the_language_of_the_call() -> None:
    """The call goes on in it."""
    driver = started(**of(TABERNA))
    changed(driver, SwitchAgent("desk"))
    assert driver.languages == [] and driver.call.spoken == "es-US"
    assert driver.rounds[0].language == "es-US"


# -- the language of what was said last


def test_it_answers_in_the_language_of_the_prompt() -> None:
    """Also where only the language's primary tag is told; words are marked, and not in the session's own language."""
    driver = following(transcription="multi")
    for lang, told, mark in (("en", "en-US", ""), ("es", "es-US", "es-US"), ("en-US", "en-US", "")):
        driver.prompt("Hello", lang)
        assert driver.rounds[0].language == told
        driver.say("Yes.")
        assert driver.marks[-1] == (mark, "Yes.")
    assert driver.languages == [], "the session's own language stays"


def test_a_language_it_does_not_have() -> None:
    """It goes on in the session's."""
    driver = following(transcription="multi")
    driver.prompt("Bonjour", "fr")
    assert driver.rounds[0].language == "en-US"
    driver.say("Sorry?")
    assert driver.marks == [("", "Sorry?")]


def test_without_the_setting_nothing_changes_by_itself() -> None:
    """But fixed lines, which are in the caller's language, and marked."""
    driver = desk(transcription="multi")
    driver.prompt("Hola", "es")
    assert driver.rounds[0].language == ""
    driver.delta("Hello.")
    driver.end_round()
    driver.prompt("¿Y?", "es")
    driver.fail()
    driver.prompt("¿Y ahora?", "es")
    driver.say("Now.")
    assert driver.marks == [("", "Hello."), ("es-US", SPANISH_APOLOGY), ("", "Now.")]


def test_fillers_are_marked() -> None:
    """They are in the caller's language."""
    driver = following(transcription="multi")
    driver.prompt("Hola", "es")
    driver.say("", call("look_up"))
    driver.wait(1.0)
    assert driver.marks and driver.marks[0][0] == "es-US"
    assert driver.marks[0][1] in Says().fillers("es")


def test_a_voice_that_finds_out_the_language() -> None:
    """Nothing is marked, and the model is told what the caller speaks."""
    driver = following(language="multi", transcription="multi")
    driver.prompt("Hola", "es")
    assert driver.rounds[0].language == "es"
    driver.say("Hola.")
    assert driver.marks == [("", "Hola.")]


def test_an_english_line_of_the_agents_own_in_a_spanish_call() -> None:
    """Nobody wrote it in Spanish: the caller hears the Spanish one every agent has."""
    says = Says("en-US", {"apology": {"en-us": "Oops."}})
    driver = following(transcription="multi", line=says.line, line_language=says.line_language)
    driver.prompt("Hola", "es")
    driver.fail()
    assert driver.marks == [("es-US", SPANISH_APOLOGY)]


def test_a_line_that_exists_in_no_language_of_the_callers() -> None:
    """It is said in the agent's, and marked as that."""
    driver = started(**of(TABERNA, transcription="multi"))
    driver.prompt("Bonjour", "fr")
    driver.fail()
    assert driver.marks == [("", SPANISH_APOLOGY)]


# -- taken up again


def test_a_call_taken_up_again_is_as_it_was() -> None:
    """Before its first turn: agent, tools, keys and language of the earlier session."""
    driver = Driver(of(DESK))
    driver.setup()
    driver.send(Restored(KITCHEN.with_tools(ChangeTools(add=("pay",))), "", ""))
    driver.prepared(resumed=True)
    driver.prompt("Hello")
    driver.say("", call("pay"), call("look_up"))
    driver.reader()
    assert driver.started == ["pay"]


@pytest.mark.parametrize(("said", "language"), [("", "es"), ("en-US", "en-US")])
def test_the_language_of_a_call_taken_up_again(said: str, language: str) -> None:
    """The line that tells of the break is in the caller's; what the caller has said since tells it better."""
    driver = Driver(of(DESK, transcription="multi"))
    driver.setup()
    if said:
        driver.prompt("Hello", said)
    driver.send(Restored(replace(DESK, transcription="multi"), "es-US", "es"))
    assert driver.languages == [SetLanguage("es-US", "")]
    driver.prepared(resumed=True)
    assert (driver.call.language, driver.call.spoken) == (language, "es-US")
    assert said or driver.frames[0] == BUILT_IN["cut_off"]["es"]


def test_changes_are_stored_and_read() -> None:
    """An agent's own manner stores nothing; of what another release has stored, what nobody knows here is left out."""
    assert dump_changes(DESK, DESK) == {"tools": "", "keys": ""}
    changed_ = DESK.with_tools(ChangeTools(add=("search",), remove=("pay",))).with_keys(
        ChangeKeys(add={"7": Key("Seven.", "search", '{"n":1}'), "8": Key(tool="gone")}, remove=("1",))
    )
    stored = dump_changes(changed_, DESK)
    read = load_changes(DESK, stored, lambda name: name != "gone")
    assert read.tools == ("look_up", "book", "end_call", "search")
    assert read.keys == {"2": Key(tool="look_up"), "7": Key("Seven.", "search", '{"n":1}')}
    for odd in ("{", "3", '{"1": 5, "2": {"say": 1}, "3": {"shout": "x"}}', '["a", 1]'):
        load_changes(DESK, {"tools": odd, "keys": odd}, lambda name: True)


def test_a_late_result_of_an_earlier_session_changes_nothing() -> None:
    """Its item alone is told of."""
    driver = desk()
    driver.send(LateResult(ToolItem("x", "book", "{}", "{}", "done")))
    assert driver.changes == []


def test_effects_of_a_failed_tool() -> None:
    """Whatever it failed at, what it asks for it asks for."""
    driver = desk()
    driver.prompt("Hi")
    driver.say("", call("look_up"))
    driver.finish("look_up", ToolOutcome("{}", ok=False, effects=(ChangeTools(remove=("pay",)),)))
    assert driver.call.manner.tools == ("look_up", "book", "end_call")


def test_marks_are_told_before_the_words() -> None:
    """Once an utterance, not once a token."""
    driver = following(transcription="multi")
    driver.prompt("Hola", "es")
    kinds = [type(action).__name__ for action in driver.delta("Hola.")]
    assert kinds.index("Mark") < kinds.index("Say")
    assert Mark("es-US") not in driver.delta(" Sí.")
