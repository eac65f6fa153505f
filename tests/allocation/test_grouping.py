"""Trees, pairs and groups of concurrent prompts, and the walk that shares their steps."""

import numpy as np
import pytest
import torch

from rlli_core import SplitPlan
from rlli_core.allocation.grouping import book_groups, nobody, pairs, steps_saved, tree, walk
from rlli_core.errors import InvalidArgument

KEYS = np.array([[0.0, 0.0], [1.0, 0.0], [10.0, 0.0], [13.0, 0.0], [90.0, 0.0]])


def test_a_pair_shares_as_many_steps_as_its_height_in_the_tree_leaves():
    sharing = tree(KEYS, 10, 10.5)
    together = [(labels[:, None] == labels[None]).astype(int) for labels in sharing]
    counts = sum(together)
    assert (
        counts[0, 1] == 10 * (1 - 1 / 10) + 1 and counts[2, 3] == 10 * (1 - 3 / 10) + 1
    )  # cuts at 10, 9, ... reach the height
    assert counts[0, 2] == counts[0, 4] == 0 and np.diag(counts).tolist() == [10] * 5
    for before, after in zip(together, together[1:]):
        assert (after <= before).all()
    assert len(np.unique(tree(KEYS, 4, 1e9)[0])) == 1


def test_more_is_saved_the_higher_the_threshold_and_nothing_at_none():
    saved = [steps_saved(tree(KEYS, 8, threshold)) for threshold in (0, 1, 3, 10, 100, 1e6)]
    assert saved == sorted(saved) and saved[0] == 0 and saved[-1] == pytest.approx(1 - 1 / 5, abs=1e-9)
    assert steps_saved(nobody(5, 3)) == 0 and steps_saved(np.zeros((3, 4))) == 0.75
    assert steps_saved(tree(np.zeros((1, 2)), 3, 1.0)) == 0
    assert len(np.unique(tree(np.zeros((3, 2)), 3, 0.0))) == 1  # equal prompts always share


def test_pairs_are_the_nearest_first_and_an_odd_one_is_alone():
    labels = pairs(KEYS[[0, 2, 1, 4, 3]], 2)
    assert labels.shape == (2, 5) and (labels[0] == labels[1]).all()
    one = labels[0]
    assert one[0] == one[2] and one[1] == one[4] and len(np.unique(one)) == 3
    assert steps_saved(labels) == pytest.approx(2 / 5)


def test_the_books_groups():
    labels = book_groups(["a tiger in front of a brick wall", "a dog in front of a brick wall", "x", "y"], 3)
    assert labels.shape == (3, 4) and labels[0, 0] == labels[0, 1] and len(np.unique(labels[0])) == 3


def test_who_walks_alone_gets_what_the_server_alone_makes_and_who_shares_all_gets_the_same(chain):
    prompts, keys = ["a", "b c", "d"], np.array([[0.0], [1.0], [5.0]])
    alone = walk(chain, prompts, keys, nobody(3, 4), 6, seed=3)
    for prompt, sent in zip(prompts, alone):
        by_server = chain.server_denoise(prompt, SplitPlan(4, 6), 3)
        assert torch.allclose(sent.latent, by_server.latent, atol=1e-5)
        assert (sent.plan, sent.timestep, sent.prompt, sent.seed) == (by_server.plan, by_server.timestep, prompt, 3)
    together = walk(chain, prompts, keys, np.zeros((4, 3)), 6, seed=3)
    assert all(torch.equal(one.latent, together[0].latent) for one in together)
    assert torch.allclose(together[0].latent, alone[1].latent, atol=1e-5)  # the one in the middle


def test_a_tree_walks_each_shared_step_once(chain):
    keys = np.array([[0.0], [1.0], [4.0]])
    sharing = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 2]])
    before = chain.denoiser_calls
    sent = walk(chain, ["a", "b", "c"], keys, sharing, 1, seed=0)
    assert chain.denoiser_calls - before == 1 + 2 + 3 == round(sharing.size * (1 - steps_saved(sharing)))
    assert not torch.equal(sent[0].latent, sent[1].latent) and not torch.equal(sent[1].latent, sent[2].latent)


@pytest.mark.parametrize("sharing", [np.zeros((3, 2)), np.zeros(3), np.array([[0, 1, 2], [0, 0, 1]])])
def test_sharings_that_do_not_fit_are_refused(chain, sharing):
    with pytest.raises(InvalidArgument, match="^sharing="):
        walk(chain, ["a", "b", "c"], np.zeros((3, 1)), sharing, 1, seed=0)


def test_bad_numbers():
    with pytest.raises(InvalidArgument, match="^threshold="):
        tree(KEYS, 3, -1.0)
    with pytest.raises(InvalidArgument, match="^shared_steps="):
        pairs(KEYS, 0)
