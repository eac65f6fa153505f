import dataclasses
from itertools import product

import numpy as np
import pytest
import torch

from rlli_core import SplitPlan
from rlli_core.errors import InvalidArgument

CAT, DOG, BUSH = "a cat", "a dog", "bush"


class NoisyLink:
    """Adds noise that grows with the BEP and depends on the seed and on what was sent; counts its transmissions."""

    def __init__(self):
        self.sent = []

    def transmit(self, handoff, *, bep, seed):
        self.sent.append((handoff.plan, handoff.timestep, handoff.prompt, handoff.seed, bep, seed))
        noise = torch.randn(handoff.latent.shape, generator=torch.Generator().manual_seed(seed))
        return dataclasses.replace(handoff, latent=handoff.latent + bep * noise)


GRID = {
    "device_prompts": [CAT, DOG],
    "shared_steps": [0, 1, 3],
    "device_steps": [0, 1, 3],
    "bep": [None, 0.1],
    "seeds": [5, 6],
}
# t0 = t_k = 0 is no run, so the grid with every other value is made of these two.
GRIDS = (GRID | {"shared_steps": [1, 3]}, GRID | {"shared_steps": [0], "device_steps": [1, 3]})


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("batch_size", [1, 5])
def test_every_record_is_the_single_call(chain, grid, batch_size):
    result = chain.sweep(CAT, **grid, link=NoisyLink(), batch_size=batch_size, progress=False)
    keys = [(r.device_prompt, r.shared_steps, r.device_steps, r.bep, r.seed) for r in result.records]
    assert keys == list(product(*grid.values()))
    for record in result.records:
        plan = SplitPlan(record.shared_steps, record.device_steps)
        sent = chain.server_denoise(CAT, plan, seed=record.seed)
        if record.bep is not None:
            sent = NoisyLink().transmit(sent, bep=record.bep, seed=record.seed)
        single = chain.device_denoise(sent, record.device_prompt, output_type="latent")
        if batch_size == 1:
            assert torch.equal(record.latent, single)
        torch.testing.assert_close(record.latent, single, atol=5e-5, rtol=1e-5)
        if record.seed == 6 and record.bep is None:
            image = np.asarray(chain.device_denoise(sent, record.device_prompt)).astype(int)
            assert np.abs(np.asarray(record.image).astype(int) - image).max() <= 1


def test_the_calls_against_a_count_by_hand(chain):
    """t0 in {1, 3}, t_k in {2, 4}, one seed: chains of 3, 5 (twice) and 7 steps.

    N = 3: server 1 step, then 2 on the device.     N = 5: server 3 steps for both cuts, then 4 and 2.
    N = 7: server 3 steps, then 4.
    """
    arguments = {"shared_steps": [1, 3], "device_steps": [2, 4], "seeds": [7], "progress": False}
    seen = []
    chain.on_step = lambda timestep, latents: seen.append(latents)
    other = chain.sweep(CAT, [DOG], **arguments)
    assert other.denoiser_calls == (1 + 2) + (3 + 4 + 2) + (3 + 4) == sum(seen) == chain.denoiser_calls
    assert other.denoiser_calls_separate == 3 + 5 + 5 + 7
    # The server's own prompt over a perfect link: every cut of one length is the same uncut chain.
    assert chain.sweep(CAT, [CAT], **arguments).denoiser_calls == 3 + 5 + 7
    # Two prompts more share the server; both device chains of a cut still count.
    assert chain.sweep(CAT, [CAT, DOG, BUSH], **arguments).denoiser_calls == (3 + 5 + 7) + 2 * (2 + 4 + 2 + 4)
    # A corrupted latent cannot go on as the server's chain does, even towards the same prompt.
    link = NoisyLink()
    both = chain.sweep(CAT, [CAT, DOG], **arguments, bep=[None, 0.1, 0.2], link=link)
    assert both.denoiser_calls == (3 + 5 + 7) + (1 + 2 * 2) * (2 + 4 + 2 + 4)
    assert both.denoiser_calls_separate == 2 * 3 * (3 + 5 + 5 + 7)
    # One transmission a cut and BEP, whatever the number of devices.
    assert len(link.sent) == len(set(link.sent)) == 4 * 2
    assert (SplitPlan(3, 4), 571, CAT, 7, 0.1, 7) in link.sent


def test_steps_at_one_timestep_go_together(chain):
    sizes = []
    chain.on_step = lambda timestep, latents: sizes.append((timestep, latents))
    chain.sweep(CAT, [DOG, BUSH], [2], [2], seeds=range(5), batch_size=8, progress=False)
    assert sizes == [(999, 5), (749, 5), (499, 8), (499, 2), (249, 8), (249, 2)]


def test_no_device_step_makes_the_prompt_moot(chain):
    result = chain.sweep(CAT, [CAT, DOG], [2], [0], bep=[None, 0.1], link=NoisyLink(), progress=False)
    assert result.denoiser_calls == 2 and result.denoiser_calls_separate == 8
    assert torch.equal(result.records[0].latent, result.records[2].latent)
    assert not torch.equal(result.records[0].latent, result.records[1].latent)


def test_latents_only_and_a_bar(chain, capsys):
    result = chain.sweep(CAT, [DOG], [1], [1], output_type="latent")
    assert result.records[0].image is None and result.records[0].latent.shape == (1, 4, 8, 8)
    assert "2/2" in capsys.readouterr().err
    chain.sweep(CAT, [DOG], [1], [1], progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"bep": [0.1]}, "link=None"),
        ({"bep": [0.7], "link": NoisyLink()}, "bep=0.7"),
        ({"shared_steps": [-1]}, "shared_steps=-1"),
        ({"shared_steps": [0], "device_steps": [0]}, "at least 1 where shared_steps is 0"),
        ({"shared_steps": 3}, "shared_steps=3"),
        ({"device_steps": [1, 1000]}, "steps=1001"),
        ({"device_prompts": DOG}, "device_prompts='a dog'"),
        ({"seeds": []}, "seeds="),
        ({"batch_size": 0}, "batch_size=0"),
        ({"server_prompt": None}, "server_prompt=None"),
    ],
)
def test_bad_grids_are_refused_before_any_work(chain, change, match):
    grid = {"server_prompt": CAT, "device_prompts": [DOG], "shared_steps": [1], "device_steps": [1]}
    with pytest.raises(InvalidArgument, match=match):
        chain.sweep(**grid | change, progress=False)
    assert chain.denoiser_calls == 0
