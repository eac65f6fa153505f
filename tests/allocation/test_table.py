"""The table gives back what was put in, says what it does not hold, and the shipped one agrees with the service."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rlli_core import Link, Persona, PersonaAgent, SplitDiffusion
from rlli_core.allocation import Service, ServiceConfig, gather, prompts, table
from rlli_core.allocation.states import Allocation
from rlli_core.allocation.table import TableQoE
from rlli_core.errors import InvalidArgument, ModelNotFound, UnusableFile
from rlli_core.records import Handoff

from .madeup import truth


def test_it_gives_back_what_was_gathered_and_what_lies_between(made):
    source, rng = TableQoE.load(made), np.random.default_rng(0)
    for _ in range(50):
        shared, device, bep, traits = rng.integers(1, 11), rng.integers(1, 9), rng.uniform(0, 0.5), rng.random(5)
        # the mean over seeds is read, and between two BEPs the square root of the BEP is the straight axis
        assert source.lookup(2, 3, traits, shared, device, bep) == pytest.approx(
            truth(shared, device, np.sqrt(bep), traits), abs=1e-3
        )
    assert source.lookup(2, 3, traits, 0, 5, 0.4) == pytest.approx(
        truth(0, 5, 0, traits), abs=1e-3
    )  # unshared: nothing is sent

    luckier = TableQoE.load(made, seeds=[2]).lookup(2, 3, traits, 4, 5, 0.1)
    assert luckier == pytest.approx(source.lookup(2, 3, traits, 4, 5, 0.1) + 0.05, abs=1e-3)
    with pytest.raises(InvalidArgument, match="seeds=3.*0..2"):
        TableQoE.load(made, seeds=[0, 3])


def test_a_short_chain_beside_a_long_one_is_looked_up_where_its_own_grid_leaves_as_much(made):
    """M of t0 + M steps are left of what the server sends; a grid of the device's own leaves t_k of t0' + t_k."""
    source = TableQoE.load(made)
    states = Service(ServiceConfig(), source).draw(np.random.default_rng(0), 1)
    bep = np.full((1, 3), 0.1)
    found = source.qoe(states, Allocation(np.array([4]), np.array([[8, 4, 2]]), np.ones((1, 3))), bep)[0]
    expected = [truth(*steps, 0.1**0.5, who) for steps, who in zip(((4, 8), (2, 4), (1, 2)), states.personas[0])]
    assert found == pytest.approx(expected, abs=1e-3)
    alone = source.qoe(states, Allocation(np.array([4]), np.array([[4, 4, 4]]), np.ones((1, 3))), bep, np.array([8]))[0]
    assert alone[1] == pytest.approx(found[1])  # asked by itself, with the longest chain named


def test_between_lattice_points_the_curve_over_bit_errors_has_no_corners_and_never_turns_back():
    falling = np.linspace(1, 0, 6)[:, None] * np.ones((1, 7, 6, 1, 12))
    path = table._fits(falling, table._solve(table.asked_traits()), table.DEVICE_STEPS)[0, 1, 1, :, 0]
    slopes = np.diff(path) / np.diff(table.ROOTS)
    straight = np.abs(np.diff(np.diff(falling[0, 0, 0, :, 0]) / np.diff(np.sqrt(table.BEPS)))).max()  # turn at a corner
    assert (slopes <= 1e-9).all() and np.abs(np.diff(slopes)).max() < 0.75 * straight


def test_training_and_held_out_groups_are_kept_apart(made):
    assert TableQoE.load(made).groups == ((2, 3),) and TableQoE.load(made, held_out=True).groups == ((0, 1, 4),)


def test_what_it_does_not_hold_is_refused(made, tmp_path):
    source = TableQoE.load(made)
    with pytest.raises(InvalidArgument, match="gathered"):
        source.lookup(1, 2, np.zeros(5), 1, 1, 0.1)
    with pytest.raises(InvalidArgument, match="device_steps=9.*0 to 8"):
        source.lookup(2, 3, np.zeros(5), 1, 9, 0.1)
    with pytest.raises(ModelNotFound, match="allocation.gather"):
        TableQoE.load(tmp_path / "none.npz")


def test_groups_begin_with_the_papers_pair_and_no_prompt_is_on_both_sides():
    groups, unseen = prompts.groups(), prompts.held_out()
    assert groups[0][:2] == ("a tiger in front of a bush", "a dog in front of a bush") and not unseen[0]
    each = [prompt for group in groups for prompt in group]
    assert len(each) == len(set(each)) and {len(group) for group in groups} == {2, 3} and len(groups) == len(unseen) <= 30
    near = [set(group) - set(prompts.PAPER_GROUP) for group in prompts.singles()]  # those of one are all held out, or none
    for number, group in enumerate(near):
        assert {held for made, held in zip(groups, unseen) if set(made) <= group} <= {number % 2 == 1}
    assert sum(unseen) >= 10


def test_the_personas_asked_cover_the_cube():
    asked = table.asked_traits()
    design = np.c_[np.ones(12), asked]
    assert asked.shape == (12, 5) and np.linalg.cond(design) < 8 and (np.abs(asked.mean(0) - 0.5) < 0.02).all()
    anybody = np.c_[np.ones(1000), np.random.default_rng(0).random((1000, 5))]
    leverage = np.einsum("ij,jk,ik->i", anybody, np.linalg.inv(design.T @ design), anybody).mean()
    assert leverage < 0.55  # of the variance of one rating, in a fitted score; 6/12 at the people themselves


def test_a_unit_holds_each_lattice_in_its_place(monkeypatch):
    """A chain whose images say how they were made, and a score that repeats it."""
    monkeypatch.setattr(gather, "groups", lambda: [("s", "d")])
    shapes, people = gather.table_shapes(), 2

    class Chain:
        def sweep(self, server, prompts, shared, device, beps, seeds, link, **_):
            grid = product(prompts, shared, device, beps)
            return SimpleNamespace(records=[SimpleNamespace(image=("sent", *one)) for one in grid])

        def server_denoise(self, prompt, plan, seed):
            stop = 1000 * plan.device_steps // plan.longest - 1
            latent = torch.linspace(-plan.shared_steps, plan.device_steps, 16).reshape(1, 1, 4, 4)
            return Handoff(latent, plan, stop, prompt, seed)

        def device_denoises(self, handoffs, prompts, batch_size, restarts):
            plans = [(one.plan.shared_steps, one.plan.device_steps) for one in handoffs]
            return [("again", prompt, *plan, level) for prompt, plan, level in zip(prompts, plans, restarts)]

    def score(images, prompt):
        assert all(image[1] == prompt for image in images)
        places.extend(images)
        return np.arange(len(places) - len(images), len(places))[:, None] * np.ones(people)

    places = []
    made = gather._table_of(Chain(), score, (0, 0))
    assert made.shape == (2, sum(int(np.prod(shape)) for shape in shapes.values()), people)
    ends = np.cumsum([np.prod(shape) for shape in shapes.values()])
    sent, restart, alone, ranges = (
        part.reshape(2, *shape, people)[..., 0] for part, shape in zip(np.split(made, ends[:-1], 1), shapes.values())
    )
    image = lambda number: places[int(number)]  # noqa: E731
    assert image(sent[1, 2, 4, 4]) == ("sent", "d", 2, 6, 0.25)
    assert image(restart[1, 1, 4, 2]) == ("again", "d", 1, 6, 870) and np.isnan(restart[1, 1, 4, :2]).all()
    assert np.isnan(restart[:, 0]).all() and np.isfinite(restart[:, 4:]).all()
    assert image(alone[0, 2, 0]) == ("again", "s", 0, 3, None) and image(alone[1, 5, 3]) == ("again", "d", 0, 8, 870)
    assert ranges[1, 3, 2].tolist() == [-3, 3]


@pytest.mark.slow
def test_units_become_a_table_also_where_fewer_seeds_are_there(monkeypatch, tmp_path):
    groups = [("a tiger at night", "a duck at night", "an owl at night"), ("a lemon on a table", "a chair on a table")]
    monkeypatch.setattr(gather, "groups", lambda: groups)
    monkeypatch.setattr(gather, "held_out", lambda: [False, True])
    shapes, people = gather.table_shapes(), len(table.asked_traits())
    for seed, (number, group) in product(range(2), enumerate(groups)):
        parts = [np.full((len(group), int(np.prod(shape)), people), 0.1 * i) for i, shape in enumerate(shapes.values(), 1)]
        unit = np.concatenate(parts, 1) + (0.05 if seed else -0.05)
        np.save(tmp_path / f"{seed}-{number}.npy", unit + 0.2 * number * (np.arange(len(group)) == 1)[:, None, None])
    with pytest.raises(UnusableFile, match="2-0.npy is missing"):
        gather.assemble_table(tmp_path, tmp_path / "table.npz")
    gather.assemble_table(tmp_path, tmp_path / "table.npz", seeds=2)
    source, unseen = TableQoE.load(tmp_path / "table.npz"), TableQoE.load(tmp_path / "table.npz", held_out=True)
    assert source.groups == ((0, 1, 2),) and unseen.groups == ((3, 4),) and source.prompts[4] == "a chair on a table"
    person = np.full(5, 0.5)
    assert source.lookup(0, 2, person, 3, 4, 0.02) == pytest.approx(0.1, abs=1e-3)
    assert source.lookup(3, 4, person, 3, 4, 0.02) == pytest.approx(0.3, abs=1e-3)
    assert source.lookup(3, 4, person, 0, 4, 0.02) == pytest.approx(0.5, abs=1e-3)
    with np.load(tmp_path / "table.npz") as file:
        assert file["stops"].shape == (11, 9) and file["stops"][5, 5] == 499 and file["alphas"].shape == (1000,)
        assert file["restart"].shape == (5, 2, 7, 6, 4, 12) and file["ranges"].shape == (5, 2, 7, 6, 2)


@pytest.mark.slow
def test_between_its_lattice_points_the_shipped_table_is_near_real_runs():
    """The same image seeds, so that what differs is interpolation and which bits flip; at a lattice point next to nothing does."""
    chain, agent = (one.from_pretrained("embedded", dtype="bf16") for one in (SplitDiffusion, PersonaAgent))
    source, everyone = TableQoE.load(), table.asked_traits()
    asked = [Persona.of(traits) for traits in everyone]

    def errors(shared, device, beps):
        """Table less real mean over people, of each of some pairs of prompts and plans."""
        found = []
        for group in (prompts.groups()[0], prompts.groups()[12]):
            runs = chain.sweep(group[0], group[::2], shared, device, beps, range(3), Link(), batch_size=32, progress=False)
            for start in range(0, len(runs.records), 3):
                some = runs.records[start : start + 3]
                scores = agent.scores([r.image for r in some for _ in asked], asked * 3, some[0].device_prompt)
                pair = [source.prompts.index(prompt) for prompt in (group[0], some[0].device_prompt)]
                plan = some[0].shared_steps, some[0].device_steps, some[0].bep
                told = source.lookup(*pair, everyone, *map(np.array, plan))
                found.append(np.mean(told) - np.mean([score.value for score in scores]))
        return np.array(found)

    assert np.abs(errors([5], [6], [0.06])).max() < 0.01
    between = errors([4, 8], [5, 7], [0.04, 0.1])
    assert abs(between.mean()) < 0.03 and np.abs(between).mean() < 0.05
