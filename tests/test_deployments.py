"""Deployments as trees over the stages of a round: the pictures, what the receivers know, and the costs by hand."""

import pytest
import torch

from rlli_core import Link, SplitDiffusion, SplitPlan
from rlli_core.channel import PAPER_LINKS
from rlli_core.deployments import Device, Topology, deploy, starters
from rlli_core.errors import InvalidArgument
from rlli_core.qoe import Persona, PersonaAgent
from rlli_core.round import Scale, serve

from .diffusion.test_split import SCHEDULES
from .qoe import models

GA1, GA2 = Persona.named("GA1"), Persona.named("GA2")
FIRST, SECOND = PAPER_LINKS


@pytest.fixture(scope="module")
def agent():
    return PersonaAgent(*models.llava(), device="cpu", least_mass=0)


def pixels(deployed):
    return [share.image and share.image.tobytes() for share in deployed.shares]


def line(*own, prompt="a", **options):
    return [Device(prompt, steps, **options) for steps in own]


# Pictures.


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("shared", [(1, 1, 1, 0), (2, 0, 3, 0), (0, 2, 1, 1), (5, 1, 0, 0)])
def test_a_line_without_links_draws_what_the_uncut_chain_draws(tiny_pipeline, schedule, shared):
    chain = SplitDiffusion(tiny_pipeline(schedule), device="cpu")
    devices = [Device("a cat", None)] * 3 + [Device("a cat", 7 - sum(shared))]
    for receiver in ("paper", "noise-aware"):
        chain.denoiser.calls = 0
        made = deploy(chain, devices, Topology.line(shared), seed=5, receiver=receiver)
        assert chain.denoiser_calls == 7
        assert pixels(made) == [None] * 3 + [chain.generate("a cat", 7, 5).tobytes()]


def test_each_in_a_cluster_finishes_its_own_picture_on_what_it_hands_on(chain):
    devices = [Device("a", 5), Device("b", 4), Device("c", 1)]
    made = deploy(chain, devices, Topology.line([2, 1, 2]), seed=5)  # the ways have 7, 7 and 6 steps
    assert pixels(made)[0] == chain.generate("a", 7, 5).tobytes()
    switched = chain.path("a", 7, 5, switch=(2, "b"))
    assert pixels(made)[1] == chain.decode(switched[-1:])[0].tobytes()
    third = chain.go_on(chain.go_on(chain.server_denoise("a", SplitPlan(2, 5), 5), "b", 1), "c", 2)
    assert pixels(made)[2] == chain.device_denoise(third, "c", SplitPlan(5, 1)).tobytes()


def test_a_star_around_a_server_is_a_round(chain, agent):
    powers, plan = [50.0, 120.0], SplitPlan(2, (1, 3))
    devices = [
        Device(prompt, steps, link=link, power_w=power, persona=person)
        for prompt, steps, link, power, person in zip(["a b", "c"], (1, 3), PAPER_LINKS, powers, (GA1, GA2))
    ]
    for receiver in ("paper", "noise-aware"):
        asked = {"seed": 5, "flip_seeds": [1, 2], "receiver": receiver}
        round_ = serve(chain, PAPER_LINKS, agent, "a", ["a b", "c"], [GA1, GA2], plan, powers, **asked)
        made = deploy(
            chain, [Device.server("a"), *devices], Topology.star(3, 2), agent=agent, **asked | {"flip_seeds": [0, 1, 2]}
        )
        assert pixels(made) == [None, *(image.tobytes() for image in round_.images)]
        assert [share.score for share in made.shares] == [None, *round_.scores]
        for share, got in zip(made.shares[1:], round_.received):
            assert share.received.link == got.link and share.received.latent.equal(got.latent)
        assert made.qoe == pytest.approx(sum(score.value for score in round_.scores))


def test_whoever_begins_finishes_its_own_picture_untouched_by_any_link(chain):
    devices = [Device(p, 3, link=link, power_w=10.0) for p, link in zip("ab", PAPER_LINKS)]
    for first, made in enumerate(starters(chain, devices, 2, 5)):
        other, prompt = 1 - first, devices[first].prompt
        assert pixels(made)[first] == chain.generate(prompt, 5, 5).tobytes() and made.shares[first].received is None
        sent = chain.server_denoise(prompt, SplitPlan(2, 3), 5)
        got = PAPER_LINKS[other].transmit(sent, power_w=10.0, seed=5 + other)
        assert pixels(made)[other] == chain.device_denoise(got, devices[other].prompt).tobytes()


def test_where_nothing_is_shared_nothing_is_sent_and_each_is_alone(chain):
    class Untouched:
        def transmit(self, *_arguments, **_options):
            raise AssertionError

    devices = [Device("a", 2), Device("b", 3, link=Untouched(), power_w=1.0)]
    for topology in (Topology.star(2, 0), Topology.line([0, 0])):
        made = deploy(chain, devices, topology, seed=5)
        assert pixels(made) == [chain.generate("a", 2, 5).tobytes(), chain.generate("b", 3, 5).tobytes()]
        assert made.energy_mwh == 5 and made.times(False)[1].arrived_s == 0


