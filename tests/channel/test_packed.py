"""The best use of so many channel bits a value: the search against all codes, and its error against the link."""

from itertools import product

import numpy as np
import pytest
import torch

from rlli_core.channel import UNIFORM_FORMATS, Link, best_packed_code
from rlli_core.channel.packed import RECEIVERS, packed_error
from rlli_core.errors import InvalidArgument
from rlli_core.records import Handoff, SplitPlan


@pytest.mark.parametrize("number_format", UNIFORM_FORMATS)
@pytest.mark.parametrize("receiver", RECEIVERS)
@pytest.mark.parametrize("bep", [0.001, 0.03, 0.15])
def test_no_other_code_is_better(bep, receiver, number_format):
    """Against every odd count of every bit, in any order, of 7 channel bits, written out another way."""
    given = dict(receiver=receiver, number_format=number_format)
    best = best_packed_code(bep, 7, **given)
    every = [c for bits in range(1, 8) for c in product((1, 3, 5, 7), repeat=bits) if sum(c) <= 7]
    assert len(every) == 33
    assert best.mean_square_error == min(packed_error(bep, counts, **given) for counts in every)
    assert packed_error(bep, best.counts, **given) == best.mean_square_error


@pytest.mark.parametrize("receiver", RECEIVERS)
def test_the_noisier_the_link_the_fewer_and_the_safer_the_bits(receiver):
    codes = [best_packed_code(bep, receiver=receiver) for bep in (0.0, 0.001, 0.03, 0.3)]
    assert codes[0].counts == (1,) * 8 and codes[0].protection is None
    assert [code.bits for code in codes] == sorted((code.bits for code in codes), reverse=True)
    errors = [code.mean_square_error for code in codes]
    assert errors == sorted(errors)
    assert all(sum(code.counts) <= 8 for code in codes)


@pytest.mark.parametrize("number_format", UNIFORM_FORMATS)
@pytest.mark.parametrize("receiver", RECEIVERS)
def test_the_error_is_what_a_link_makes(receiver, number_format):
    """Normal values clipped to a width of 6.5, 200 draws, over a link with the code that is best at 5 %."""
    best = best_packed_code(0.05, receiver=receiver, number_format=number_format)
    link = Link(bits=best.bits, protection=best.protection, number_format=number_format)
    found = []
    for seed in range(200):
        values = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed)).clamp(-3.25, 3.25)
        values[0, 0, 0, :2] = torch.tensor([-3.25, 3.25])
        got = link.transmit(Handoff(values, SplitPlan(1, 1), 1, "a", seed=0), bep=0.05, seed=seed)
        assert got.link.channel_bits == 8192
        read = (got.latent - got.link.offset) / got.link.bias if receiver == "noise-aware" else got.latent
        found.append(((read - values).double() ** 2).mean().item())
    assert np.mean(found) == pytest.approx(best.mean_square_error, abs=4 * np.std(found) / np.sqrt(200), rel=0.01)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bep", 0.5),
        ("bep", None),
        ("channel_bits", 0),
        ("channel_bits", 17),
        ("receiver", "plain"),
        ("number_format", "float16"),
        ("width", 0.0),
    ],
)
def test_bad_arguments(name, value):
    with pytest.raises(InvalidArgument, match=name):
        best_packed_code(**{"bep": 0.1, name: value})
