"""The desk: which tool calls wait, run, are answered by an earlier one."""

from __future__ import annotations

from relay.desk import INTERRUPTED, SIBLING_FAILED, STILL_RUNNING, Desk, Work
from relay.toolbox import ToolOutcome, ToolPolicy
from tests.relay.driver import POLICIES, call, canonical, done


def desk() -> Desk:
    return Desk(lambda name: POLICIES.get(name, ToolPolicy()), canonical)


def begun(desk: Desk, turn: int, *, round: int = 0, free: bool = True) -> list[str]:
    return [work.call.name for work in desk.startable(turn, round, free) if work.state == "running"]


def test_work_is_on_record_with_a_placeholder_from_the_first_moment() -> None:
    """A call never stands without a result."""
    work = desk().add(4, call("look_up", '{"a":1}', "call_1"), 1, 0)
    item = work.item()
    assert (item.call_id, item.name, item.arguments, item.round) == ("call_1", "look_up", '{"a":1}', 0)
    assert (item.output, item.status) == (STILL_RUNNING, "running")


def test_the_result_replaces_the_placeholder() -> None:
    """With what became of it."""
    held = desk()
    held.add(4, call("look_up"), 1, 0)
    (work,) = held.finish(4, done('"nine"'))
    assert (work.item().output, work.item().status) == ('"nine"', "done")
    held.add(5, call("look_up"), 1, 0)
    (work,) = held.finish(5, done('"no"', ok=False))
    assert work.item().status == "failed"


def test_a_tool_without_side_effect_starts_at_once() -> None:
    """Whether or not the caller is quiet; once."""
    held = desk()
    held.add(1, call("look_up"), 1, 0)
    assert begun(held, 1, free=False) == ["look_up"]
    assert begun(held, 1) == []


def test_a_side_effect_waits_until_it_is_free_to_start() -> None:
    """What cannot be taken back."""
    held = desk()
    held.add(1, call("book"), 1, 0)
    assert begun(held, 1, free=False) == []
    assert begun(held, 1) == ["book"]


def test_another_turns_work_does_not_start() -> None:
    """Nor that of another round."""
    held = desk()
    held.add(1, call("look_up"), 1, 0)
    assert begun(held, 2) == []
    assert begun(held, 1, round=1) == []


def test_a_terminal_tool_starts_when_its_siblings_are_over() -> None:
    """And not before."""
    held = desk()
    held.add(1, call("end_call"), 1, 0)
    held.add(2, call("look_up"), 1, 0)
    assert begun(held, 1) == ["look_up"]
    held.finish(2, done())
    assert begun(held, 1, free=False) == []
    assert begun(held, 1) == ["end_call"]


def test_a_terminal_tool_is_not_run_when_a_sibling_failed() -> None:
    """It is finished with a result that says so."""
    held = desk()
    terminal = held.add(1, call("end_call"), 1, 0)
    held.add(2, call("look_up"), 1, 0)
    assert begun(held, 1) == ["look_up"]
    held.finish(2, done(ok=False))
    assert list(held.startable(1, 0, True)) == [terminal]
    assert terminal.outcome == SIBLING_FAILED
    assert not held.unfinished(1)


def test_a_failure_in_an_earlier_round_does_not_stop_a_terminal_tool() -> None:
    """Only siblings count: the model has seen the failure and decided."""
    held = desk()
    held.add(1, call("look_up"), 1, 0)
    assert begun(held, 1) == ["look_up"]
    held.finish(1, done(ok=False))
    held.add(2, call("end_call"), 1, 1)
    assert begun(held, 1, round=1) == ["end_call"]


def test_work_is_finished_once() -> None:
    """A second outcome, or one of unknown work, changes nothing."""
    held = desk()
    held.add(1, call("look_up"), 1, 0)
    assert len(held.finish(1, done('"a"'))) == 1
    assert held.finish(1, done('"b"')) == []
    assert held.finish(99, done()) == []
    assert held.work[1].item().output == '"a"'


def test_abandoned_work_ends_but_for_side_effects_begun() -> None:
    """(what ended, what of it had been running)."""
    held = desk()
    running = held.add(1, call("look_up"), 1, 0)
    side_effect = held.add(2, call("book"), 1, 0)
    waiting = held.add(3, call("end_call"), 1, 0)
    begun(held, 1)
    assert held.abandon(1) == ([running, waiting], [running])
    assert (running.item().status, running.item().output) == ("interrupted", INTERRUPTED)
    assert side_effect.state == "running"
    assert held.running_effects()
    assert held.finish(1, done()) == []
    assert held.finish(2, done()) == [side_effect]
    assert not held.running_effects()


