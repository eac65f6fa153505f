"""Picture or latent at equal airtime: bits counted, the picture's cliff, fading as an average over gains, the choice of the best."""

import numpy as np
import pytest
from PIL import Image

from rlli_core import FisherSnedecorF, SplitDiffusion, SplitPlan
from rlli_core.book import airtime
from rlli_core.book.airtime import CODES, GRID, MEASURES, arrival, best_variant, faded, long_table, on_grid, picture_curve
from rlli_core.files import DATA, read_json

UNET = read_json(DATA / "models" / "embedded-sd" / "unet" / "config.json")
VALUES = UNET["in_channels"] * UNET["sample_size"] ** 2  # of the embedded latent


@pytest.mark.parametrize("name", CODES)
def test_every_code_is_as_long_on_air(name):
    link = CODES[name]
    bits = VALUES * link.bits if link.protection is None else link.protection.expected_bits(VALUES, link.bits, 0.05)
    assert bits == VALUES * 8
    assert bits == airtime.WORDS * airtime._WORD  # those of a picture


def test_snr_is_per_channel_bit():
    assert airtime.bep_at(0.0) == pytest.approx(0.0786, abs=1e-4)  # Q(sqrt 2)
    assert airtime.bep_at(9.6) == pytest.approx(1e-5, rel=0.05)  # Proakis & Salehi, fig. 4.2-4


@pytest.mark.slow
def test_a_picture_arrives_above_a_cliff_that_soft_decisions_move_by_about_two_decibels():
    middle = {}
    for soft in (False, True):
        whole = arrival(0.5, soft)
        assert whole[0] == 0 and whole[-1] == 1 and (np.diff(whole) > -0.15).all()
        assert ((whole > 0.01) & (whole < 0.99)).sum() <= 4  # within two decibels
        middle[soft] = np.interp(0.5, whole, GRID)
    assert 1 < middle[False] - middle[True] < 2.5
    # No code of rate 1/2 gets through below capacity: hard, 1 - H(p) = 1/2 at p = 0.110; soft, Eb/N0 = 0.19 dB (Proakis & Salehi,
    # Digital Communications, 5th ed., ch. 6).
    assert middle[False] > -1.25 and middle[True] > -2.85


def test_a_picture_has_the_bytes_that_its_code_leaves():
    image = Image.radial_gradient("L").convert("RGB")
    for rate, limit in ((0.25, 512), (0.75, 1536)):
        assert limit / 2 < airtime.still_within(image, "jpeg", rate).size <= limit


@pytest.mark.slow
def test_a_picture_gets_through_or_not():
    assert airtime.arrives(0.5, 0.01, seed=0) and not airtime.arrives(0.5, 0.2, seed=0)


def test_a_picture_curve_mixes_what_arrived_with_blanks():
    stills, blank = np.array([[30.0, 0.9, 0.0, 0.6]]), np.array([[10.0, 0.5, 0.4, 0.0]])
    curve = picture_curve(stills, blank, np.array([0.0, 0.5, 1.0]))
    assert curve.tolist() == [blank.tolist(), [[20.0, 0.7, 0.2, 0.3]], stills.tolist()]


def test_on_grid_interpolates_and_holds_the_ends():
    curve = np.arange(3.0)[:, None, None] ** 2 * np.ones((1, 2, 4))
    got = on_grid(curve, [0, 2, 4], np.array([[-9.0, 0.0, 1.0], [3.0, 4.0, 99.0]]))
    assert got.shape == (2, 3, 2, 4)
    assert got[..., 0, 0].tolist() == [[0, 0, 0.5], [2.5, 4, 4]]


def test_fading_is_the_average_over_gains():
    fading, curve = FisherSnedecorF(2.0, 1.5), 1 / (1 + np.exp(-(GRID - 1)))[:, None, None] * np.ones((1, 2, 4))
    mean_snr = np.array([0.0, 10.0])
    gains = 10 * np.log10(fading.sample(200_000, seed=0))
    sampled = [np.interp(gains + snr, GRID, curve[:, 0, 0]) for snr in mean_snr]
    for got, values in zip(faded(curve, mean_snr, fading)[:, 1, 2], sampled):
        assert abs(got - values.mean()) < 5 * values.std() / np.sqrt(values.size) + 1e-4
    # No fading to speak of: the curve itself.
    still = faded(curve, mean_snr, FisherSnedecorF(5000.0, 5000.0))
    assert still[0] == pytest.approx(on_grid(curve, GRID, mean_snr)[0], abs=0.01)


def test_the_best_variant_is_chosen_for_each_snr_and_measure_and_distance_is_better_small():
    low, high = np.zeros((2, 3, 4)), np.ones((2, 3, 4))
    low[1] = 2.0
    curve, names = best_variant({"low": low, "high": high})
    assert names[0].tolist() == ["high" if m != "distance" else "low" for m in MEASURES]
    assert names[1].tolist() == ["low" if m != "distance" else "high" for m in MEASURES]
    assert curve[0, 0].tolist() == [1, 1, 0, 1] and curve[1, 2].tolist() == [2, 2, 1, 2]


def test_a_table_has_a_row_for_every_number():
    curve = np.arange(24.0).reshape(2, 3, 4)
    table = long_table({"a": curve, "b": -curve}, np.array([-1.0, 5.0]))
    assert len(table) == 12
    row = table[(table.scheme == "b") & (table.snr_db == 5.0) & (table.case == 2)]
    assert row[list(MEASURES)].to_numpy()[0].tolist() == [-20, -21, -22, -23]


def test_received_pictures_are_those_of_the_single_calls(tiny_pipeline):
    chain, plan = SplitDiffusion(tiny_pipeline(), device="cpu"), SplitPlan(1, 2)
    sent = [chain.server_denoise("a", plan, seed) for seed in (0, 1)]
    link = CODES[airtime.BIT_ONCE]
    got = airtime.received(chain, sent, link, [0.0, 6.0], "noise-aware")
    one = link.transmit(sent[1], bep=airtime.bep_at(6.0), seed=1)
    expected = np.asarray(chain.device_denoise(one, "a", receiver="noise-aware"), int)
    assert len(got) == 2 and len(got[0]) == 2
    assert np.abs(np.asarray(got[1][1], int) - expected).max() <= 1  # rounding of larger batches


class Agent:
    """Scores a picture by its brightness, whoever looks."""

    def scores(self, images, personas, prompts):
        assert len(images) == len(personas) == len(prompts)
        return [type("Score", (), {"value": np.asarray(image).mean() / 255}) for image in images]


class Eyes:
    def distances(self, images, references):
        return [float(a is not b) for a, b in zip(images, references)]


def test_measures_stand_in_their_order_and_equal_pictures_have_a_finite_psnr():
    black, white = Image.new("RGB", (16, 16)), Image.new("RGB", (16, 16), "white")
    got = airtime.measured(Eyes(), Agent(), [black, white], [black, black], ["a", "a"])
    assert got[0] == pytest.approx([airtime.MOST_PSNR_DB, 1, 0, 0])
    assert got[1] == pytest.approx([0, 0, 1, 1], abs=1e-3)
