"""What ways to serve bring and cost: by hand on a table in which all lines are straight, and how the results are read."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rlli_core.allocation import TableQoE, pays
from rlli_core.errors import InvalidArgument, ModelNotFound

STRATEGIES = list(pays.STRATEGIES)
MEASURES = list(pays.MEASURES)


GROUPS = ((0, 1, 4), (2, 3))


@pytest.fixture
def tables(made, monkeypatch):
    """The table by seeds, its shared rows up or down by some for each; `same` makes one table of it for all."""

    def make(same=False):
        monkeypatch.setattr(
            pays, "_table", lambda seeds: replace(TableQoE.load(made, seeds=None if same else seeds), groups=GROUPS)
        )

    make()
    return make


def test_what_is_kept_of_a_setting_gives_it_back():
    assert [pays.setting_of(np.array(pays._row(setting))) for setting in pays.SETTINGS] == pays.SETTINGS
    assert pays.Setting() in pays.SETTINGS and len(set(pays.SETTINGS)) == len(pays.SETTINGS)
    with pytest.raises(InvalidArgument, match="wish='distant'"):
        pays.Setting(wish="distant")


def test_costs_by_hand_and_nobody_who_may_stay_alone_is_worse_off(tables):
    setting = pays.Setting(device_budget=3.0, server_budget=4.0, gain_db=40.0)
    made = dict(zip(STRATEGIES, pays.measure(setting)))
    assert made[pays.ALONE].shape == (len(GROUPS), len(MEASURES))
    for name in (pays.GRID, pays.START, pays.ALONE):  # more steps are always better here
        costs = dict(zip(MEASURES, made[name].mean(0)))
        assert costs["device_j"] == pytest.approx(3 * 3.6) and costs["latency_s"] == pytest.approx(3 * 0.575)
        assert costs["server_j"] == costs["radio_j"] == costs["shared_steps"] == costs["shares"] == 0
    everybody = made["all share, paper's hand-off"]
    assert (everybody[:, MEASURES.index("shares")] == 1).all() and (everybody[:, MEASURES.index("shared_steps")] >= 1).all()
    assert everybody[:, MEASURES.index("server_j")] == pytest.approx(everybody[:, MEASURES.index("shared_steps")] * 9.7 / 3)
    by_others = made[pays.PAPER][:, 0].mean()
    tables(same=True)
    made = dict(zip(STRATEGIES, pays.measure(setting)))
    assert by_others < made[pays.PAPER][:, 0].mean()  # chosen and scored by the same pictures it looks better
    for name in (pays.PAPER, pays.OURS):
        assert (made[name][:, 0] >= made[pays.ALONE][:, 0] - 1e-6).all()


def test_all_may_want_the_servers_picture_and_members_come_again(tables):
    service = pays.Service(pays._config(pays.Setting(users=4), {}), pays._table((0,)))
    states = pays._states(service, pays.Setting(users=4))
    assert states.prompts[:: pays.PEOPLE].tolist() == [[0, 1, 4, 1], [2, 3, 3, 3]]
    assert pays._states(service, pays.Setting(users=4, wish="same")).prompts[-1].tolist() == [2] * 4


def test_gain_is_against_the_same_group_alone_at_its_best_start(tmp_path):
    values = np.random.default_rng(0).random((2, len(STRATEGIES), 3, len(MEASURES)))
    table = pays.frame([pays.Setting(), pays.Setting(users=2)], values, np.array([True, False, True]), np.arange(3))
    row = table[(table.setting == 1) & (table.group == 2) & (table.strategy == pays.OURS)].iloc[0]
    alone = values[1, STRATEGIES.index(pays.ALONE), 2, 0]
    assert row.gain == pytest.approx(values[1, STRATEGIES.index(pays.OURS), 2, 0] - alone)
    assert (row.users, row.unseen, row.distance) == (2, True, 2)
    assert pays.at(table, users=2).setting.unique().tolist() == [1]
    assert set(pays.at(table, users=None).setting) == {0, 1}
    with pytest.raises(ModelNotFound, match=r"allocation\.pays"):
        pays.read(tmp_path / "none.npz")


def test_energy_at_a_score_lies_on_the_line_between_the_cheapest_settings():
    table = pd.DataFrame({"setting": [0, 1, 2, 3], "device_j": [1.0, 2.0, 3.0, 4.0], "qoe": [0.2, 0.4, 0.3, 0.6]})
    assert pays.energy_at(table, "device_j", np.array([0.1, 0.3, 0.5])) == pytest.approx([1.0, 1.5, 3.0])
    assert np.isnan(pays.energy_at(table, "device_j", 0.7))


def test_what_is_saved_at_equal_score_is_found_for_each_draw_of_groups():
    settings = [pays.Setting(device_budget=steps) for steps in (1, 2, 4)]
    values = np.zeros((3, len(STRATEGIES), 4, len(MEASURES)))
    values[..., 0] = np.array([0.2, 0.4, 0.6])[:, None, None]
    values[..., 1] = np.array([1.0, 2.0, 4.0])[:, None, None]
    values[:, STRATEGIES.index(pays.OURS), :, 0] = np.array([0.4, 0.6, 0.6])[:, None]
    table = pays.frame(settings, values)
    assert pays.saved(table, pays.OURS, "device_j", 2.0, draws=20) == pytest.approx((0.5, 0.5, 0.5))
    assert pays.saved(table, "alone, own grid", "total_j", 2.0, draws=20)[0] == pytest.approx(0)
    values[..., 3] = 3.0  # joules of the radio, for all
    values[:, STRATEGIES.index(pays.ALONE), :, 3] = 0
    assert pays.saved(pays.frame(settings, values), pays.OURS, "total_j", 2.0, draws=20)[0] == pytest.approx(1 - 4 / 2)


def test_the_steps_that_are_needed_lie_on_a_line_in_their_logarithm():
    assert pays.needed(pd.Series({1: 0.5, 4: 1.0}), 0.75) == pytest.approx(2.0)
    assert 10 < pays.needed(15.86 / pd.Series(pays.STABLE_DIFFUSION_FID)) < 15


def test_devices_that_are_alone_start_where_the_choosing_seeds_say():
    table = TableQoE.load(seeds=[0, 1])
    numbers = table.chosen_starts()
    assert numbers.shape == table.starts.shape[:2] and len(np.unique(numbers)) > 1
    means = table.starts[..., 0] + table.starts[..., 1:].mean(-1)
    best = table.with_starts(numbers)
    assert np.allclose(best.best_alone[..., 0] + best.best_alone[..., 1:].mean(-1), means.max(-1))
    assert np.array_equal(table.with_starts(0 * numbers).best_alone, table.alone)


def test_help_without_sharing_is_one_user_with_a_third_of_the_budget():
    table = pays.read()
    rows = pays.walked_for_each(table, 1)
    assert set(rows.users) == {1} and rows.server_budget.unique() == pytest.approx([20 / 3])
    assert set(rows.device_budget) == {1} and rows.strategy.nunique() == len(pays.STRATEGIES)
