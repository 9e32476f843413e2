"""Rehearsal scripts: which line is said, what is remembered, what is called, and what is wrong in a file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI

from phone.endpoint.checks import Ask, check
from phone.endpoint.rules import ScriptError, fill
from phone.model import Rehearsal, Rehearsals, Reply, rehearsal_server

AGENTS = Path(__file__).parents[2] / "config" / "agents"
TOOLS = ("save_name", "end_call", "transfer_to_human", "look", "list")
GREETING = ("assistant", "Hello! Thank you for calling. May I have your first and last name?")
CUT = ("note", "Your last words were cut off.")


def ask_of(*said: Any, tools: tuple[str, ...] = TOOLS, **fields: Any) -> Ask:
    """A request from (kind, words); a call is ("call", name, result)."""
    items: list[Any] = []
    for number, entry in enumerate(said):
        if entry[0] == "call":
            call = {"call_id": f"call_{number}", "name": entry[1], "arguments": "{}"}
            result = entry[2] if isinstance(entry[2], str) else orjson.dumps(entry[2]).decode()
            items.append({"type": "function_call", **call})
            items.append({"type": "function_call_output", "call_id": f"call_{number}", "output": result})
        else:
            items.append({"role": "developer" if entry[0] == "note" else entry[0], "content": entry[1]})
    specs = [{"type": "function", "name": name, "parameters": None} for name in tools]
    body = {"model": "rehearsal", "instructions": "Be kind.", "input": items, "tools": specs, **fields}
    return check("responses", body)


def script(text: str) -> Rehearsal:
    return Rehearsal.parse(tomllib.loads(text))


def calls(reply: Reply) -> list[tuple[str, Any]]:
    return [(use.name, orjson.loads(use.arguments)) for use in reply.tools]


PLAIN = """
first = ""
otherwise = ["What?", "Pardon?"]
[[rules]]
hear = ["tell a joke", "joke please"]
say = ["One.", "Two."]
[[rules]]
match = 'pizza (?P<size>\\w+)'
say = "A {size:title} pizza for {name}."
[[rules]]
match = 'pizza'
say = "Which pizza?"
[[rules]]
hear = "my name is {name}"
say = "Hello {name:title}, {name:spell}."
[[rules]]
note = 'pressed (?P<key>\\d)'
say = "Key {key}."
"""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Tell, a JOKE!", "One."),
        ("Please tell a joke now", "One."),
        ("joke, please.", "One."),
        ("tell a joker", "What?"),
        ("Foretell a joke", "What?"),
        ("Pizza large", "Which pizza?"),
        ("My name is ann.", "Hello Ann, A, N, N."),
        ("", "What?"),
    ],
)
def test_the_first_rule_that_applies_is_played(said: str, words: str) -> None:
    """Words are found whole, in any case, with anything between them; without a rule the default is said."""
    assert script(PLAIN)(ask_of(("user", said))).text == words


def test_repeated_questions_get_the_next_words() -> None:
    """A rule's words are taken in turn, by how often it applied before in this conversation; so are the defaults."""
    said: list[Any] = []
    heard = []
    for words in ("tell a joke", "hm", "joke please", "hm?", "tell a joke", "hm!"):
        said.append(("user", words))
        heard.append(script(PLAIN)(ask_of(*said)).text)
        said.append(("assistant", heard[-1]))
    assert heard == ["One.", "What?", "Two.", "Pardon?", "One.", "What?"]


def test_what_was_taken_stays_known() -> None:
    """A rule that needs a name applies once it was given, and uses the latest."""
    reply = script(PLAIN)
    assert reply(ask_of(("user", "pizza small"))).text == "Which pizza?"
    earlier = [("user", "my name is bo"), ("assistant", "Hello"), ("user", "my name is Ann"), ("assistant", "Hello")]
    assert reply(ask_of(*earlier, ("user", "pizza small"))).text == "A Small pizza for Ann."


