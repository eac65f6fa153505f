"""A device that knows its link's noise: the exact statement, its limits, and the controls."""

import dataclasses
import math

import pytest
import torch

from rlli_core import SplitDiffusion, SplitPlan
from rlli_core.diffusion.receiver import effective_timestep, receive
from rlli_core.diffusion.schedule import device_steps, grid_steps, memoryless, spread_steps
from rlli_core.errors import InvalidArgument
from rlli_core.records import Handoff, LinkReport

SCHEDULES = ("v trailing zero-snr", "epsilon leading", "sample linspace")
CAT, DOG = "a cat", "a dog"


def damaged(sent: Handoff, variance: float, bias: float = 1.0, offset: float = 0.0, seed: int = 0) -> Handoff:
    """A hand-off after a link whose damage is exactly Gaussian."""
    noise = torch.randn(sent.latent.shape, generator=torch.Generator().manual_seed(seed))
    link = LinkReport(0.1, 0, 0, None, None, 0.0, None, bias=bias, offset=offset, variance=variance)
    return dataclasses.replace(sent, latent=bias * sent.latent + offset + math.sqrt(variance) * noise, link=link)


class GaussianLink:
    """Adds noise of a variance that the receiver knows; its seeds are those of the hand-offs."""

    def transmit(self, handoff: Handoff, *, seed: int, bep: float, **_given: object) -> Handoff:
        return damaged(handoff, bep, 0.8, 0.3, seed) if bep else dataclasses.replace(handoff)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("restart", [None, 900])
def test_a_clean_latent_with_known_noise_is_distributed_as_a_chain_that_is_there(tiny_pipeline, schedule, restart):
    """Clean x known, so the residual z - sqrt(alpha) x must be Gaussian of variance 1 - alpha at the start's timestep."""
    scheduler = memoryless(tiny_pipeline(schedule).scheduler)
    generator = torch.Generator().manual_seed(1)
    clean, unit = torch.randn(2, 1, 4, 160, 160, generator=generator, dtype=torch.float64)
    plan = SplitPlan(4, 6)
    level = grid_steps(scheduler, 10)[3][1]
    alpha = float(scheduler.alphas_cumprod[level])
    sent = Handoff((alpha**0.5 * clean + (1 - alpha) ** 0.5 * unit).float(), plan, level, CAT, 3)
    got = damaged(sent, variance=0.2, bias=0.7, offset=0.4, seed=9)
    fresh = lambda seed: torch.randn(sent.latent.shape, generator=torch.Generator().manual_seed(seed))  # noqa: E731
    latent, walk = receive(scheduler, got, 6, "noise-aware", restart, fresh)
    start = float(scheduler.alphas_cumprod[walk[0][0]])
    exact = alpha / (1 + 0.2 / 0.7**2)
    assert start <= exact and (restart is not None or exact < float(scheduler.alphas_cumprod[walk[0][0] - 1]))
    at = start if restart else exact  # fresh noise brings it to the timestep itself, without it within one timestep
    residual = (latent.double() - at**0.5 * clean) / (1 - at) ** 0.5
    count = residual.numel()
    assert abs(residual.mean()) < 5 / count**0.5
    assert abs(residual.var() - 1) < 5 * (2 / count) ** 0.5
    assert abs((residual**4).mean() - 3) < 5 * (96 / count) ** 0.5
    assert abs((residual * clean).mean()) < 5 / count**0.5  # nothing of the clean latent is left in the noise
    assert walk == spread_steps(scheduler, walk[0][0], 6)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_errors_all_receivers_give_the_same_bytes(tiny_pipeline, schedule):
    chain = SplitDiffusion(tiny_pipeline(schedule), device="cpu")
    sent = chain.server_denoise(CAT, SplitPlan(3, (5, 7)), seed=7)
    for got in (sent, damaged(sent, 0.0)):
        for device in (0, 1):
            made = [
                chain.device_denoise(got, DOG, device=device, output_type="latent", receiver=receiver)
                for receiver in ("paper", "noise-aware")
            ]
            assert torch.equal(*made)
    paper, aware = (
        chain.device_denoise(damaged(sent, 0.1), DOG, output_type="latent", receiver=r) for r in ("paper", "noise-aware")
    )
    assert not torch.allclose(paper, aware)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_where_nothing_is_left_the_device_is_alone(tiny_pipeline, schedule):
    chain = SplitDiffusion(tiny_pipeline(schedule), device="cpu")
    sent = chain.server_denoise(CAT, SplitPlan(3, 5), seed=7)
    lost = damaged(sent, 0.3, bias=0.0)
    alone = chain.generate(DOG, 5, 7, output_type="latent")
    assert torch.equal(chain.device_denoise(lost, DOG, receiver="noise-aware", output_type="latent"), alone)
    # Its late start is then as free as that of a device to which nothing was sent.
    late = chain.generate(DOG, 5, 7, output_type="latent", start=700)
    assert torch.equal(chain.device_denoise(lost, DOG, receiver="noise-aware", restart=700, output_type="latent"), late)
    noise = chain.server_denoise(CAT, SplitPlan(0, 5), seed=7)
    assert torch.equal(chain.device_denoise(noise, DOG, restart=700, output_type="latent"), late)
    assert torch.equal(chain.generate(DOG, 5, 7, output_type="latent", start=None), alone)
    assert not torch.allclose(late, alone)
    assert chain.restart_range(lost, "noise-aware") == (0, 999) != chain.restart_range(lost)


