import numpy as np
import pytest
import torch

from rlli_core import SplitPlan
from rlli_core.channel import PAPER_LINKS
from rlli_core.errors import InvalidArgument
from rlli_core.qoe import Persona, PersonaAgent
from rlli_core.round import serve

from .qoe import models

PEOPLE = [Persona.named("GA1"), Persona.named("GA2")]


@pytest.fixture(scope="module")
def agent():
    return PersonaAgent(*models.llava(), device="cpu", least_mass=0)


def test_a_round_is_the_single_calls_in_order(chain, agent):
    plan, powers, prompts = SplitPlan(2, (1, 3)), [50.0, 120.0], ["a b", "c"]
    made = serve(chain, PAPER_LINKS, agent, "a", prompts, PEOPLE, plan, powers, seed=5)
    sent = chain.server_denoise("a", plan, 5)
    for k, prompt in enumerate(prompts):
        got = PAPER_LINKS[k].transmit(sent, power_w=powers[k], seed=5 + k)
        assert made.received[k].latent.equal(got.latent) and made.received[k].link == got.link
        assert made.images[k].tobytes() == chain.device_denoise(got, prompt, plan, device=k).tobytes()
        assert made.scores[k].value == pytest.approx(agent.score(made.images[k], PEOPLE[k], prompt).value, rel=1e-4)


def same(first, second):
    """Whether two rounds made the same, bit for bit."""
    pairs = zip((first.sent, *first.received), (second.sent, *second.received), strict=True)
    assert all((a is None and b is None) or (a.latent.equal(b.latent) and a.link == b.link) for a, b in pairs)
    assert [image.tobytes() for image in first.images] == [image.tobytes() for image in second.images]
    assert first.scores == second.scores


def test_without_shared_steps_nothing_is_sent_and_each_device_is_alone(chain, agent):
    class Untouched:
        def transmit(self, *_arguments, **_options):
            raise AssertionError

    made = serve(chain, [Untouched()] * 2, agent, "a", ["a b", "c"], PEOPLE, SplitPlan(0, (1, 3)), [50.0, 0.0], seed=5)
    assert made.sent is None and made.received == (None, None) and chain.denoiser_calls == 4
    for image, prompt, steps in zip(made.images, ["a b", "c"], (1, 3)):
        assert image.tobytes() == chain.generate(prompt, steps, 5).tobytes()


@pytest.mark.parametrize("asked", [{"powers_w": [50.0, None, 120.0]}, {"powers_w": None, "beps": [0.01, None, 0.1]}])
def test_a_user_who_stays_out_is_alone_and_the_others_do_not_notice(chain, asked):
    links, plan = [PAPER_LINKS[0]] * 3, SplitPlan(2, (1, 9, 3))
    made = serve(chain, links, None, "a", ["a", "b", "c"], (), plan, seed=5, **asked)
    assert made.received[1] is None and made.images[1].tobytes() == chain.generate("b", 9, 5).tobytes()
    (name, levels) = next((name, levels) for name, levels in asked.items() if levels)
    others = {**asked, name: [levels[0], levels[2]]}
    pair = serve(chain, links[:2], None, "a", ["a", "c"], (), SplitPlan(2, (1, 3)), seed=5, flip_seeds=[5, 7], **others)
    for k, j in ((0, 0), (2, 1)):
        assert made.received[k].latent.equal(pair.received[j].latent) and made.images[k].tobytes() == pair.images[j].tobytes()
    alone = serve(chain, links[:1], None, "a", ["b"], (), SplitPlan(2, 9), [None], seed=5)
    assert alone.sent is None and alone.images[0].tobytes() == made.images[1].tobytes()


def test_errors_may_be_given_instead_of_powers(chain, agent):
    plan = SplitPlan(2, (1, 3))
    made = serve(chain, PAPER_LINKS, agent, "a", ["a", "b"], PEOPLE, plan, None, seed=5, beps=[0.03, 0.5], flip_seeds=[1, 1])
    sent = chain.server_denoise("a", plan, 5)
    for k, bep in enumerate((0.03, 0.5)):
        got = PAPER_LINKS[k].transmit(sent, bep=bep, seed=1)
        assert made.received[k].latent.equal(got.latent) and made.received[k].link == got.link