def test_a_note_is_answered() -> None:
    """A key press that reached the model as a note has its rule; other notes are passed over."""
    assert script(PLAIN)(ask_of(("user", "hm"), ("note", "The caller pressed 7 on the keypad."))).text == "Key 7."
    assert script(PLAIN)(ask_of(("note", "The caller pressed 7."), ("user", "joke please"))).text == "One."
    assert script(PLAIN)(ask_of(("user", "joke please"), ("note", "It is late."))).text == "One."


def test_a_cut_line_goes_on_where_it_was_cut() -> None:
    """Asked again after a cut, the rest of the line is said; a line that was somebody else's is said whole."""
    text = 'first = "No model."\n[[rules]]\nhear = "story"\nsay = "Once there was a keeper of a light."'
    story = ("user", "a story")
    assert script(text)(ask_of(story)).text == "No model. Once there was a keeper of a light."
    cut = ask_of(story, ("assistant", "No model. Once there"), CUT)
    assert script(text)(cut).text == "was a keeper of a light."
    other = ask_of(story, ("assistant", "I am sorry, a moment."), CUT)
    assert script(text)(other).text == "No model. Once there was a keeper of a light."


def test_that_no_model_is_connected_is_said_once() -> None:
    """The first words say it, and no later ones: not after a greeting only, but after any line of the script's."""
    reply = Rehearsal()
    assert str(reply(ask_of(GREETING, ("user", "Hi"))).text).startswith("No model is connected")
    heard = ("assistant", "No model is conn")
    assert not str(reply(ask_of(GREETING, ("user", "Hi"), heard, ("user", "Well?"))).text).startswith("No model")
    later = ("assistant", "I have no line rehearsed for that.")
    assert not str(reply(ask_of(("user", "Hi"), later, ("user", "Well?"))).text).startswith("No model")
    apology = ("assistant", "I am sorry, something went wrong.")
    assert str(reply(ask_of(GREETING, ("user", "Hi"), apology, ("user", "Well?"))).text).startswith("No model")


CALLING = """
first = ""
[[rules]]
hear = "my name is {first} {last}"
say = "One moment."
tool = "save_name"
args = { name = { first = "{first}", last = "{last:title}" }, tags = ["{first}", 1, true] }
after = "{message} Welcome, {first}."
[[rules]]
hear = "look both ways"
tools = [{ name = "look", args = { side = "left" } }, { name = "look", args = { side = "right" } }]
[[rules]]
hear = "look"
tool = "look"
[[rules]]
result = "look"
match = 'nothing'
say = "There is nothing. I will list."
tool = "list"
"""


def test_tools_are_called_with_what_was_taken() -> None:
    """Places in arguments are filled at any depth; words and calls come together; several calls may come at once."""
    reply = script(CALLING)(ask_of(("user", "my name is Ann lee")))
    assert reply.text == "One moment."
    assert calls(reply) == [("save_name", {"name": {"first": "Ann", "last": "Lee"}, "tags": ["Ann", 1, True]})]
    both = script(CALLING)(ask_of(("user", "look both ways")))
    assert calls(both) == [("look", {"side": "left"}), ("look", {"side": "right"})]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"message": "Saved Ann Lee."}, "Saved Ann Lee."),
        ({"error": "No room for names."}, "No room for names."),
        ({"status": "ok"}, "Done."),
        ("plain words", "plain words"),
        ('"quoted words"', "quoted words"),
        ("[1]", "Done."),
    ],
)
def test_results_are_read_back(result: Any, message: str) -> None:
    """The words after a tool hold its message, or what there is of one."""
    reply = script(CALLING)(ask_of(("user", "my name is Ann Lee"), ("call", "save_name", result)))
    assert (reply.text, reply.tools) == (f"{message} Welcome, Ann.", ())