def test_a_side_effect_not_begun_never_happens() -> None:
    """Its turn was superseded while it was held."""
    held = desk()
    held.add(1, call("book"), 1, 0)
    held.abandon(1)
    assert begun(held, 1) == []


def twice(held: Desk, *, arguments: str = '{"b":2,"a":1}', name: str = "book") -> Work:
    """The call of turn 1, made again in turn 2."""
    return held.add(2, call(name, arguments), 2, 0)


def first(held: Desk, name: str = "book") -> Work:
    work = held.add(1, call(name, '{"a":1,"b":2}'), 1, 0)
    begun(held, 1)
    return work


def test_a_repeated_call_of_a_disturbed_turn_is_answered_by_the_first() -> None:
    """Finished: at once; the arguments may be spelt otherwise."""
    held = desk()
    first(held)
    held.finish(1, done('"table 5"'))
    held.disturb(1)
    again = twice(held)
    assert (again.state, again.item().output) == ("finished", '"table 5"')


def test_a_repeated_call_of_one_still_running_ends_with_it() -> None:
    """Both get the result, and it runs once."""
    held = desk()
    work = first(held)
    held.abandon(1)
    again = twice(held)
    assert begun(held, 2) == []
    assert held.unfinished(2)
    assert held.finish(1, done('"table 5"')) == [work, again]
    assert again.item().output == '"table 5"'


def test_other_arguments_another_wish() -> None:
    """Only the same call is answered from the account."""
    held = desk()
    first(held)
    held.abandon(1)
    assert twice(held, arguments='{"a":7}').state == "held"
    assert twice(held, name="pay").state == "held"


def test_a_repeated_call_without_side_effect_runs_again() -> None:
    """There is no harm in it."""
    held = desk()
    first(held, "look_up")
    held.finish(1, done())
    held.disturb(1)
    assert twice(held, name="look_up").state == "held"


def test_a_repeated_call_of_the_same_turn_is_answered_by_the_first() -> None:
    """One turn is one request: what was done for it is not done again, in a later round or beside it."""
    held = desk()
    first(held)
    held.finish(1, done('"table 5"'))
    assert held.add(2, call("book", '{"a":1,"b":2}'), 1, 1).item().output == '"table 5"'


def test_equal_calls_of_one_round_run_once() -> None:
    """The second waits for the first and gets its result."""
    held = desk()
    works = [held.add(key, call("book", '{"a":1}'), 1, 0) for key in (1, 2)]
    assert list(held.startable(1, 0, True)) == works[:1]
    assert held.finish(1, done('"table 5"')) == works
    assert [work.item().output for work in works] == ['"table 5"'] * 2


def test_a_failed_call_answers_nothing() -> None:
    """Trying again is what is wanted then."""
    held = desk()
    first(held)
    held.finish(1, done(ok=False))
    assert held.add(2, call("book", '{"a":1,"b":2}'), 1, 1).state == "held"


def test_an_undisturbed_end_closes_the_account() -> None:
    """The same call from then on is a new wish."""
    held = desk()
    first(held)
    held.finish(1, done())
    held.disturb(1)
    held.settle()
    assert twice(held).state == "held"


def test_the_account_of_work_still_running_stays_open() -> None:
    """Made again while the first runs, it would be done twice."""
    held = desk()
    first(held)
    held.abandon(1)
    held.settle()
    again = twice(held)
    assert begun(held, 2) == []
    assert again in held.finish(1, done())


def test_finished_work_is_forgotten_when_a_turn_ends_undisturbed() -> None:
    """A long call does not grow."""
    held = desk()
    for key in range(10):
        held.add(key, call("look_up"), key, 0)
        held.finish(key, done())
        held.settle()
    assert held.work == {}


def test_a_call_nobody_is_certain_of_is_not_repeated() -> None:
    """It may have had its effect: the same call made again gets the same answer."""
    held = desk()
    first(held)
    held.finish(1, ToolOutcome('"no answer"', ok=False, certain=False))
    assert held.add(2, call("book", '{"a":1,"b":2}'), 1, 1).item().output == '"no answer"'
