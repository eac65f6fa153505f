import numpy as np
import pytest

from rlli_core.errors import InvalidArgument
from rlli_core.qoe import Persona
from rlli_core.qoe.persona import people


def test_a_vector_has_the_papers_order():
    persona = Persona.of([0.1, 0.2, 0.3, 0.4, 0.5])
    assert persona == Persona(openness=0.1, conscientiousness=0.2, extraversion=0.3, agreeableness=0.4, neuroticism=0.5)
    assert persona.vector == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert Persona.of(np.array([0.1, 0.2, 0.3, 0.4, 0.5])) == persona


@pytest.mark.parametrize(
    ("value", "level"), [(0, "very low"), (0.19, "very low"), (0.2, "low"), (0.5, "middling"), (0.79, "high"), (1, "very high")]
)
def test_levels_are_fifths(value, level):
    assert Persona(value, 0.5, 0.5, 0.5, 0.5).levels["openness"] == level


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "0.5", None, True])
def test_a_trait_outside_its_range_is_refused(value):
    with pytest.raises(InvalidArgument, match="agreeableness"):
        Persona(0.5, 0.5, 0.5, value, 0.5)


@pytest.mark.parametrize("vector", [[0.5] * 4, [0.5] * 6, "01234", None, 0.5])
def test_a_vector_of_another_length_is_refused(vector):
    with pytest.raises(InvalidArgument, match="five numbers"):
        Persona.of(vector)


def test_the_people_of_the_paper_are_here():
    assert Persona.named("GA1").vector == (0.1, 0.8, 0.7, 0.8, 0.1)
    assert Persona.named("GA2").vector == (0.9, 0.2, 0.1, 0.1, 0.5)
    assert [Persona.named(f"user {k}").vector[0] for k in range(1, 6)] == [0.65, 0.4, 0.8, 0.8, 0.68]
    assert all(one["title"] and one["source"] for one in people().values())
    with pytest.raises(InvalidArgument, match="one of GA1, GA2"):
        Persona.named("GA3")


@pytest.mark.parametrize("name", list(people()))
def test_titles_do_not_contradict_the_vector(name):
    """Words of a title against the trait they speak of."""
    words = {"curious": ("openness", 1), "orderly": ("conscientiousness", 1), "kind": ("agreeableness", 1), "calm": ("neuroticism", -1),
             "blunt": ("agreeableness", -1), "worried": ("neuroticism", 1), "outgoing": ("extraversion", 1), "quiet": ("extraversion", -1),
             "reserved": ("extraversion", -1), "known": ("openness", -1), "themselves": ("extraversion", -1)}  # fmt: skip
    spoken = [words[word] for word in words if word in people()[name]["title"]]
    assert spoken
    for trait, sign in spoken:
        assert sign * (getattr(Persona.named(name), trait) - 0.5) > 0