def test_results_of_parallel_calls_are_read_back_together() -> None:
    """Every message is said, equal ones once; words said before the call do not come again."""
    said = [("user", "look both ways"), ("assistant", "I look.")]
    left, right = ("call", "look", {"message": "A door."}), ("call", "look", {"message": "A window."})
    assert script(CALLING)(ask_of(*said, left, right)).text == "A door. A window."
    assert script(CALLING)(ask_of(*said, left, left)).text == "A door."


def test_a_result_can_have_a_rule_of_its_own() -> None:
    """A rule on a result may speak and call again; one that does not match leaves the message."""
    reply = script(CALLING)(ask_of(("user", "look"), ("call", "look", {"message": "I see nothing."})))
    assert (reply.text, calls(reply)) == ("There is nothing. I will list.", [("list", {})])
    assert script(CALLING)(ask_of(("user", "look"), ("call", "look", {"message": "A door."}))).text == "A door."


def test_a_result_that_came_late_is_told() -> None:
    """When the last thing in the conversation is the model's own words, the result before them is told."""
    said = [("user", "look"), ("call", "look", {"message": "A door."}), ("assistant", "Still looking."), CUT]
    assert script(CALLING)(ask_of(*said)).text == "A door."


def test_new_words_go_before_an_old_result() -> None:
    """A result with newer words of the caller's behind it is not answered again."""
    said = [("user", "look"), ("call", "look", {"message": "A door."}), ("user", "my name is Bo Ek")]
    assert calls(script(CALLING)(ask_of(*said)))[0][0] == "save_name"


def test_tools_that_may_not_be_called_are_not() -> None:
    """A tool the request does not offer, or any with tool_choice none, is left out; there are words in any case."""
    look = ("user", "look")
    assert script(CALLING)(ask_of(look, tools=("list",))).tools == ()
    assert script(CALLING)(ask_of(look, tools=("list",))).text
    assert script(CALLING)(ask_of(look, tool_choice="none")).tools == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rule = 1", "unknown key 'rule'"),
        ("rules = 1", "[[rules]]"),
        ("otherwise = 5", "words"),
        ("[[rules]]\nsay = 'x'", "rule 1: needs one of"),
        ("[[rules]]\nhear = 'x'", "rule 1: needs say or tool"),
        ("[[rules]]\nhear = '!'\nsay = 'x'", "no words in '!'"),
        ("[[rules]]\nhear = 'x'\nsays = 'x'", "unknown key 'says'"),
        ("[[rules]]\nmatch = '('\nsay = 'x'", "bad regular expression '('"),
        ("[[rules]]\nhear = '{a} {a}'\nsay = 'x'", "bad regular expression"),
        ("[[rules]]\nhear = 'x'\nsay = [1]", "list of words"),
        ("[[rules]]\nhear = 'x'\ntools = ['a']", "a tool needs a name"),
        ("[[rules]]\nhear = 'x'\ntools = 5", "rule 1"),
        ("[[rules]]\nhear = 'x'\nsay = 'x'\nafter = 5", "after"),
        ("[[rules]]\nhear = 'x'\nsay = 'x'\nasked = '['", "bad regular expression '['"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(text: str, problem: str) -> None:
    """Each mistake is named with its rule."""
    with pytest.raises(ScriptError) as caught:
        script(text)
    assert problem in str(caught.value)


def test_all_mistakes_of_all_agents_are_said_at_once(tmp_path: Path) -> None:
    """Loading a folder reports every agent's mistakes together; an agent without a script has the built-in one."""
    for name, text in {"one": "x = 1\ny = 2", "two": "not toml", "three": ""}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "rehearsal.toml").write_text(text)
    (tmp_path / "four").mkdir()
    with pytest.raises(ScriptError) as caught:
        Rehearsals.load(tmp_path)
    assert len(caught.value.problems) == 3
    for name in ("one", "two"):
        (tmp_path / name / "rehearsal.toml").write_text('first = "Agent ' + name + '."')
    scripts = Rehearsals.load(tmp_path, default="two")
    assert scripts.models == {"rehearsal", *(f"rehearsal:{name}" for name in ("one", "two", "three", "four"))}
    assert str(scripts(ask_of(("user", "Hi"), model="rehearsal:one")).text).startswith("Agent one.")
    assert str(scripts(ask_of(("user", "Hi"))).text).startswith("Agent two.")
    assert str(scripts(ask_of(("user", "Hi"), model="rehearsal:four")).text).startswith("No model is connected")


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_filling_never_fails(words: str, values: dict[str, str]) -> None:
    """Any words with any values are words; without places they are the same."""
    filled = fill(words, values)
    if "{" not in words:
        assert filled == words


