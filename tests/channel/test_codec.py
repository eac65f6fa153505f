"""Latent <-> bits: round trips, packing, the protected header, and the statistics of the flips."""

import time
import zlib

import numpy as np
import pytest
import torch
from scipy import stats

from rlli_core.channel import BITS, NUMBER_FORMATS, UNIFORM_FORMATS, Packet, decode, encode, flip_bits, read_header
from rlli_core.channel.codec import _flip_positions
from rlli_core.errors import CorruptPacket, InvalidArgument
from rlli_core.records import SplitPlan

CONFIDENCE = 0.999  # of every statistical test below, two-sided
FLOATS = [name for name in NUMBER_FORMATS if name not in UNIFORM_FORMATS]


def latent(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def with_flips(packet, bep, seed):
    return Packet(packet.header, flip_bits(packet.payload, bep, seed))


def bits_of(payload):
    return np.unpackbits(np.frombuffer(payload, np.uint8))


# Round trips


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", [(1, 4, 16, 16), (3,), (2, 5, 7), (1,), (), (70_001,)])
def test_round_trip_is_within_half_a_level(bits, shape):
    sent = latent(*shape)
    got = decode(encode(sent, bits=bits))
    half_level = (sent.max() - sent.min()).double() / (2**bits - 1) / 2
    assert got.shape == sent.shape and got.dtype == torch.float32
    assert ((got.double() - sent.double()).abs() <= half_level * (1 + 1e-9) + 1e-7 * sent.abs().max()).all()


@pytest.mark.parametrize("bits", BITS)
def test_levels_are_all_used_and_kept_exactly(bits):
    sent = torch.linspace(-1, 1, 2**bits, dtype=torch.float64).float()
    got = decode(encode(sent, bits=bits))
    assert torch.equal(got, sent)
    assert torch.equal(decode(encode(got, bits=bits)), got)


def test_payload_against_a_packing_done_bit_by_bit():
    """Slow and obvious: every code as a binary string, strings joined, cut into bytes."""
    sent = latent(13)
    low, high = sent.min().item(), sent.max().item()
    for bits in BITS:  # 1 to 8 and 16
        codes = [round((x - low) / (high - low) * (2**bits - 1)) for x in sent.tolist()]
        digits = "".join(f"{code:0{bits}b}" for code in codes)
        digits += "0" * (-len(digits) % 8)
        expected = bytes(int(digits[i : i + 8], 2) for i in range(0, len(digits), 8))
        assert encode(sent, bits=bits).payload == expected


@pytest.mark.parametrize(("bits", "size"), [(4, 512), (6, 768), (8, 1024), (16, 2048)])
def test_payload_has_no_wasted_bit(bits, size):
    assert len(encode(latent(1, 4, 16, 16), bits=bits).payload) == size
    assert encode(latent(1, 4, 16, 16), bits=bits).payload_bits == 8 * size


@pytest.mark.parametrize("bits", BITS)
def test_gray_has_the_same_levels_and_neighbours_differ_in_one_bit(bits):
    sent = torch.linspace(-1, 1, 2**bits, dtype=torch.float64).float()
    packet = encode(sent, bits=bits, number_format="gray")
    labels = bits_of(packet.payload)[: bits * 2**bits].reshape(-1, bits)
    assert (np.abs(np.diff(labels.astype(int), axis=0)).sum(1) == 1).all()
    assert torch.equal(decode(packet), sent)
    other = latent(1, 4, 5, 5)
    assert torch.equal(decode(encode(other, bits=bits, number_format="gray")), decode(encode(other, bits=bits)))


def test_number_formats_keep_their_places():
    """A header says by its place which one it is."""
    assert NUMBER_FORMATS == ("uniform", "float32", "float16", "bfloat16", "gray")


@pytest.mark.parametrize("number_format", FLOATS)
def test_float_formats_round_trip(number_format):
    dtype = getattr(torch, number_format)
    sent = latent(2, 3, 5)
    packet = encode(sent, number_format=number_format)
    assert torch.equal(decode(packet), sent.to(dtype).float())
    assert packet.payload_bits == 30 * 8 * torch.finfo(dtype).bits // 8


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_input_types_are_sent_as_float32(dtype):
    sent = latent(40, dtype=dtype)
    assert encode(sent) == encode(sent.float())


def test_non_contiguous_and_graph_tensors():
    sent = latent(6, 8).T.requires_grad_()
    assert encode(sent) == encode(sent.detach().contiguous())


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("value", [0.0, -3.25, 3e38, 1e-45])
def test_constant_tensor_survives_any_flips(bits, value):
    sent = torch.full((1, 2, 3), value)
    assert torch.equal(decode(with_flips(encode(sent, bits=bits), 0.5, seed=1)), sent)


@pytest.mark.parametrize("bits", BITS)
def test_extreme_ranges(bits):
    top = torch.finfo(torch.float32).max
    for sent in (torch.tensor([-top, 0.0, top]), torch.tensor([0.0, 1e-45]), torch.tensor([1e6, 1e6 + 0.0625])):
        packet = encode(sent, bits=bits)
        got = decode(packet)
        assert got[0] == sent[0] and got[-1] == sent[-1]
        assert torch.isfinite(decode(with_flips(packet, 0.5, seed=2))).all()


# Header


@pytest.mark.parametrize("plan", [None, SplitPlan(3, 5), SplitPlan(0, (8,)), SplitPlan(3, (5, 7, 0))])
def test_header_carries_everything(plan):
    sent = latent(1, 4, 16, 16)
    packet = encode(sent, plan, bits=6)
    header = read_header(packet.header)
    assert (header.shape, header.bits, header.number_format, header.plan) == ((1, 4, 16, 16), 6, "uniform", plan)
    assert (header.low, header.high) == (sent.min().item(), sent.max().item())
    assert len(packet.header) <= 64  # small beside a 768-byte payload


def test_every_corrupted_header_byte_is_noticed():
    packet = encode(latent(1, 4, 4, 4), SplitPlan(3, 5))
    for i in range(len(packet.header)):
        for mask in (0x01, 0x80, 0xFF):
            header = bytearray(packet.header)
            header[i] ^= mask
            with pytest.raises(CorruptPacket):
                decode(Packet(bytes(header), packet.payload))


@pytest.mark.parametrize("length", [0, 3, 4, 10, -1])
def test_truncated_header(length):
    packet = encode(latent(5))
    with pytest.raises(CorruptPacket):
        decode(Packet(packet.header[:length], packet.payload))


def test_foreign_header_and_wrong_payload_length():
    packet = encode(latent(5))
    body = b"PNG." + packet.header[4:-4]
    with pytest.raises(CorruptPacket, match="codec"):
        decode(Packet(body + zlib.crc32(body).to_bytes(4, "little"), packet.payload))
    for payload in (packet.payload[:-1], packet.payload + b"\0", b""):
        with pytest.raises(CorruptPacket, match="bytes"):
            decode(Packet(packet.header, payload))


# Flips


@pytest.mark.parametrize("bep", [1e-5, 1e-3, 0.03, 0.15, 0.5])
def test_number_of_flips_is_binomial(bep):
    sent = np.random.default_rng(3).bytes(300_000)  # more than four blocks, the last one not full
    flips = bits_of(sent) ^ bits_of(flip_bits(sent, bep, seed=4))
    assert stats.binomtest(int(flips.sum()), flips.size, bep).pvalue > 1 - CONFIDENCE


@pytest.mark.parametrize("bep", [0.03, 0.3])
def test_flips_are_independent_and_favour_no_position(bep):
    flips = bits_of(flip_bits(bytes(400_000), bep, seed=5)).astype(bool)
    by_bit = flips.reshape(-1, 8).sum(axis=0)
    assert stats.chisquare(by_bit).pvalue > 1 - CONFIDENCE
    for lag in (1, 2, 8, 8 * 65_536):  # within bytes, across bytes, across blocks
        both = int((flips[:-lag] & flips[lag:]).sum())
        # neighbouring pairs overlap: the variance of the count has a covariance term, p^3 (1 - p) each side
        pairs = flips.size - lag
        variance = pairs * (bep**2 * (1 - bep**2) + 2 * bep**3 * (1 - bep))
        assert abs(both - pairs * bep**2) < stats.norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt(variance)
    gaps = np.diff(np.flatnonzero(flips))
    observed = np.bincount(np.minimum(gaps, 20), minlength=21)[1:]
    expected = np.append(stats.geom.pmf(np.arange(1, 20), bep), stats.geom.sf(19, bep)) * gaps.size
    assert stats.chisquare(observed, expected).pvalue > 1 - CONFIDENCE


def test_flips_of_short_payloads_are_binomial_over_seeds():
    """A latent of the embedded model is one short block; its flips must not depend on what a block could hold."""
    counts = np.array([bits_of(flip_bits(bytes(16), 0.05, seed=s)).sum() for s in range(3000)])
    edges = np.arange(13)
    expected = np.append(stats.binom.pmf(edges, 128, 0.05), stats.binom.sf(12, 128, 0.05)) * counts.size
    observed = np.bincount(np.minimum(counts, 13), minlength=14)
    assert stats.chisquare(observed, expected).pvalue > 1 - CONFIDENCE


def test_flip_positions_go_on_where_a_draw_ran_out():
    """Gaps that are all the shortest possible use up every draw, so that each following bit is flipped in turn."""

    class Shortest:
        def standard_exponential(self, size):
            return np.zeros(size)

    assert np.array_equal(_flip_positions(100, 0.01, Shortest()), np.arange(100))


def test_no_flip_at_zero_and_vanishing_bep():
    sent = np.random.default_rng(6).bytes(1000)
    assert flip_bits(sent, 0.0, seed=1) == sent
    assert flip_bits(sent, 5e-324, seed=1) == sent
    assert flip_bits(b"", 0.3, seed=1) == b""


def test_same_seed_same_bytes():
    sent = bytes(100_000)
    assert flip_bits(sent, 0.03, seed=7) == flip_bits(sent, 0.03, seed=7)
    assert flip_bits(sent, 0.03, seed=7) != flip_bits(sent, 0.03, seed=8)


# What the flips do to values


@pytest.mark.parametrize("bits", BITS)
def test_uniform_never_leaves_its_range(bits):
    sent = latent(1, 4, 64, 64)
    for seed in range(20):
        got = decode(with_flips(encode(sent, bits=bits), 0.15, seed))
        assert torch.isfinite(got).all()
        assert got.min() >= sent.min() and got.max() <= sent.max()


@pytest.mark.parametrize("number_format", FLOATS)
def test_float_formats_fail_visibly(number_format):
    sent = latent(1, 4, 64, 64)  # all within +-5
    got = decode(with_flips(encode(sent, number_format=number_format), 0.03, seed=1))
    assert (~torch.isfinite(got)).any() or (got.abs() > 1e30).any()
    assert (~(got.abs() <= 100)).float().mean() > 0.01


def test_error_grows_as_the_flips_predict():
    """Flipping bit j of a b-bit code moves a value by 2^j levels: mean squared error p (4^b - 1) / 3 levels^2, plus
    cross terms that vanish for uniform codes."""
    sent, bep = torch.rand(200_000, generator=torch.Generator().manual_seed(2)), 0.01
    exact = decode(encode(sent))
    moved = decode(with_flips(encode(sent), bep, seed=3)) - exact
    squared = (moved.double() / ((sent.max() - sent.min()).double() / 255)) ** 2
    error = squared.std().item() / squared.numel() ** 0.5 * stats.norm.ppf((1 + CONFIDENCE) / 2)
    assert squared.mean().item() == pytest.approx(bep * (4**8 - 1) / 3, abs=error)


# Bad arguments


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("number_format", NUMBER_FORMATS)
def test_non_finite_latent(bad, number_format):
    with pytest.raises(InvalidArgument, match="latent"):
        encode(torch.tensor([1.0, bad, 2.0]), number_format=number_format)


@pytest.mark.parametrize(
    "bad", [torch.empty(0), torch.tensor([1, 2]), [1.0, 2.0], None, torch.tensor([1e300], dtype=torch.float64)]
)
def test_bad_latent(bad):
    with pytest.raises(InvalidArgument, match="latent"):
        encode(bad)


@pytest.mark.parametrize("bits", [0, -1, 9, 15, 32, "8", 8.0, True, None])
def test_bad_bits(bits):
    with pytest.raises(InvalidArgument, match="bits"):
        encode(latent(3), bits=bits)


def test_bad_number_format():
    with pytest.raises(InvalidArgument, match="uniform, float32"):
        encode(latent(3), number_format="int8")


@pytest.mark.parametrize(("name", "bep", "seed"), [("bep", -0.1, 1), ("bep", 0.51, 1), ("bep", None, 1), ("seed", 0.1, -1)])
def test_bad_flip_arguments(name, bep, seed):
    with pytest.raises(InvalidArgument, match=name):
        flip_bits(b"abc", bep, seed)


def test_throughput():
    """The target is 100 MB of float32 latent a second of one core's time; a third of it leaves room for a busy machine."""
    sent = latent(4_000_000)
    seconds = []
    for seed in range(3):
        start = time.process_time()
        decode(with_flips(encode(sent), 0.03, seed))
        seconds.append(time.process_time() - start)
    assert 4 * sent.numel() / 1e6 / min(seconds) >= 30
