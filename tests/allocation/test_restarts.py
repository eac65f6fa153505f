"""Devices that know their link's noise, and lone devices at their best start, on the made-up table."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from rlli_core import Link
from rlli_core.allocation import Service, ServiceConfig, restarts, table
from rlli_core.allocation.handoffs import StartRule
from rlli_core.allocation.states import Allocation
from rlli_core.allocation.table import TableQoE, read_rules
from rlli_core.diffusion.receiver import effective_timestep
from rlli_core.errors import InvalidArgument
from rlli_core.records import Handoff, SplitPlan

from .madeup import ALPHAS, HIGH, LOW, started, stop, truth

AWARE = ServiceConfig(receiver="noise-aware", alone="best", actions="choice")


@pytest.fixture(scope="module")
def source(made):
    return TableQoE.load(made)


def served(source, config, steps, bep, alone=None, seed=0):
    """Scores and people of one group with these steps; the same person in every place."""
    service = Service(config, source)
    states = service.draw(np.random.default_rng(seed), 1)
    states.personas[:] = states.personas[:, :1]
    allocation = Allocation(np.array([steps[0]]), np.array([steps[1]]), np.ones((1, 3)), alone)
    return service.source.qoe(states, allocation, np.full((1, 3), bep))[0], states.personas[0, 0]


def test_without_bit_errors_it_restarts_where_the_rule_says(source):
    """All gain most by 800, alone and from a hand-off; 5 + 6 steps stop at 544, 1 + 8 at 888, above it."""
    found, who = served(source, AWARE, (5, [6, 6, 6]), 0.0)
    assert found == pytest.approx([started(5, 6, 800, who)] * 3, abs=2e-3)
    found, who = served(source, AWARE, (1, [8, 8, 8]), 0.0)
    assert found == pytest.approx([started(1, 8, 888, who)] * 3, abs=2e-3)
    assert found == pytest.approx([truth(1, 8, 0, who)] * 3, abs=2e-3)  # the paper's, which starts there too


def test_with_bit_errors_it_starts_at_the_effective_timestep_where_that_is_earlier(source):
    level = Service(AWARE, source).source.restarts.effective(0, 5, 6, 0.25)
    assert 810 < level < 860
    found, who = served(source, AWARE, (5, [6, 6, 6]), 0.25)
    line = np.interp(level, [800, 870], [started(5, 6, one, who) for one in (800, 870)])
    assert found == pytest.approx([line] * 3, abs=2e-3)
    found, who = served(source, AWARE, (5, [6, 6, 6]), 0.5)  # nothing is left: alone, on its own grid
    assert found == pytest.approx([truth(0, 6, 0, who)] * 3, abs=2e-3)


@pytest.mark.parametrize("link", [Link(), Link(bits=4), Link(number_format="gray", bits=6)])
def test_the_effective_timestep_is_the_receivers(source, link):
    """Of a latent sent over that link, whose range is the table's."""
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="trailing")
    assert np.allclose(scheduler.alphas_cumprod, ALPHAS, atol=1e-6)
    again = replace(source.restarts, alphas=scheduler.alphas_cumprod.numpy()).over(link)
    for (shared, device), bep in zip(((5, 6), (1, 8), (10, 1), (3, 3)), (0.01, 0.0, 0.3, 0.1)):
        latent = torch.linspace(LOW, HIGH, 64).reshape(1, 4, 4, 4)
        sent = Handoff(latent, SplitPlan(shared, device), stop(shared, device), "a", 0)
        got = link.transmit(sent, bep=bep, seed=0)
        expected = effective_timestep(scheduler, sent.timestep, got.link.noise_variance)
        assert abs(again.effective(0, shared, device, bep) - expected) <= 1
    assert again.effective(0, 5, 6, 0.0) == stop(5, 6) and again.effective(0, 5, 6, 0.5) == 999


def test_who_stays_out_has_its_best_start_or_its_own_grid(source):
    out = np.array([[False, True, True]])
    best, who = served(source, AWARE, (5, [6, 4, 2]), 0.5, out)
    assert best[1:] == pytest.approx([truth(0, 4, 0, who) + 0.12, truth(0, 2, 0, who) + 0.12], abs=2e-3)
    grid, who = served(source, replace(AWARE, alone="grid"), (5, [6, 4, 2]), 0.5, out)
    assert grid[1:] == pytest.approx([truth(0, 4, 0, who), truth(0, 2, 0, who)], abs=2e-3)


def test_the_chain_of_who_stays_out_does_not_count_as_the_longest(source):
    out = np.array([[False, False, True]])
    found, who = served(source, ServiceConfig(actions="choice"), (4, [4, 2, 8]), 0.1, out)
    root = 0.1**0.5
    assert found == pytest.approx([truth(4, 4, root, who), truth(2, 2, root, who), truth(0, 8, 0, who)], abs=2e-3)


def test_the_papers_receiver_reads_the_papers_lattice(source):
    plain, who = served(source, ServiceConfig(), (5, [6, 6, 6]), 0.1)
    best, _ = served(source, ServiceConfig(alone="best"), (5, [6, 6, 6]), 0.1)
    assert (plain == best).all() and plain == pytest.approx([truth(5, 6, 0.1**0.5, who)] * 3, abs=2e-3)


def test_a_source_that_was_set_up_otherwise_is_set_up_anew(source):
    aware = Service(AWARE, source).source
    for config in (ServiceConfig(), AWARE, replace(AWARE, receiver="paper"), replace(AWARE, link=Link(bits=4))):
        first, second = (served(one, config, (5, [6, 4, 2]), 0.1, [[False, False, True]])[0] for one in (source, aware))
        assert (first == second).all()
    assert Service(ServiceConfig(), source).source is source


def test_the_rules_are_those_that_score_best(made):
    restart, start = read_rules(made)
    for steps in table.DEVICE_STEPS:
        assert restarts.starts()[start.choose(restarts.starts(), steps)] == 800
        for shared in (2, 5, 10):
            options = restarts.levels(stop(shared, steps))
            assert options[restart.choose(options, steps, 0.5)] == max(800, stop(shared, steps))


def test_restarts_below_the_stop_are_none():
    assert restarts.levels(np.array([500, 840])).tolist() == [[500, 700, 800, 870, 930], [840, 840, 840, 870, 930]]
    rule = StartRule(700, 0)
    assert rule.choose(restarts.levels(np.array([500, 840])), np.array([1, 4])).tolist() == [1, 0]


def test_a_format_without_variance_is_refused(source):
    with pytest.raises(InvalidArgument, match="receiver.*float32"):
        Service(replace(AWARE, link=Link(number_format="float32")), source)