@given(
    st.lists(
        st.tuples(st.sampled_from(["user", "assistant", "note"]), st.text(max_size=30)).map(tuple)
        | st.sampled_from([("call", "save_name", {"message": "Saved."}), ("user", "my name is Ann Lee"), GREETING]),
        max_size=8,
    )
)
def test_there_is_always_an_answer(said: list[Any]) -> None:
    """Whatever the conversation is, the default agent's script has words or a call for it, without open places."""
    reply = Rehearsal.load(AGENTS / "default" / "rehearsal.toml")(ask_of(*said))
    assert reply.text or reply.tools
    if all("{" not in str(entry) for entry in said):
        assert "{" not in str(reply.text)


# -- the default agent


RESULTS = {
    "save_name": {"message": "I have saved your name, Ann Lee."},
    "transfer_to_human": {"message": "Nobody can be reached right now."},
    "end_call": {"message": "The call ends."},
}


class Conversation:
    """Talks with the default agent's script as a relay would, tools answered from a table."""

    def __init__(self) -> None:
        self.script = Rehearsal.load(AGENTS / "default" / "rehearsal.toml")
        self.said: list[Any] = [GREETING]
        self.called: list[tuple[str, Any]] = []

    def say(self, words: str, kind: str = "user") -> str:
        self.said.append((kind, words))
        heard = []
        while True:
            reply = self.script(ask_of(*self.said))
            if reply.text:
                heard.append(str(reply.text))
                self.said.append(("assistant", heard[-1]))
            if not reply.tools:
                return " ".join(heard)
            for name, arguments in calls(reply):
                self.called.append((name, arguments))
                self.said.append(("call", name, RESULTS[name]))


@pytest.mark.parametrize(
    "said",
    [
        ["My name is ann lee."],
        ["Hi, I'm Ann Lee, nice to meet you"],
        ["Ann Lee."],
        ["Ann", "Lee"],
        ["I'm Ann", "my last name is Lee"],
        ["My name is Ann", "it's Lee."],
        ["Yes.", "This is Ann Lee speaking"],
    ],
)
def test_the_default_agent_learns_a_name(said: list[str]) -> None:
    """First and last name are understood in the ways people give them, saved once, and the result is read back."""
    talk = Conversation()
    heard = [talk.say(words) for words in said]
    assert talk.called == [("save_name", {"first_name": "Ann", "last_name": "Lee"})]
    assert "I have saved your name, Ann Lee." in heard[-1]
    assert heard[0].startswith("No model is connected")


def test_the_default_agent_makes_small_talk() -> None:
    """Jokes vary, a name is spelled once known, a story is long enough to interrupt, keys are heard."""
    talk = Conversation()
    first, second = talk.say("Tell me a joke"), talk.say("Another joke please")
    assert first != second
    assert "not told me your name" in talk.say("Can you spell my name?")
    talk.say("I am Ann Lee")
    assert "A, N, N" in talk.say("Can you spell my name?")
    assert talk.say("Tell me a long story").count(". ") > 8
    assert "breeze" in talk.say("How is the weather?")
    assert "joke" in talk.say("What can you do?")
    assert "pressed 5" in talk.say("The caller pressed 5 on the keypad.", "note")
    assert [name for name, _ in talk.called] == ["save_name"]


