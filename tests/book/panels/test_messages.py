"""What crosses between Python and JavaScript has the same fields on both sides."""

import re
from dataclasses import fields

import pytest

from rlli_core.book.panels.messages import Choice, Message, Picture, State, User, camel_case
from rlli_core.book.panels.widget import STATIC
from rlli_core.errors import InvalidArgument

STATE = {"serverPrompt": "a", "sharedSteps": 2, "channel": 1, "seed": 4, "receiver": "paper", "users": []}


def declared():
    """Name of each `@typedef` of the panel's sources to the names of its properties."""
    text = (STATIC / "sources.mjs").read_text()
    parts = re.split(r"@typedef \{object\} (\w+)", text.split("*/")[0])[1:]
    return {name: re.findall(r"@property \{.+?\} (\w+)", part) for name, part in zip(parts[::2], parts[1::2])}


def test_both_languages_declare_the_same_fields():
    ours = {cls.__name__: [camel_case(field.name) for field in fields(cls)] for cls in Message.__subclasses__()}
    assert declared() == ours and set(ours) == {"User", "State", "Picture", "Choice", "Channel", "Config"}


def test_a_record_comes_back_as_it_was_sent():
    state = State("a", 3, 1, 7, "noise-aware", (User("a", 4, 0.03, 800, "GA1", False), User("b", 8, 0.0, None, "GA2", True)))
    told = state.told()
    expected = {"prompt": "b", "deviceSteps": 8, "bep": 0.0, "restart": None, "person": "GA2", "alone": True}
    assert told["users"][1] == expected
    assert State.of(told) == state
    expected = {"stage": "sent", "device": None, "lowest": None, "flipped": None, "scores": {}}
    assert Picture("sent", None, None, None, {}).told() == expected
    assert Choice(1, (2, 3), (4.0, 5.0), (0.1, 0.2)).told()["powersW"] == [4.0, 5.0]


@pytest.mark.parametrize("change", [{"shared": 1}, {"users": [{"prompt": "a"}]}])
def test_other_fields_are_refused(change):
    with pytest.raises(InvalidArgument, match="the fields"):
        State.of(STATE | change)
    with pytest.raises(InvalidArgument, match="the fields"):
        State.of({name: value for name, value in STATE.items() if name != "seed"})
