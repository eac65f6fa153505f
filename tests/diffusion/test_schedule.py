import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, PNDMScheduler

from rlli_core import SplitPlan
from rlli_core.diffusion.schedule import (
    ddim_step,
    device_steps,
    grid_steps,
    handoff_timestep,
    memoryless,
    server_steps,
    spread_steps,
)
from rlli_core.errors import InvalidArgument, UnsupportedPipeline

SPACINGS = ("leading", "trailing", "linspace")


def scheduler(spacing: str = "trailing", **changes: object) -> DDIMScheduler:
    return DDIMScheduler(**{"clip_sample": False, "steps_offset": 1, "timestep_spacing": spacing} | changes)


@pytest.mark.parametrize(
    ("spacing", "steps", "expected"),
    [
        ("trailing", 4, [(999, 749), (749, 499), (499, 249), (249, -1)]),
        ("trailing", 3, [(999, 666), (666, 333), (332, -1)]),  # 1000 // 3 = 333 does not divide: t_prev misses the grid
        ("leading", 4, [(751, 501), (501, 251), (251, 1), (1, -249)]),
        ("linspace", 4, [(999, 749), (666, 416), (333, 83), (0, -250)]),
    ],
)
def test_the_grid_by_hand(spacing, steps, expected):
    assert list(grid_steps(scheduler(spacing), steps)) == expected


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 8, 10, 50, 999])
def test_the_grid_is_that_of_diffusers_and_leaves_the_scheduler_alone(spacing, steps):
    ours, theirs = scheduler(spacing), scheduler(spacing)
    before = ours.timesteps.clone()
    theirs.set_timesteps(steps)
    assert [t for t, _ in grid_steps(ours, steps)] == theirs.timesteps.tolist()
    assert torch.equal(ours.timesteps, before) and ours.num_inference_steps is None


def test_every_step_count_gives_a_grid_inside_the_schedule():
    for spacing in SPACINGS:
        for steps in range(1, 1000):  # includes 61, where diffusers' own trailing grid has a 62nd entry, -1
            timesteps = [t for t, _ in grid_steps(scheduler(spacing), steps)]
            assert len(timesteps) == steps and 0 <= timesteps[-1] and timesteps[0] < 1000
            assert all(a > b for a, b in zip(timesteps, timesteps[1:]))


@pytest.mark.parametrize(("spacing", "steps"), [("trailing", 1001), ("leading", 1000), ("linspace", 0), ("leading", 2.5)])
def test_more_steps_than_the_schedule_has_is_one_error(spacing, steps):
    with pytest.raises(InvalidArgument, match="steps="):
        grid_steps(scheduler(spacing), steps)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("total", [1, 3, 7, 10])
def test_one_device_cuts_the_grid_in_two(spacing, total):
    s, whole = scheduler(spacing), grid_steps(scheduler(spacing), total)
    for shared in range(total + 1):
        plan = SplitPlan(shared, total - shared)
        assert server_steps(s, plan) + device_steps(s, plan, total - shared) == whole
        # The level at which the server's last step landed; within a timestep of the next one on all but linspace grids.
        landed = whole[0][0] if shared == 0 else whole[shared - 1][1]
        assert handoff_timestep(s, plan) == (landed if shared < total else -1)
        if 0 < shared < total and spacing != "linspace":
            assert 0 <= landed - whole[shared][0] <= 1


