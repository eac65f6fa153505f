"""The table gives back what was put in, says what it does not hold, and the shipped one agrees with the service."""

import numpy as np
import pytest

from rlli_core.allocation import prompts, table
from rlli_core.allocation.states import Allocation, States
from rlli_core.allocation.table import TableQoE
from rlli_core.errors import InvalidArgument, ModelNotFound


def truth(shared, device, root, traits):
    """Linear along every axis, so that the table must give it back exactly."""
    return 0.2 + 0.02 * shared + 0.03 * device - 0.2 * root + 0.1 * traits[..., 0] - 0.05 * traits[..., 4]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "t.npz"
    shared, device, root = np.meshgrid(table.SHARED_STEPS, table.DEVICE_STEPS, np.sqrt(table.BEPS), indexing="ij")
    one = truth(shared[..., None], device[..., None], root[..., None], table.sobol_traits())
    alone = truth(0, np.array(table.DEVICE_STEPS)[:, None], 0, table.sobol_traits())
    noise = np.array([-0.05, 0, 0.05])[None, :, None, None, None, None]  # of the image seeds
    scores = np.tile(one, (4, 3, 1, 1, 1, 1)) + noise
    texts, groups = [prompts.HELD_OUT[0], "b", "c"], [[0, 1], [2, 1]]
    np.savez(path, scores=scores, alone=np.tile(alone, (4, 3, 1, 1)), prompts=texts, groups=groups, embeddings=np.eye(3))
    return path


def test_it_gives_back_what_was_gathered_and_what_lies_between(made):
    source, rng = TableQoE.load(made), np.random.default_rng(0)
    for _ in range(50):
        shared, device, bep, traits = rng.integers(1, 11), rng.integers(1, 9), rng.uniform(0, 0.5), rng.random(5)
        # the mean over seeds is read, and between two BEPs the square root of the BEP is the straight axis
        assert source.lookup(2, 1, traits, shared, device, bep) == pytest.approx(
            truth(shared, device, np.sqrt(bep), traits), abs=1e-3
        )
    assert source.lookup(2, 1, traits, 0, 5, 0.4) == pytest.approx(
        truth(0, 5, 0, traits), abs=1e-3
    )  # unshared: nothing is sent


def test_a_short_chain_beside_a_long_one_is_looked_up_where_its_own_grid_leaves_as_much(made):
    """M of t0 + M steps are left of what the server sends; a grid of the device's own leaves t_k of t0' + t_k."""
    source = TableQoE.load(made)
    states = States(np.array([[2, 1, 1]]), np.full((1, 3, 5), 0.5), *[np.ones(1)] * 2, np.ones((1, 3)), np.zeros(1))
    bep = np.full((1, 3), 0.1)
    found = source.qoe(states, Allocation(np.array([4]), np.array([[8, 4, 2]]), np.ones((1, 3))), bep)[0]
    assert found == pytest.approx([truth(4, 8, 0.1**0.5, states.personas[0, 0]), truth(2, 4, 0.1**0.5, states.personas[0, 0]),
                                   truth(1, 2, 0.1**0.5, states.personas[0, 0])], abs=1e-3)  # fmt: skip
    alone = source.qoe(states, Allocation(np.array([4]), np.array([[4, 4, 4]]), np.ones((1, 3))), bep, np.array([8]))[0]
    assert alone[1] == pytest.approx(found[1])  # asked by itself, with the longest chain named


def test_between_lattice_points_the_curve_over_bit_errors_has_no_corners_and_never_turns_back():
    falling = np.linspace(1, 0, 6)[:, None] * np.ones((1, 7, 5, 1, 16))
    path = table._fits(falling, np.ones((1, 5, 16)))[0][0, 1, 1, :, 0]
    slopes = np.diff(path) / np.diff(table.ROOTS)
    straight = np.abs(np.diff(np.diff(falling[0, 0, 0, :, 0]) / np.diff(np.sqrt(table.BEPS)))).max()  # turn at a corner
    assert (slopes <= 1e-9).all() and np.abs(np.diff(slopes)).max() < 0.75 * straight


def test_training_and_held_out_groups_are_kept_apart(made):
    assert TableQoE.load(made).groups == ((2, 1),) and TableQoE.load(made, held_out=True).groups == ((0, 1),)


def test_what_it_does_not_hold_is_refused(made, tmp_path):
    source = TableQoE.load(made)
    with pytest.raises(InvalidArgument, match="gathered"):
        source.lookup(1, 2, np.zeros(5), 1, 1, 0.1)
    with pytest.raises(InvalidArgument, match="device_steps=9.*0 to 8"):
        source.lookup(2, 1, np.zeros(5), 1, 9, 0.1)
    with pytest.raises(ModelNotFound, match="allocation.gather"):
        TableQoE.load(tmp_path / "none.npz")


def test_groups_begin_with_the_papers_pair_and_include_the_held_out_ones():
    groups = prompts.groups()
    assert groups[0][:2] == ("a tiger in front of a bush", "a dog in front of a bush")
    assert set(prompts.HELD_OUT) < {group[0] for group in groups} and all(len(set(group)) == 3 for group in groups)


def test_the_personas_asked_cover_the_cube():
    asked = table.sobol_traits()
    assert asked.shape == (16, 5) and np.linalg.cond(np.c_[np.ones(16), asked]) < 20
    assert (np.abs(asked.mean(0) - 0.5) < 0.06).all()