def test_more_noise_starts_earlier_and_a_restart_below_is_refused_with_the_range(chain):
    sent = chain.server_denoise(CAT, SplitPlan(3, 5), seed=7)
    lowest = [chain.restart_range(damaged(sent, s2), "noise-aware")[0] for s2 in (0.0, 1e-3, 0.1, 1.0, 1e6)]
    assert lowest[0] == sent.timestep == chain.restart_range(sent)[0] and lowest[-1] == 999
    assert lowest == sorted(lowest) and len(set(lowest)) == 5
    got = damaged(sent, 0.1)
    for restart in (lowest[2], 999):
        chain.device_denoise(got, DOG, receiver="noise-aware", restart=restart)
    with pytest.raises(InvalidArgument, match=rf"restart={lowest[2] - 1} .* {lowest[2]}\.\.999"):
        chain.device_denoise(got, DOG, receiver="noise-aware", restart=lowest[2] - 1)
    with pytest.raises(InvalidArgument, match="restart=1000"):
        chain.device_denoise(sent, DOG, restart=1000)
    with pytest.raises(InvalidArgument, match=r"receiver='aware' .* paper, noise-aware"):
        chain.device_denoise(got, DOG, receiver="aware")
    unknown = dataclasses.replace(got, link=dataclasses.replace(got.link, variance=None))
    with pytest.raises(InvalidArgument, match="'paper' for a number format"):
        chain.device_denoise(unknown, DOG, receiver="noise-aware")
    with pytest.raises(InvalidArgument, match="start=1000"):
        chain.generate(CAT, 3, 7, start=1000)


def test_a_restart_is_seeded_and_forgets_more_the_earlier(chain):
    one, other = (chain.server_denoise(prompt, SplitPlan(4, 6), seed=7) for prompt in (CAT, DOG))

    def apart(restart: int) -> float:
        made = [chain.device_denoise(sent, CAT, restart=restart, output_type="latent") for sent in (one, other)]
        assert torch.equal(made[0], chain.device_denoise(one, CAT, restart=restart, output_type="latent"))
        return torch.linalg.vector_norm(made[0] - made[1]).item()

    assert apart(999) < 1e-6 * apart(one.timestep) < apart(800) < apart(one.timestep)  # at zero SNR all is forgotten
    fresh = chain.device_denoise(one, CAT, restart=999, output_type="latent")
    assert not torch.allclose(fresh, chain.generate(CAT, 6, 7, output_type="latent"))  # by noise of its own


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_finished_picture_can_be_gone_on_with(tiny_pipeline, schedule):
    chain = SplitDiffusion(tiny_pipeline(schedule), device="cpu")
    whole = chain.server_denoise(CAT, SplitPlan(4, 0), seed=7)
    assert whole.timestep == -1
    with pytest.raises(InvalidArgument):
        chain.device_denoise(whole, DOG, SplitPlan(4, 3))
    chain.device_denoise(whole, DOG, SplitPlan(4, 3), restart=600)
    chain.device_denoise(damaged(whole, 0.1), DOG, SplitPlan(4, 3), receiver="noise-aware")