def test_devices_share_the_grid_of_the_longest_chain_by_hand():
    plan = SplitPlan(3, (5, 7, 0))
    s = scheduler("trailing")
    assert [t for t, _ in server_steps(s, plan)] == [999, 899, 799]
    assert [t for t, _ in device_steps(s, plan, 7)] == [699, 599, 499, 399, 299, 199, 99]
    assert device_steps(s, plan, 5) == ((699, 559), (559, 419), (419, 279), (279, 139), (139, -1))
    assert device_steps(s, plan, 0) == ()
    assert [t for t, _ in device_steps(scheduler("leading"), plan, 5)] == [601, 451, 301, 151, 1]
    assert [t for t, _ in device_steps(scheduler("linspace"), plan, 5)] == [666, 500, 333, 166, 0]


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_spread_is_even_connected_and_ends_clean(spacing):
    for start in (8, 500, 999):
        for steps in {1, 2, min(7, start), start}:
            walk = spread_steps(scheduler(spacing), start, steps)
            times = [t for t, _ in walk]
            assert times[0] == start and len(times) == steps and walk[-1][1] == -1
            assert [t_prev for _, t_prev in walk[:-1]] == times[1:]
            if spacing == "trailing":
                times.append(-1)
            hops = -np.diff(times)
            assert (hops > 0).all() and (len(hops) == 0 or np.ptp(hops) <= 1)


def test_nothing_shared_means_the_devices_own_chain():
    for spacing in SPACINGS:
        s, plan = scheduler(spacing), SplitPlan(0, (5, 8))
        assert device_steps(s, plan, 5) == grid_steps(s, 5)


@pytest.mark.parametrize(("plan", "steps"), [(SplitPlan(9, 1), 101), (SplitPlan(8, 0), 1), (SplitPlan(2, 2), -1)])
def test_more_device_steps_than_are_left_is_one_error(plan, steps):
    with pytest.raises(InvalidArgument, match="device_steps="):
        device_steps(scheduler("trailing"), plan, steps)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("changes", [{}, {"set_alpha_to_one": False}, {"clip_sample": True, "clip_sample_range": 0.7}])
@pytest.mark.parametrize(("spacing", "steps"), [("leading", 4), ("trailing", 7), ("linspace", 5)])
def test_the_step_is_diffusers_bit_for_bit(prediction, changes, spacing, steps):
    s = scheduler(spacing, prediction_type=prediction, **changes)
    latent, output = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    walk = grid_steps(s, steps)
    s.set_timesteps(steps)
    for t, t_prev in walk:
        theirs = s.step(output, t, latent, eta=0.0).prev_sample
        assert torch.equal(ddim_step(s, output, latent, t, t_prev), theirs)


def test_a_step_with_the_true_noise_is_exact_however_long():
    s = scheduler(prediction_type="epsilon")
    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    level = s.alphas_cumprod.double()

    def noisy(t):
        return level[t].sqrt() * clean + (1 - level[t]).sqrt() * noise

    for t, t_prev in [(999, 10), (700, 699), (300, 77)]:
        torch.testing.assert_close(ddim_step(s, noise, noisy(t), t, t_prev), noisy(t_prev), atol=2e-5, rtol=0)
    torch.testing.assert_close(ddim_step(s, noise, noisy(300), 300, -1), clean, atol=2e-5, rtol=0)


@pytest.mark.parametrize("stateful", [PNDMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler])
def test_a_stateful_scheduler_is_refused_with_the_fix_and_the_fix_works(stateful):
    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    history = stateful(**config, prediction_type="v_prediction")
    with pytest.raises(UnsupportedPipeline, match=f'{stateful.__name__}.*scheduler="ddim"'):
        memoryless(history)
    converted = memoryless(history, "ddim")
    assert type(converted) is DDIMScheduler and not converted.config.clip_sample
    assert converted.config.prediction_type == "v_prediction"
    assert torch.equal(converted.alphas_cumprod, DDIMScheduler(**config).alphas_cumprod)


def test_other_schedules_that_cannot_be_cut():
    with pytest.raises(UnsupportedPipeline, match="thresholding"):
        memoryless(scheduler(thresholding=True))
    with pytest.raises(UnsupportedPipeline, match="rescale_betas_zero_snr"):
        memoryless(scheduler(rescale_betas_zero_snr=True, prediction_type="epsilon"))
    with pytest.raises(InvalidArgument, match="one of pipeline, ddim"):
        memoryless(scheduler(), "pndm")
    fine = scheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction")
    assert memoryless(fine) is fine