def test_a_latent_handed_on_more_often_goes_through_more_relays():
    assert Topology.relayed(4, 5, 1, 2) == Topology.star(4, 5, 2) == Topology((2, 2, None, 2), (0, 0, 5, 0))
    assert Topology.relayed(4, 5, 3) == Topology.line([2, 2, 1, 0])
    assert Topology.relayed(4, 5, 2, 1).steps_until == (5, 3, 5, 5) and Topology.line([1, 2, 0], [1, 0, 2]).steps_until == (
        3,
        2,
        3,
    )


# What the receivers know.


def test_what_two_hops_do_is_the_sum_that_the_last_receiver_knows(chain):
    """By simulation: a latent relayed over two links, many times, against the reported moments."""
    first, second = Link(), Link(bits=6)
    sent = chain.server_denoise("a", SplitPlan(1, 3), 5)
    errors, variances = [], []
    for seed in range(300):
        relayed = chain.go_on(first.transmit(sent, bep=0.03, seed=seed), "a", 0)
        got = second.transmit(relayed, bep=0.08, seed=10**6 + seed)
        assert got.link.bias == pytest.approx((1 - 0.06) * (1 - 0.16))
        errors.append(got.latent - (got.link.bias * sent.latent + got.link.offset))
        variances.append(got.link.variance)
    errors, variance = torch.stack(errors).double().flatten(1), sum(variances) / len(variances)
    squares = errors.square().mean(1)
    spread = squares.std() / len(squares) ** 0.5
    assert spread < 0.02 * variance
    assert abs(squares.mean() - variance) < 4 * spread + 0.01 * variance  # 6 bits quantise by less than a hundredth of it
    assert abs(errors.mean()) < 4 * errors.mean(1).std() / len(errors) ** 0.5 + 0.01
    assert squares.mean() > 1.1 * second.transmit(sent, bep=0.08, seed=1).link.variance  # the first hop is in it


def test_a_noise_aware_relay_that_walks_hands_on_as_one_that_was_not_sent(chain):
    sent = chain.server_denoise("a", SplitPlan(2, 6), 5)
    got = FIRST.transmit(sent, bep=0.1, seed=1)
    lowest = chain.restart_range(got, "noise-aware")[0]
    steps = []
    chain.on_step = lambda timestep, _: steps.append(timestep)
    relayed = chain.go_on(got, "b", 3, receiver="noise-aware")
    chain.on_step = None
    grid = chain.server_denoise("a", SplitPlan(5, 3), 5)
    assert relayed.link is None and (relayed.timestep, relayed.plan) == (grid.timestep, grid.plan)
    assert steps[0] == lowest > sent.timestep and len(steps) == 3
    strides = [a - b for a, b in zip(steps, [*steps[1:], relayed.timestep])]
    assert max(strides) - min(strides) <= 1  # evenly, from the effective timestep back to the grid
    again = SECOND.transmit(relayed, bep=0.1, seed=2).link
    once = SECOND.transmit(grid, bep=0.1, seed=2).link
    assert (again.bias, again.offset != 0) == (once.bias, True)


def test_the_papers_relay_walks_on_the_grid_and_passes_the_report_on(chain):
    got = FIRST.transmit(chain.server_denoise("a", SplitPlan(2, 6), 5), bep=0.1, seed=1)
    relayed = chain.go_on(got, "b", 3)
    assert relayed.link == got.link and relayed.plan == SplitPlan(5, 3) and (relayed.prompt, relayed.seed) == ("b", 5)
    by_hand = chain.go_on(chain.go_on(got, "b", 1), "b", 2)
    assert by_hand.latent.equal(relayed.latent)
    still = chain.go_on(got, "b", 0, receiver="noise-aware")
    assert still.latent is got.latent and still.link == got.link and still.prompt == "a"


def test_where_the_link_leaves_nothing_a_noise_aware_relay_begins_anew(chain):
    got = FIRST.transmit(chain.server_denoise("a", SplitPlan(2, 6), 5), bep=0.5, seed=1)
    relayed = chain.go_on(got, "b", 6, receiver="noise-aware")
    assert relayed.timestep == -1 and relayed.latent.equal(chain.generate("b", 6, 5, output_type="latent"))
    part = chain.go_on(got, "b", 3, receiver="noise-aware")
    other = FIRST.transmit(chain.server_denoise("c", SplitPlan(2, 6), 5), bep=0.5, seed=9)
    assert part.latent.equal(chain.go_on(other, "b", 3, receiver="noise-aware").latent) and part.timestep > 0


@pytest.mark.parametrize("steps", [-1, 7, 1.5])
def test_a_relay_takes_no_more_steps_than_are_left(chain, steps):
    with pytest.raises(InvalidArgument, match="steps="):
        chain.go_on(chain.server_denoise("a", SplitPlan(2, 6), 5), "b", steps)


# Costs.


SERVER_STEP_MWH, SERVER_STEP_S, STEP_S = Scale().server_step_j / 3.6, Scale().server_step_s, Scale().device_step_s


