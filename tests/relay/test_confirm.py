"""Tools that ask before they act: nothing is done without words of the caller after the question."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from relay.confirm import ANSWERS, ASK_FIRST
from relay.events import StartTurn
from relay.items import ToolItem
from relay.keypad import Key
from relay.models.base import ToolCall
from relay.toolbox import EndCall, ToolOutcome
from tests.relay.driver import Driver, call, done, started

AMOUNT = '{"to":"Ada","amount":9}'


def wire(arguments: str = AMOUNT) -> ToolCall:
    return call("wire", arguments)


def wants(driver: Driver, *calls: ToolCall, words: str = "") -> None:
    """The model makes these calls, and the reader runs."""
    driver.say(words, *calls)
    if "reader" in driver.timers:
        driver.reader()


def asked(*calls: ToolCall, question: str = "Shall I?", **options: Any) -> Driver:
    """A call in which the model wanted to act and has asked."""
    driver = started(**options)
    driver.prompt("Send Ada nine euros")
    wants(driver, *(calls or (wire(),)))
    if question:
        driver.say(question)
    return driver


def outputs(driver: Driver) -> list[str]:
    return [item.output for item in driver.items if isinstance(item, ToolItem)]


def test_the_first_call_is_not_carried_out() -> None:
    """The model is told to ask, at once; nothing else is waited for."""
    driver = started()
    driver.prompt("Send Ada nine euros")
    driver.say("", wire())
    assert driver.started == [] and driver.rounds == [StartTurn(1, 1)]
    assert outputs(driver) == [ASK_FIRST.output]
    told = orjson.loads(ASK_FIRST.output)
    assert told["status"] == "confirmation_needed" and "Ask the caller" in told["message"]


def test_the_same_call_after_the_callers_answer_is_carried_out() -> None:
    """In whatever spelling of its arguments; as a side effect, once."""
    driver = asked()
    driver.prompt("Yes")
    wants(driver, wire('{"amount": 9, "to": "Ada"}'))
    assert driver.started == ["wire"] and driver.tools[driver.tool("wire")].owned
    driver.finish("wire", done('"sent"'))
    assert outputs(driver) == [ASK_FIRST.output, '"sent"']


def test_nobody_is_asked_about_what_cannot_be_done() -> None:
    """The model is told why at once, in the caller's language; and that was no question the caller could answer."""
    objections: dict[str, ToolOutcome] = {AMOUNT: done('"the bank is closed"', ok=False)}
    driver = started(objection=lambda call, language: objections.get(call.arguments))
    driver.prompt("Send Ada nine euros")
    wants(driver, wire())
    driver.say("The bank is closed.")
    driver.prompt("Then later")
    objections.clear()
    wants(driver, wire())
    assert driver.started == [] and outputs(driver) == ['"the bank is closed"', ASK_FIRST.output]


def offered(*replies: str, offer: str = AMOUNT) -> Driver:
    """Another tool has done its work and offered the deed; the agent has said this, and each time the caller a word."""
    driver = started()
    driver.prompt("Book it")
    wants(driver, call("book", "{}"))
    driver.finish("book", replace(done('"booked, shall I wire?"'), offers=(("wire", offer),)))
    for reply in replies:
        driver.say(reply)
        driver.prompt("Yes")
    return driver


def test_what_a_tool_offers_is_not_asked_again() -> None:
    """The offer said and answered, the call is carried out at once."""
    driver = offered("Booked. Shall I wire?")
    wants(driver, wire())
    assert driver.started == ["book", "wire"]


@pytest.mark.parametrize(
    ("replies", "offer"),
    [((), AMOUNT), (("Booked.",) * (ANSWERS + 1), AMOUNT), (("Booked. Shall I?",), '{"to":"Ada","amount":10}')],
)
def test_an_offer_alone_is_no_consent(replies: tuple[str, ...], offer: str) -> None:
    """Not before the caller has answered, not long after, and not for something else."""
    driver = offered(*replies, offer=offer)
    wants(driver, wire())
    assert driver.started == ["book"] and outputs(driver)[-1] == ASK_FIRST.output


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [
        ("No.", False),
        ("No, thank you!", False),
        ("No gracias", False),
        ("Please don’t", False),
        ("No, ahora no.", False),
        ("Nope", False),
        ("No problem, go ahead", True),
        ("No, wait, yes", True),
        ("Sí", True),
    ],
)
def test_a_plain_no_is_no_consent(answer: str, agreed: bool) -> None:
    """Whatever the model makes of it; anything else is the model's to judge."""
    driver = asked()
    driver.prompt(answer)
    wants(driver, wire())
    assert driver.started == (["wire"] if agreed else [])


def test_a_model_cannot_consent() -> None:
    """However often it repeats the call in the same turn, with or without words."""
    driver = started()
    driver.prompt("Send Ada nine euros")
    wants(driver, wire())
    wants(driver, wire(), words="Shall I? ")
    wants(driver, wire(), words="Yes, I shall. ")
    assert driver.started == [] and outputs(driver) == [ASK_FIRST.output] * 3


def test_words_before_the_question_are_no_answer() -> None:
    """The caller went on before the agent had asked anything."""
    driver = asked(question="")
    driver.prompt("And ten to Grace")
    wants(driver, wire())
    assert driver.started == []
    driver.say("Shall I send nine to Ada?")
    driver.prompt("Yes")
    wants(driver, wire())
    assert driver.started == ["wire"]


def test_a_question_nobody_heard_is_no_question() -> None:
    """Cut before its first word."""
    driver = asked()
    driver.interrupt("")
    driver.prompt("And ten to Grace")
    wants(driver, wire())
    assert driver.started == []


