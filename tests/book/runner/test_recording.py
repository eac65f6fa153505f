"""`say` shows what was measured, and nothing else."""

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter

from rlli_core.book import say
from rlli_core.errors import InvalidArgument


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, as the mime types a kernel sends."""
    bundles = []
    monkeypatch.setattr("IPython.display.display", lambda thing: bundles.append(DisplayFormatter().format(thing)[0]))
    return bundles


def test_it_is_markdown_and_the_same_as_plain_text(shown):
    say("**{who}** loses {lost:.2f} up to {limit:.0%}.", who="user 2", lost=np.float32(0.0213), limit=0.03)
    assert shown == [dict.fromkeys(["text/markdown", "text/plain"], "**user 2** loses 0.02 up to 3%.")]


@pytest.mark.parametrize("value", [float("nan"), np.inf, -np.float64("inf"), None, [0.1], 1j, np.array([0.1, 0.2])])
def test_only_finite_numbers_and_words_are_told(shown, value):
    with pytest.raises(InvalidArgument, match="lost"):
        say("It loses {lost}.", lost=value)
    assert not shown


@pytest.mark.parametrize(
    ("text", "values", "name"),
    [
        ("It loses {lost}.", {}, "lost"),
        ("It loses {lost}.", {"lost": 0.1, "limit": 0.03}, "limit"),
        ("It loses {lost.real}.", {"lost": 0.1}, "lost"),
        ("It loses {}.", {"lost": 0.1}, ""),
    ],
)
def test_fields_and_values_have_the_same_names(shown, text, values, name):
    with pytest.raises(InvalidArgument) as refused:
        say(text, **values)
    assert refused.value.name == name and not shown
