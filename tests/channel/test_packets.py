import pytest
import torch

from rlli_core import SplitPlan
from rlli_core.channel.packets import PacketLoss
from rlli_core.errors import InvalidArgument
from rlli_core.records import Handoff

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
    assert torch.equal(got.latent, link.transmit(chain.server_denoise("a", SplitPlan(2, 3), seed=4), power_w=5.0, seed=4).latent)


@pytest.mark.parametrize("wrong", [{"loss": 1.2}, {"values": 0}])
def test_it_refuses_what_it_cannot_be(wrong):
    with pytest.raises(InvalidArgument):
        PacketLoss(**wrong)