@pytest.mark.parametrize(
    ("said", "kind", "wanted"),
    [
        ("the restaurant, please", "user", "restaurant"),
        ("I want to see an apartment", "user", "apartment"),
        ("the second", "user", "second"),
        ("I want to start over", "user", "default"),
        ("The caller pressed 2 on the keypad.", "note", "2"),
    ],
)
def test_the_default_agent_offers_the_demonstrations(said: str, kind: str, wanted: str) -> None:
    """They are named, and a choice is saved however it is made."""
    talk = Conversation()
    assert "an apartment search, and a restaurant" in talk.say("What demonstrations are there?")
    reply = talk.script(ask_of(*talk.said, (kind, said), tools=(*TOOLS, "choose_demo")))
    assert calls(reply) == [("choose_demo", {"agent": wanted})]


def test_the_default_agent_hands_over_and_hangs_up() -> None:
    """Asking for a person calls transfer_to_human with reason and summary; a goodbye is said before end_call."""
    talk = Conversation()
    assert "Nobody can be reached" in talk.say("I want to talk to a human")
    name, arguments = talk.called[0]
    assert (name, set(arguments)) == ("transfer_to_human", {"reason", "summary"})
    goodbye = talk.script(ask_of(*talk.said, ("user", "Okay, goodbye")))
    assert (goodbye.text, calls(goodbye)) == ("Thank you for calling. Goodbye!", [("end_call", {})])


async def test_the_rehearsal_endpoint_chooses_by_model_name() -> None:
    """Over HTTP the model name is ``rehearsal:<agent>``; the words come at a speaking pace and nothing is kept."""
    async with (
        rehearsal_server(AGENTS) as server,
        AsyncOpenAI(base_url=server.url, api_key="rehearsal", max_retries=0) as client,
    ):
        answer = await client.responses.create(model="rehearsal:default", input="Stop")
        assert answer.output_text.startswith("No model is connected")
        assert (server.total, len(server.requests)) == (1, 0)
    reply = Rehearsals.load(AGENTS)(ask_of(("user", "Stop")))
    assert (reply.first, reply.pace) == (0.25, 0.03)


def test_what_a_rule_took_from_a_result_stays_known() -> None:
    """A caller may mean what a tool has found, without saying it again."""
    rehearsal = script(
        """
first = ""
[[rules]]
result = "look"
match = '"slot":"(?P<slot>[^"]+)"'
say = "{message}"
[[rules]]
hear = "take it"
tool = "list"
args = { slot = "{slot}" }
"""
    )
    found = ("call", "look", {"slot": "ten", "message": "Ten is free."})
    assert rehearsal(ask_of(("user", "look"), found)).text == "Ten is free."
    taken = rehearsal(ask_of(("user", "look"), found, ("assistant", "Ten is free."), ("user", "I take it")))
    assert calls(taken) == [("list", {"slot": "ten"})]
    assert calls(rehearsal(ask_of(("user", "I take it")))) == []


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_what_stands_in_the_instructions_is_known(api: Any) -> None:
    """What ``told`` takes from them is known to every rule; a rule that needs it does not apply where it is missing."""
    rehearsal = script(
        """
first = ""
told = 'Topic: "(?P<topic>[^"]*)"'
[[rules]]
match = 'why'
say = "Because of {topic}."
[[rules]]
match = 'why'
say = "What is the topic?"
"""
    )
    for told, said in (('Be kind.\n\nTopic: "tea"\n', "Because of tea."), ("Be kind.", "What is the topic?")):
        body: dict[str, Any] = {"model": "rehearsal"}
        if api == "chat":
            body["messages"] = [{"role": "system", "content": told}, {"role": "user", "content": "Why?"}]
        else:
            body |= {"instructions": told, "input": [{"role": "user", "content": "Why?"}]}
        assert rehearsal(check(api, body)).text == said
    with pytest.raises(ScriptError, match="bad regular expression"):
        script("told = '('")