def test_batches_and_sweep_and_serve_give_the_numbers_of_the_single_calls(chain):
    from rlli_core.round import serve

    link, seeds = GaussianLink(), [7, 8]
    combinations = {"receivers": ["paper", "noise-aware"], "restarts": [None, 930]}
    calls = []
    chain.on_step = lambda _t, count: calls.append(count)
    swept = chain.sweep(CAT, [CAT, DOG], [2, 3], [4], [None, 0.05], seeds, link, progress=False, **combinations)
    chain.on_step = None
    assert len(swept.records) == 2 * 2 * 2 * 2 * 2 * 2 and sum(calls) == swept.denoiser_calls
    for record in swept.records:
        sent = chain.server_denoise(CAT, SplitPlan(record.shared_steps, 4), seed=record.seed)
        got = sent if record.bep is None else link.transmit(sent, bep=record.bep, seed=record.seed)
        alone = chain.device_denoise(
            got, record.device_prompt, output_type="latent", receiver=record.receiver, restart=record.restart
        )
        torch.testing.assert_close(record.latent, alone, atol=1e-5, rtol=1e-5)
    # Counted by hand, for each seed and each of the lengths 6 and 7: the server goes on to the end for who wants its prompt
    # (6 + 7); the other prompt unsent, both prompts received by the paper's device (4 each) and by the noise-aware one; the
    # restarts of both prompts unsent, where receivers are alike, and received by both.
    devices = 1 + 2 + 2 + 2 + 2 * 2
    assert swept.denoiser_calls == len(seeds) * (6 + 7 + 2 * 4 * devices) < swept.denoiser_calls_separate

    sent = chain.server_denoise(CAT, SplitPlan(3, (4, 4, 2)), seed=7)
    got = [damaged(sent, v, seed=k) for k, v in enumerate((0.05, 0.2, 0.4))]
    together = chain.device_denoises(
        got, [CAT, DOG, CAT], None, [0, 1, 2], output_type="latent", receiver="noise-aware", restarts=[None, 950, None]
    )
    for k, restart in enumerate((None, 950, None)):
        single = chain.device_denoise(
            got[k], (CAT, DOG, CAT)[k], device=k, output_type="latent", receiver="noise-aware", restart=restart
        )
        torch.testing.assert_close(together[k : k + 1], single, atol=1e-5, rtol=1e-5)

    made = serve(
        chain, [link] * 3, None, CAT, [CAT, DOG, DOG], (), SplitPlan(2, (4, 4, 4)), None, 7,
        beps=[0.05, 0.05, None], receiver="noise-aware", restarts=[None, 930, 800],
    )  # fmt: skip
    sent = chain.server_denoise(CAT, SplitPlan(2, (4, 4)), seed=7)
    for k, prompt in enumerate((CAT, DOG)):
        got = link.transmit(sent, bep=0.05, seed=7 + k)
        image = chain.device_denoise(got, prompt, SplitPlan(2, 4), receiver="noise-aware", restart=(None, 930)[k])
        assert made.images[k].tobytes() == image.tobytes()
    assert made.images[2].tobytes() == chain.generate(DOG, 4, 7, start=800).tobytes()


def test_the_effective_timestep_is_the_definition(tiny_pipeline):
    for schedule in SCHEDULES:
        scheduler = memoryless(tiny_pipeline(schedule).scheduler)
        for timestep in (100, 499, 900):
            for s2 in (1e-4, 0.03, 0.5, 4.0):
                found = effective_timestep(scheduler, timestep, s2)
                aim = float(scheduler.alphas_cumprod[timestep]) / (1 + s2)
                assert found == 999 or float(scheduler.alphas_cumprod[found]) <= aim < float(
                    scheduler.alphas_cumprod[found - 1]
                )


def test_a_walk_of_many_timesteps_at_once_is_each_walk_alone(chain):
    latents = chain.denoiser.noise([1, 2, 3])
    walks = [
        device_steps(chain.scheduler, SplitPlan(0, 3), 3),
        spread_steps(chain.scheduler, 800, 3),
        spread_steps(chain.scheduler, 123, 3),
    ]
    with chain.denoiser.computing():
        made = chain.denoiser.walk(latents, [CAT, DOG, CAT], list(zip(*walks)), 3.0)
        for k, walk in enumerate(walks):
            single = chain.denoiser.walk(latents[k : k + 1], [(CAT, DOG, CAT)[k]], walk, 3.0)
            torch.testing.assert_close(made[k : k + 1], single, atol=1e-5, rtol=1e-5)
