"""The notebooks' configuration: refuses what it does not know and does not change."""

import math

import pytest

from rlli_core.book.runner.config import NotebookConfig, choice, each, number, text, whole
from rlli_core.errors import InvalidArgument

RULES = dict(steps=whole(0, 50), bep=number(0, 0.5), prompt=text(), seeds=each(whole()), modulation=choice("bpsk", "qpsk"))
VALUES = dict(steps=4, bep=0.03, prompt="a tiger", seeds=[1, 2], modulation="bpsk")


def test_good_values_come_back_frozen():
    config = NotebookConfig.of(VALUES, **RULES)
    assert (config.steps, config.bep, config.prompt, config.modulation) == (4, 0.03, "a tiger", "bpsk")
    assert config.seeds == (1, 2)
    with pytest.raises(AttributeError, match="frozen"):
        config.steps = 5
    with pytest.raises(AttributeError, match="frozen"):
        del config.steps


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("steps", value) for value in (-1, 51, 4.0, True, "4", None)],
        *[("bep", value) for value in (-0.1, 0.51, math.nan, "0.1")],
        *[("prompt", value) for value in ("", "  ", 3)],
        *[("seeds", value) for value in ([], 3, "12", [1, -1], [1, "2"])],
        ("modulation", "16qam"),
    ],
)
def test_a_value_outside_its_rule_is_refused_by_name(name, value):
    with pytest.raises(InvalidArgument, match=f"^{name}"):
        NotebookConfig.of({**VALUES, name: value}, **RULES)


def test_missing_and_unknown_parameters_are_refused():
    with pytest.raises(InvalidArgument, match="stepz.*steps, bep, prompt"):
        NotebookConfig.of({**VALUES, "stepz": 3}, **RULES)
    with pytest.raises(InvalidArgument, match="steps=None"):
        NotebookConfig.of({name: value for name, value in VALUES.items() if name != "steps"}, **RULES)


def test_a_notebooks_namespace_is_read_on_the_first_and_on_later_runs():
    namespace = {**VALUES, "__name__": "__main__", "_": 3, "In": [], "Out": {}, "math": math, "text": text}
    namespace["config"] = NotebookConfig.of(namespace, **RULES)
    namespace["scores"] = [0.5]  # a later cell's own name
    namespace["steps"] = 5
    assert NotebookConfig.of(namespace, **RULES).steps == 5
    namespace["steps"] = 500
    with pytest.raises(InvalidArgument):
        NotebookConfig.of(namespace, **RULES)


def test_imported_constants_are_not_parameters():
    assert NotebookConfig.of({"seed": 7, "PAPER_POWERS": (18, 21)}, seed=whole(0)).seed == 7


def test_a_text_may_be_allowed_to_be_empty():
    assert text(empty=True)("folder", "") == ""
    for rule, value in ((text(), " "), (text(empty=True), None)):
        with pytest.raises(InvalidArgument, match="folder"):
            rule("folder", value)