@pytest.mark.parametrize("heard", ["Shall", "Shall I?"])
def test_an_interrupt_alone_is_no_answer(heard: str) -> None:
    """Nor the silence after it; words that follow are."""
    driver = asked()
    driver.interrupt(heard)
    driver.wait(2.1)
    if driver.rounds:  # it was cut: the model goes on
        wants(driver, wire())
        driver.say("Shall I send it?")
    assert driver.started == []
    driver.prompt("Yes, do")
    wants(driver, wire())
    assert driver.started == ["wire"]


def test_a_filler_is_no_question() -> None:
    """Words of the agent's that are none of the model's."""
    driver = started(fillers=lambda language: ("One moment.",))
    driver.prompt("Send Ada nine euros")
    driver.say("", wire(), call("look_up"))
    driver.wait(1.0)
    assert driver.asides == ["One moment."]
    driver.prompt("Hello?")
    wants(driver, wire())
    assert "wire" not in driver.started


def test_other_arguments_are_another_question() -> None:
    """And make the first one void."""
    driver = asked()
    driver.prompt("No, ten")
    wants(driver, wire('{"to":"Ada","amount":10}'))
    assert driver.started == []
    driver.say("Shall I send ten?")
    driver.prompt("Yes")
    wants(driver, wire())
    assert driver.started == []


def test_several_questions_of_one_turn_stand_together() -> None:
    """One answer serves them all."""
    two = wire(), wire('{"to":"Grace","amount":9}')
    driver = asked(*(ToolCall(str(n), c.name, c.arguments) for n, c in enumerate(two)))
    driver.prompt("Yes, both")
    wants(driver, *(ToolCall(f"again {n}", c.name, c.arguments) for n, c in enumerate(two)))
    assert driver.started == ["wire", "wire"]


def test_equal_calls_of_one_round_are_carried_out_once() -> None:
    driver = asked()
    driver.prompt("Yes")
    wants(driver, ToolCall("a", "wire", AMOUNT), ToolCall("b", "wire", AMOUNT))
    assert driver.started == ["wire"]
    driver.finish("wire", done('"sent"'))
    assert outputs(driver) == [ASK_FIRST.output, '"sent"', '"sent"']


def test_consent_is_used_up() -> None:
    """What was carried out is a new wish, and is asked about again."""
    driver = asked()
    driver.prompt("Yes")
    wants(driver, wire())
    driver.finish("wire")
    driver.say("Done.")
    driver.prompt("Once more")
    wants(driver, wire())
    assert driver.started == ["wire"]
    driver.say("Again?")
    driver.prompt("Yes")
    wants(driver, wire())
    assert driver.started == ["wire", "wire"]


def test_what_failed_may_be_tried_again_in_the_same_turn() -> None:
    """The caller agreed to the deed, not to the attempt; one that was done is not done again."""
    driver = asked()
    driver.prompt("Yes")
    wants(driver, wire())
    driver.finish("wire", done('"busy"', ok=False))
    wants(driver, wire())
    driver.finish("wire", done('"sent"'))
    wants(driver, wire())
    assert driver.started == ["wire", "wire"]
    assert outputs(driver)[-1] == '"sent"'


def test_consent_to_what_did_not_begin_is_not_lost() -> None:
    """The caller says more than yes: the call made for their new words is the one that counts."""
    driver = asked()
    driver.prompt("Yes")
    driver.client(True)
    driver.say("", wire())
    driver.prompt("Yes, please do")
    driver.client(False)
    wants(driver, wire())
    assert driver.started == ["wire"]


def test_consent_is_forgotten() -> None:
    """A call long after the question asks again."""
    driver = asked()
    for number in range(ANSWERS + 1):
        driver.prompt(f"What about {number}?")
        if number < ANSWERS:
            driver.say("Well.")
    wants(driver, wire())
    assert driver.started == []


def test_keys_are_an_answer() -> None:
    """To a question such as: press one to agree."""
    driver = asked()
    driver.press("1#")
    wants(driver, wire())
    assert driver.started == ["wire"]


def test_a_key_of_its_own_is_the_callers_will() -> None:
    """Nobody needs to ask."""
    driver = started(keys={"3": Key(tool="wire", arguments=AMOUNT)})
    driver.press("3")
    driver.reader()
    assert driver.started == ["wire"]


def test_what_follows_a_deed_does_not_follow_a_question() -> None:
    """The model wants to act and to hang up: it does not hang up before it has asked."""
    driver = started()
    driver.prompt("Send it, and goodbye")
    driver.say("", wire(), call("end_call"))
    driver.reader()
    assert driver.started == [] and len(driver.rounds) == 1


def test_an_end_that_is_to_be_confirmed() -> None:
    """A terminal tool asks as well."""
    driver = asked(call("close_account"))
    assert driver.started == []
    driver.prompt("Yes")
    wants(driver, call("close_account"))
    driver.finish("close_account", done("{}", EndCall()))
    assert driver.frames[-2] == "Goodbye then."


def test_a_turn_interrupted_inside_a_confirmed_tool_goes_on() -> None:
    """It is carried out once, and told."""
    driver = asked()
    driver.prompt("Yes")
    wants(driver, wire(), words="I am sending it now. ")
    driver.interrupt("I am")
    driver.finish("wire", done('"sent"'))
    driver.wait(2.1)
    assert driver.rounds == [StartTurn(2, 1)]
    driver.say("It is sent.")
    driver.prompt("Did you send it?")
    wants(driver, wire())
    assert driver.started == ["wire"] and outputs(driver)[-1] == '"sent"'