def test_energy_by_hand(chain):
    phone = {"step_energy_mwh": 1.5, "link": FIRST, "power_w": 36.0}
    devices = [Device.server("a"), Device("b", 3, **phone), Device("c", 1, **phone)]
    made = deploy(chain, devices, Topology.line([4, 2, 0]), seed=5)
    airtime = 4 * 8 * 8 * 8 / FIRST.bit_rate_bps  # 4 x 8 x 8 values of 8 bits
    packet = 36.0 * airtime / 3.6  # W s in mWh
    spent = [(4 * SERVER_STEP_MWH, packet), (5 * 1.5, packet), (1.5, 0)]
    for share, (steps, air) in zip(made.shares, spent):
        assert (share.step_energy_mwh, share.transmit_energy_mwh) == (steps, pytest.approx(air))
    assert made.energy_mwh == pytest.approx(4 * SERVER_STEP_MWH + 9 + 2 * packet)
    assert made.worth(0.1) == pytest.approx(-0.1 * made.energy_mwh) and made.qoe == 0


def test_latency_by_hand(chain):
    slow = {"link": Link(bit_rate_bps=2048 / 0.25), "power_w": 1.0}  # a quarter of a second a packet
    devices = [Device.server("a"), Device("a", 3, ready_s=2.0, **slow), Device("a", 1, step_s=1.0, **slow)]
    made = deploy(chain, devices, Topology.star(3, 4), seed=5)
    shared = 4 * SERVER_STEP_S
    assert (devices[1].step_s, len(made.times())) == (STEP_S, 3)
    stored = made.times(synchronous=False)
    assert [time.arrived_s for time in stored[1:]] == pytest.approx([shared + 0.25] * 2)
    assert [time.started_s for time in stored] == pytest.approx([0, 2.0, shared + 0.25])  # the first one's lay in the store
    assert [time.served_s for time in stored] == pytest.approx([shared, 2 + 3 * STEP_S, shared + 0.25 + 1])
    assert made.latency_s(False) == pytest.approx((2 + 3 * STEP_S + shared + 0.25 + 1) / 2)
    together = made.times()
    assert together[0].started_s == 2.0 and together[1].started_s == pytest.approx(2 + shared + 0.25)
    assert [time.served_s for time in together] == pytest.approx([2 + shared + 0.25 + 3 * STEP_S] * 3)
    assert made.latency_s() == pytest.approx(2 + shared + 0.25 + 3 * STEP_S)


def test_in_a_line_each_waits_for_those_before_it(chain):
    made = deploy(chain, line(2, 2, 2, step_s=1.0), Topology.line([1, 2, 0]), seed=5)
    times = made.times(synchronous=False)
    assert [time.started_s for time in times] == [0, 1, 3]
    assert [time.handed_on_s for time in times] == [1, 3, 3]
    assert [time.served_s for time in times] == [3, 5, 5]


# Bad input.


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Device("a", -1), "own_steps=-1"),
        (lambda: Device("a", 1, power_w=1.0), "power_w=1.0"),
        (lambda: Device("a", 1, link=Link()), "power_w=None"),
        (lambda: Device("a", 1, link=Link(), power_w=-1.0), "power_w=-1.0"),
        (lambda: Device("a", 1, link="x", power_w=1.0), "link='x'"),
        (lambda: Device("a", 1, ready_s=float("inf")), "ready_s=inf"),
        (lambda: Topology((None, None), (1, 0)), "parents="),
        (lambda: Topology((None, 2, 1), (1, 0, 0)), "parents="),
        (lambda: Topology((None, 5), (1, 0)), "parents=5"),
        (lambda: Topology((None, 0), (1,)), "shared_steps="),
        (lambda: Topology((None, 0), (1, -1)), "shared_steps=-1"),
        (lambda: Topology.star(2, 1, first=2), "first=2"),
        (lambda: Topology.relayed(3, 1, 3), "hops=3"),
        (lambda: Topology.line([1, 1], order=[0, 0]), "order="),
    ],
)
def test_devices_and_trees_that_cannot_be(make, match):
    with pytest.raises(InvalidArgument, match=match):
        make()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"devices": line(1)}, "devices="),
        ({"devices": ["a", "b"]}, "devices"),
        ({"devices": line(None, None)}, "at least one who wants a picture"),
        ({"topology": (None, 0)}, "topology="),
        ({"seed": -1}, "seed=-1"),
        ({"receiver": "x"}, "receiver='x'"),
        ({"flip_seeds": [1]}, "devices="),
        ({"agent": 3}, "agent=3"),
        ({"chain": 3}, "chain=3"),
    ],
)
def test_rounds_that_cannot_be(chain, changes, match):
    asked = {"chain": chain, "devices": line(1, 1), "topology": Topology.star(2, 1), "seed": 5}
    with pytest.raises(InvalidArgument, match=match):
        deploy(**asked | changes)


def test_an_agent_plays_somebody(chain, agent):
    with pytest.raises(InvalidArgument, match="persona"):
        deploy(chain, line(1, 1), Topology.star(2, 1), 5, agent=agent)
