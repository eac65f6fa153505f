import numpy as np
import pytest
import torch

from rlli_core import FisherSnedecorF, Link, SplitPlan
from rlli_core.allocation import Service, ServiceConfig, oracle
from rlli_core.channel import conditional_bep
from rlli_core.channel.packets import PacketLoss
from rlli_core.errors import InvalidArgument
from rlli_core.records import Handoff

from ..allocation.conftest import source  # noqa: F401

LATENT = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def sent():
    return Handoff(LATENT, SplitPlan(2, 3), 500, "a", seed=0)


def lost(sent, got):
    return (got.latent != sent.latent).flatten()


def test_without_loss_nothing_changes_and_with_all_lost_nothing_is_left(sent):
    assert torch.equal(PacketLoss(0.0).transmit(sent, seed=1).latent, sent.latent)
    assert not PacketLoss(1.0).transmit(sent, seed=1).latent.any()


def test_packets_are_lost_whole(sent):
    gone = lost(sent, PacketLoss(0.5, values=16, interleaved=False).transmit(sent, seed=1)).reshape(-1, 16)
    assert set(gone.sum(1).tolist()) == {0, 16}
    spread = lost(sent, PacketLoss(0.5, values=16).transmit(sent, seed=1))
    assert spread.sum() % 16 == 0 and set(spread.reshape(-1, 16).sum(1).tolist()) != {0, 16}


def test_what_is_missing_is_the_mean_of_what_came(sent):
    got = PacketLoss(0.5).transmit(sent, seed=1)
    gone = lost(sent, got)
    assert torch.allclose(got.latent.flatten()[gone], sent.latent.flatten()[~gone].mean())


def test_it_serves_as_a_link_of_a_chain(chain):
    link = PacketLoss(0.5)
    swept = chain.sweep("a", ["b"], [2], [3], [0.1], [4], link=link, output_type="latent", progress=False).records[0]
    got = link.transmit(chain.server_denoise("a", SplitPlan(2, 3), seed=4), bep=0.1, seed=4)
    assert torch.allclose(swept.latent, chain.device_denoise(got, "b", output_type="latent"), atol=1e-5)
    again = link.transmit(chain.server_denoise("a", SplitPlan(2, 3), seed=4), power_w=5.0, seed=4)
    assert torch.equal(got.latent, again.latent)


class Steady(FisherSnedecorF):
    """A law of one's own: no fading."""

    def sample(self, size, seed):
        return np.ones(size)

    def average(self, function):
        return function(np.ones(1))[0]


class Coded(Link):
    """A link of one's own: whatever it sends, a tenth of the errors are left."""

    def bep(self, power_w, gain=None):
        return super().bep(power_w, gain) / 10


def test_a_law_and_a_link_of_ones_own_serve_the_allocator(source):
    link = Coded(Steady(2.0, 1.5))
    assert link.bep(50.0) == pytest.approx(conditional_bep("bpsk", 5.0) / 10)
    service = Service(ServiceConfig(link=link), source)
    states = service.draw(np.random.default_rng(0), 4)
    assert (states.gains == 1).all()
    assert service.bep(states, oracle.no_sharing(service, states)) == pytest.approx(0.05)  # nothing sent, half of it wrong


@pytest.mark.parametrize("wrong", [{"loss": 1.2}, {"values": 0}])
def test_it_refuses_what_it_cannot_be(wrong):
    with pytest.raises(InvalidArgument):
        PacketLoss(**wrong)