def test_a_batch_of_devices_gives_what_single_ones_give(chain):
    prompts, plan = ["a", "b", "c", "d"], SplitPlan(2, (3, 3, 1, 3))
    asked = {"powers_w": None, "seed": 5, "beps": [0.1, None, 0.0, 0.1]}
    single, batch = (
        serve(chain, [PAPER_LINKS[0]] * 4, None, "a", prompts, (), plan, batch_size=size, **asked) for size in (1, 3)
    )
    for one, other in zip(single.images, batch.images):
        assert np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= 1
    assert all(a is b is None or a.latent.equal(b.latent) for a, b in zip(single.received, batch.received))


def test_every_stage_is_told_before_the_next_one_starts(chain, agent):
    told, calls = [], []

    def on_stage(stage):
        told.append(stage)
        calls.append(chain.denoiser_calls)

    plan, powers = SplitPlan(2, (1, 3)), [50.0, 120.0]
    made = serve(chain, PAPER_LINKS, agent, "a", ["a b", "c"], PEOPLE, plan, powers, seed=5, on_stage=on_stage)
    assert [(stage.name, stage.device) for stage in told] == [
        ("sent", None), ("received", 0), ("image", 0), ("received", 1), ("image", 1), ("score", 0), ("score", 1),
    ]  # fmt: skip
    results = (made.sent, made.received[0], made.images[0], made.received[1], made.images[1], *made.scores)
    assert all(stage.result is result for stage, result in zip(told, results))
    assert calls == [2, 2, 3, 3, 6, 6, 6]


def test_a_round_may_be_cancelled_in_any_stage_and_between_any_two_steps(chain, agent):
    asked = (chain, PAPER_LINKS, agent, "a", ["a b", "c"], PEOPLE, SplitPlan(2, (1, 3)), [50.0, 120.0], 5)
    whole = serve(*asked)

    class Stop(Exception):
        pass

    def stop_after(count):
        left = [count]

        def hook(*_):
            left[0] -= 1
            if left[0] < 0:
                raise Stop

        return hook

    for count in range(7):
        with pytest.raises(Stop):
            serve(*asked, on_stage=stop_after(count))
    same(serve(*asked), whole)
    for count in range(6):
        chain.on_step = hook = stop_after(count)
        before = chain.denoiser_calls
        with pytest.raises(Stop):
            serve(*asked)
        assert chain.denoiser_calls - before == count + 1 and chain.on_step is hook
    chain.on_step = None
    assert torch.is_grad_enabled()
    same(serve(*asked), whole)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"beps": [0.1, 0.1]}, "powers_w, beps="),
        ({"powers_w": None}, "powers_w, beps="),
        ({"powers_w": None, "beps": [0.1]}, "devices="),
        ({"powers_w": None, "beps": [0.1, 0.7]}, "bep=0.7"),
        ({"flip_seeds": [1]}, "devices="),
        ({"personas": PEOPLE[:1]}, "devices="),
        ({"seed": "x"}, "seed='x'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"powers_w": [50.0, None], "plan": SplitPlan(2, (1, 0))}, "device_steps=0"),
    ],
)
def test_rounds_that_cannot_be(chain, agent, changes, match):
    asked = {"server_prompt": "a", "device_prompts": ["a", "b"], "personas": PEOPLE, "plan": SplitPlan(2, (1, 3))}
    asked |= {"powers_w": [50.0, 120.0], "seed": 5}
    with pytest.raises(InvalidArgument, match=match):
        serve(chain, PAPER_LINKS, agent, **asked | changes)


def test_devices_must_agree_in_number(chain, agent):
    with pytest.raises(InvalidArgument, match="devices"):
        serve(chain, PAPER_LINKS, agent, "a", ["a"], PEOPLE, SplitPlan(2, (1, 3)), [50.0, 120.0], seed=5)
