"""Ratings of people, all of them made up: their file, the comparison with agents, and `rlli people`."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from rlli_core import Persona, PersonaAgent
from rlli_core.book import cli, ratings
from rlli_core.book.ratings import KINDS, Person
from rlli_core.errors import InvalidArgument, UnusableFile

COUNT = 24
ANSWERS = (5, 4, 3, 2, 1, 1, 3, 3, 2, 5)


def person(name="ann", answers=ANSWERS, made_up=True, **changed):
    values = np.arange(COUNT, dtype=float) % 11
    for place, value in changed.items():
        values[int(place[1:])] = value
    return Person(name, answers, values, made_up)


def tastes(people, seed=0):
    """Scores of agents that are none: a quality that all see, and a taste that only some share."""
    rng = np.random.default_rng(seed)
    return np.clip(0.5 + 0.1 * rng.standard_normal(COUNT) + 0.15 * rng.standard_normal((people, COUNT)), 0, 1)


class Agent:
    """Stands in for a persona agent: a score of traits and prompt."""

    def scores(self, images, personas, prompts):
        assert len(images) == len(personas) == len(prompts) and all(image.size == (128, 128) for image in images)
        told = [np.random.default_rng(sum(map(ord, f"{who}{asked}"))) for who, asked in zip(personas, prompts)]
        return [SimpleNamespace(value=rng.uniform()) for rng in told]


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setattr(PersonaAgent, "from_pretrained", lambda name: Agent())


def test_the_pictures_are_as_many_of_each_quality_and_all_differ():
    found = ratings.pictures()
    assert len(found) == COUNT == len({one.encoded for one in found})
    assert {one.image.size for one in found} == {(128, 128)}
    for name, places in (("bep", ratings.BEPS), ("device_steps", ratings.DEVICE_STEPS)):
        counts = [sum(getattr(one, name) == place for one in found) for place in places]
        assert counts == [COUNT // len(places)] * len(places)
    assert len({one.prompt for one in found}) >= 6


def test_two_statements_a_trait_are_keyed_each_way():
    assert len(ratings.STATEMENTS) == 10
    assert {(trait, key) for trait, key, _ in ratings.STATEMENTS} == {
        (t, k) for t in Persona.named("GA1").levels for k in (1, -1)
    }
    assert ratings.traits_of([5] * 10) == ratings.traits_of([1] * 10) == Persona.of([0.5] * 5)  # who agrees with all
    keyed = [5 if key > 0 else 1 for _, key, _ in ratings.STATEMENTS]
    assert ratings.traits_of(keyed) == Persona.of([1.0] * 5)
    assert ratings.traits_of([6 - answer for answer in keyed]) == Persona.of([0.0] * 5)
    assert ratings.traits_of([4, 3, 3, 3, 3, 3, 3, 3, 3, 3]) == Persona.of([0.625, 0.5, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("made_up", [False, True])
def test_a_file_comes_back_as_it_was_written(tmp_path, made_up):
    path = tmp_path / "ann.csv"
    path.write_text(person(made_up=made_up, _3=np.nan).text())
    got = ratings.read(path)
    assert (got.name, got.answers, got.made_up) == ("ann", ANSWERS, made_up)
    np.testing.assert_array_equal(got.ratings, person(_3=np.nan).ratings)
    assert path.read_text().splitlines()[0].startswith(f"# rlli ratings 1; form {ratings.form()}; a ")


def test_a_file_that_a_spreadsheet_saved_again_or_sorted_is_read(tmp_path):
    head, columns, *lines = person().text().splitlines()
    path = tmp_path / "ann.csv"
    path.write_bytes("\r\n".join([f"\ufeff{head},,,", columns, *reversed(lines), ",,,", ""]).encode())
    np.testing.assert_array_equal(ratings.read(path).ratings, person().ratings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "not a file of the page"),
        (lambda text: "name,age\nann,3\n", "not a file of the page"),
        (lambda text: text.replace("ratings 1;", "ratings 2;"), "reads version 1"),
        (lambda text: text.replace(ratings.form(), "0123456789ab"), "other pictures"),
        (lambda text: text.replace("kind,number", "kind;number"), "second line must be kind,number,told,value"),
        (lambda text: "".join(text.splitlines(keepends=True)[:-1]), "'picture 24' is missing"),
        (lambda text: text + text.splitlines()[-1], "there twice"),
        (lambda text: text + 'picture,25,"a dog",3', "'picture 25' is missing or is not of the form"),
        (lambda text: text.replace('imagination.",5', 'imagination.",6'), "statement 1 has the value '6'; allowed are 1 to 5"),
        (lambda text: text.replace('imagination.",5', 'imagination.",'), "statement 1 has the value ''"),
        (lambda text: text.replace('imagination.",5', 'imagination.",²'), "statement 1 has the value '²'"),
        (lambda text: text.replace('",10\n', '",11\n'), "allowed are 0 to 10"),
        (lambda text: text.replace('",10\n', '",9.5\n'), "allowed are 0 to 10"),
        (lambda text: text.replace('"I have', 'I "have'), "statement|CSV"),
        (lambda text: person(**{f"_{i}": np.nan for i in range(13)}).text(), "rates 11 pictures; at least 12"),
        (lambda text: person(**{f"_{i}": 4 for i in range(COUNT)}).text(), "all pictures alike"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_that_names_it(tmp_path, change, message):
    path = tmp_path / "bob.csv"
    path.write_text(change(person().text()))
    if message == "statement|CSV":  # a stray quote changes nothing that counts
        assert ratings.read(path).answers == ANSWERS
        return
    with pytest.raises(UnusableFile, match=message) as refused:
        ratings.read(path)
    assert str(refused.value).startswith("bob.csv") and "\n" not in str(refused.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "bob.csv").write_bytes(b"\xff\xfe\x00PNG")
    (tmp_path / "dir.csv").mkdir()
    people, refused = ratings.read_all(tmp_path)
    assert people == [] and "UTF-8" in refused["bob.csv"] and "cannot be read" in refused["dir.csv"]


def test_correlations_are_pearsons_of_the_rated_pictures_and_a_wrong_person_has_other_traits():
    answers = [*ratings.made_up_answers(4, 0)[:3], ANSWERS, ANSWERS]
    scores = tastes(5)
    scores[4] = scores[3]
    people = ratings.made_up(KINDS[0], answers, scores, 1.5, 0)
    people[0].ratings[5:9] = np.nan
    table = ratings.compare(people, scores)
    there = ~np.isnan(people[0].ratings)
    expected = [np.corrcoef(people[0].ratings[there], row[there])[0, 1] for row in scores]
    assert table.own.iloc[0] == pytest.approx(expected[0]) and table.rated.tolist() == [20, 24, 24, 24, 24]
    assert table.others.iloc[0] == pytest.approx(np.mean(expected[1:]))
    last = [np.corrcoef(people[4].ratings, row)[0, 1] for row in scores]
    assert table.others.iloc[4] == pytest.approx(np.mean(last[:3]))  # the fourth has the same traits
    assert (table.own_low < table.own).all() and (table.own < table.own_high).all()
    assert np.isnan(ratings.compare(people[3:], scores[3:]).gain).all()
    assert not ratings.compare(people[3:], scores[3:]).recognised.any()


def test_intervals_are_those_of_scipys_bootstrap():
    from scipy import stats

    scores, answers = tastes(2), ratings.made_up_answers(2, 0)
    person_ = ratings.made_up(KINDS[0], answers, scores, 2.0, 1)[0]
    row = ratings.compare([person_], scores[:1]).iloc[0]
    other = stats.bootstrap(
        (person_.ratings, scores[0]), lambda x, y: np.corrcoef(x, y)[0, 1], paired=True, vectorized=False, n_resamples=2000,
        method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert (row.own_low, row.own_high) == pytest.approx((other.low, other.high), abs=0.04)


def test_who_rates_as_their_agent_is_recognised_and_who_rates_by_chance_is_not():
    answers, scores = ratings.made_up_answers(60, 1), tastes(60)
    found = {kind: ratings.compare(ratings.made_up(kind, answers, scores, 1.0, 2), scores) for kind in KINDS}
    assert found[KINDS[0]].recognised.mean() > 0.9 and found[KINDS[0]].gain.mean() > 0.3
    for kind in KINDS[1:]:
        assert found[kind].recognised.mean() < 0.15 and abs(found[kind].gain.mean()) < 0.1
    assert all(table.made_up.all() for table in found.values())


@pytest.mark.slow
def test_with_the_embedded_agent_too():
    agent, answers = PersonaAgent.from_pretrained("embedded"), ratings.made_up_answers(20, 1)
    scores = ratings.agent_scores(agent, [ratings.traits_of(one) for one in answers])
    assert scores.shape == (20, COUNT) and (scores.std(1) > 0.03).all()
    first = ratings.pictures()[7]
    assert scores[2, 7] == pytest.approx(agent.score(first.image, ratings.traits_of(answers[2]), first.prompt).value, abs=1e-5)
    found = {kind: ratings.compare(ratings.made_up(kind, answers, scores, 1.0, 2), scores) for kind in (KINDS[0], KINDS[2])}
    assert found[KINDS[0]].recognised.mean() > 0.6 and found[KINDS[0]].gain.mean() > 0.2
    assert found[KINDS[2]].recognised.mean() < 0.2 and abs(found[KINDS[2]].gain.mean()) < 0.15


def test_the_calibration_finds_a_line_and_says_when_there_is_none():
    answers, scores, held = ratings.made_up_answers(30, 1), 0.4 + 0.4 * tastes(30), 0
    for seed in range(40):
        drawn = 2 + 5 * scores + 0.5 * np.random.default_rng(seed).standard_normal(scores.shape)
        drawn[::3, :4] = np.nan
        found = ratings.calibrate([Person("a", one, row) for one, row in zip(answers, drawn)], scores)
        assert found["slope"] == pytest.approx(0.5, abs=0.1) and found["intercept"] == pytest.approx(0.2, abs=0.05)
        assert 0.3 < found["slope_low"] < found["slope"] < found["slope_high"] < 0.7
        held += found["slope_low"] < 0.5 < found["slope_high"]
    assert held >= 33  # of 40: intervals of 95 % from two dozen pictures are a little narrow
    assert found["error_line"] == pytest.approx(0.05, abs=0.01)
    assert found["error_line"] < min(found["error_mean"], found["error_score"])
    there = ~np.isnan(drawn)
    assert (found["slope"], found["intercept"]) == pytest.approx(np.polyfit(scores[there], drawn[there] / 10, 1))
    none = ratings.calibrate(ratings.made_up(KINDS[2], answers, scores, 0, 0), scores)
    assert none["slope_low"] < 0 < none["slope_high"] and none["error_line"] > none["error_mean"] - 0.002


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [(("friend", 1.0, 0), "their own agent"), ((KINDS[0], -1.0, 0), "noise"), ((KINDS[0], 1.0, -1), "seed")],
)
def test_made_up_people_refuse_what_there_is_not(arguments, allowed):
    kind, noise, seed = arguments
    with pytest.raises(InvalidArgument, match=allowed):
        ratings.made_up(kind, [ANSWERS], tastes(1), noise, seed)


def test_the_command_reads_what_it_can_and_names_the_rest(tmp_path, stub, capsys):
    others = ratings.made_up_answers(2, 3)
    for name, answers in zip(("ann", "cem"), others):
        (tmp_path / f"{name}.csv").write_text(person(answers=answers).text())
    assert cli.main(["people", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "ann" in shown and "cem" in shown and "2 of 2 are made up: not data of people" in shown
    assert "Calibration over all" in shown and "Mean difference over people" in shown
    (tmp_path / "bob.csv").write_text("hello\n")
    assert cli.main(["people", str(tmp_path), "--json"]) == 1
    output = capsys.readouterr()
    told = json.loads(output.out)
    assert [one["person"] for one in told["people"]] == ["ann", "cem"] and list(told["refused"]) == ["bob.csv"]
    assert output.err.count("\n") == 1 and output.err.startswith("rlli: bob.csv is not a file of the page")
    assert told["people"][0]["gain"] == pytest.approx(told["people"][0]["own"] - told["people"][0]["others"])


def test_one_person_is_told_that_nobody_is_there_to_compare_with(tmp_path, stub, capsys):
    (tmp_path / "ann.csv").write_text(person(made_up=False).text())
    assert cli.main(["people", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "two people are needed" in shown and "nan" not in shown and "made up" not in shown
    assert cli.main(["people", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["people"][0]["gain"] is None


def test_no_folder_and_no_file_are_errors(tmp_path, capsys):
    assert cli.main(["people", str(tmp_path / "none")]) == 2
    assert cli.main(["people", str(tmp_path)]) == 1
    assert "no CSV file that can be used" in capsys.readouterr().err
