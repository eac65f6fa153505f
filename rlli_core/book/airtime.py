"""The finished picture or the latent, at equal airtime: what arrives of either, how good it is, at one SNR and over fading.

Every scheme puts the same number of bits on air, at the same energy a bit (BPSK in white noise, SNR per channel bit Es/N0). The
picture arrives whole or not at all; the latent always arrives, with errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import entropy

from ..channel import FisherSnedecorF, Ldpc, Link, Repetition, conditional_bep
from ..channel.ldpc_code import parity_checks
from ..errors import InvalidArgument
from ..qoe import Judge, Persona, psnr, ssim
from ..qoe.persona import people
from ..qoe.still import Still, fit_still
from ..records import Handoff

if TYPE_CHECKING:
    from ..diffusion.split import SplitDiffusion
    from ..qoe.agent import PersonaAgent

MEASURES = {"psnr_db": "PSNR (dB)", "ssim": "SSIM", "distance": "distance in judge features", "score": "agents' score"}
BIT_ONCE = "8 bits, each once"
CODES = {  # uses of 8 channel bits a value
    BIT_ONCE: Link(),
    "4 bits, the first two three times": Link(bits=4, protection=Repetition((3, 3, 1, 1))),
    "6 bits, two of them under LDPC": Link(bits=6, protection=Ldpc(rate=0.5, protected=2)),
    "4 bits, all under LDPC": Link(bits=4, protection=Ldpc(rate=0.5)),
}
GRID = np.arange(-8.0, 12.01, 0.5)  # SNR per channel bit, dB
BLANK = (128, 128, 128)  # what is shown of a picture that did not arrive
MOST_PSNR_DB = 60.0  # of equal pictures, whose PSNR has no bound
_WORD, _FEW, _TRIALS = 1024, 10, 100  # bits a codeword; words that are sent to see whether any gets through, and to count
WORDS = 16  # codewords on air: as many bits as a latent of the embedded model has at 8 bits a value
Curve = np.ndarray  # (SNR, case, measure)


def bep_at(snr_db: float) -> float:
    """Bit error probability of BPSK at an SNR per channel bit in dB."""
    return float(conditional_bep("bpsk", 10 ** (snr_db / 10)))


def received(
    chain: SplitDiffusion, sent: Sequence[Handoff], link: Link, snr_db: Sequence[float], receiver: str
) -> list[list[Image.Image]]:
    """Pictures that devices make of hand-offs sent over `link`, each towards the server's prompt: one list an SNR."""
    got = [link.transmit(one, bep=bep_at(snr), seed=one.seed) for snr in snr_db for one in sent]
    images: Any = chain.device_denoises(got, [one.prompt for one in got], receiver=receiver)
    return [images[first : first + len(sent)] for first in range(0, len(images), len(sent))]


def measured(
    judge: Judge, agent: PersonaAgent, images: Sequence[Image.Image], references: Sequence[Image.Image], prompts: Sequence[str]
) -> np.ndarray:
    """The `MEASURES` of images: likeness to their references, and the mean score of all people; (image, measure)."""
    everyone, count = [Persona.named(name) for name in people()], len(images)
    given = [*images] * len(everyone), [person for person in everyone for _ in images], [*prompts] * len(everyone)
    scores = np.array([score.value for score in agent.scores(*given)]).reshape(len(everyone), count).mean(0)
    pairs = list(zip(images, references))
    near = [min(psnr(*pair), MOST_PSNR_DB) for pair in pairs]
    return np.column_stack([near, [ssim(*pair) for pair in pairs], judge.distances(images, references), scores])


@lru_cache(maxsize=256)
def arrival(rate: float, soft: bool = False, words: int = WORDS) -> np.ndarray:
    """Probability that all of so many LDPC codewords of a picture are decoded, at each SNR of `GRID`.

    None below the capacity of the channel (soft: of one with hard decisions at 2 dB more, which is at least as much). Above, from
    codewords sent in ascending SNR: few to see whether any gets through, many to count; once none of them fails, none does
    at a higher SNR.

    Args:
        rate: of the code.
        soft: whether the decoder knows how sure each bit is, instead of the bits and their BEP.
        words: codewords a picture.
    """
    code, whole = Ldpc(rate=rate, length=_WORD), np.zeros(GRID.size)
    for index, snr_db in enumerate(GRID):
        if _capacity(snr_db + 2 * soft) < rate or _failed(code, snr_db, soft, _FEW) == 1:
            continue
        failed = _failed(code, snr_db, soft, _TRIALS)
        whole[index] = (1 - failed) ** words
        if not failed:
            whole[index:] = 1
            break
    return whole


def _capacity(snr_db: float) -> float:
    """Data bits a channel bit at most, with hard decisions: 1 - H(BEP)."""
    bep = bep_at(snr_db)
    return float(1 - entropy([bep, 1 - bep], base=2))


def _failed(code: Ldpc, snr_db: float, soft: bool, words: int) -> float:
    """Share of codewords that fail; soft: of the zero word, as good as any in a linear code and a symmetric channel."""
    rng = np.random.default_rng(code.seed)
    if not soft:
        return code.send(np.zeros((words, code.data_bits), np.uint8), bep_at(snr_db), rng).failed or 0.0
    try:
        from ldpc import BpDecoder
    except ImportError as error:
        raise InvalidArgument("soft", soft, "used with the library ldpc; `pip install 'rlli_core[coding]'` gets it") from error
    checks = parity_checks(code.data_bits, code.length - code.data_bits, code.seed)
    decoder = BpDecoder(
        checks,
        error_rate=0.1,
        max_iter=code.iterations,
        bp_method="product_sum",
        input_vector_type="received_vector",
    )
    snr, failed = 10 ** (snr_db / 10), 0
    for heard in 1 + rng.normal(0, np.sqrt(0.5 / snr), (words, code.length)):
        unsure = 1 / (1 + np.exp(4 * snr * np.abs(heard)))  # probability that the sign is wrong
        decoder.update_channel_probs(unsure.clip(1e-12))
        decided = decoder.decode((heard < 0).astype(np.uint8))
        failed += not decoder.converge or bool(decided.any())
    return failed / words


def still_within(image: Image.Image, codec: str, rate: float) -> Still:
    """The picture in the bytes that a code of this rate leaves of the airtime."""
    return fit_still(image, codec, WORDS * Ldpc(rate=rate, length=_WORD).data_bits // 8)


def arrives(rate: float, bep: float, seed: int) -> bool:
    """Whether a picture gets through this once: whether all its codewords are decoded, by hard decisions."""
    code = Ldpc(rate=rate, length=_WORD)
    rng = np.random.default_rng(seed)
    return not code.send(rng.integers(0, 2, (WORDS, code.data_bits), np.uint8), bep, rng).failed_blocks


def blank(image: Image.Image) -> Image.Image:
    """What a receiver shows of a picture that did not arrive: a plain grey of its size."""
    return Image.new("RGB", image.size, BLANK)


def picture_curve(stills: np.ndarray, blanks: np.ndarray, arriving: np.ndarray) -> Curve:
    """Expected measures of pictures that arrive with a probability an SNR; of stills and blanks, (case, measure)."""
    return arriving[:, None, None] * stills + (1 - arriving[:, None, None]) * blanks


def on_grid(curve: Curve, snr_db: Sequence[float] | np.ndarray, wanted: np.ndarray) -> Curve:
    """A curve at other SNRs, by straight lines in dB; beyond its ends the value there. `wanted` may have any shape."""
    place = np.interp(wanted, snr_db, np.arange(len(snr_db)))
    low = np.minimum(place.astype(int), len(snr_db) - 2)
    share = (place - low)[..., None, None]
    return (1 - share) * curve[low] + share * curve[low + 1]


def faded(curve: Curve, mean_snr_db: np.ndarray, fading: FisherSnedecorF) -> Curve:
    """A curve over `GRID`, averaged over the gain of each packet, which the receiver knows: at mean SNRs in dB."""
    return np.asarray(fading.average(lambda gain: on_grid(curve, GRID, 10 * np.log10(gain)[:, None] + mean_snr_db)))


def best_variant(curves: Mapping[str, Curve]) -> tuple[Curve, np.ndarray]:
    """The best of some curves at each SNR and for each measure, by the mean over cases, and its name (SNR, measure)."""
    stacked, names = np.stack(list(curves.values())), np.array(list(curves))
    sign = np.where(np.array(list(MEASURES)) == "distance", -1, 1)
    best = (sign * stacked.mean(2)).argmax(0)
    return np.take_along_axis(stacked, best[None, :, None, :], 0)[0], names[best]


def long_table(curves: Mapping[str, Curve], snr_db: np.ndarray) -> pd.DataFrame:
    """Curves as rows: scheme, snr_db, case and a column for each measure."""
    tables = []
    for scheme, curve in curves.items():
        snr, case = np.indices(curve.shape[:2]).reshape(2, -1)
        rows = pd.DataFrame(curve.reshape(-1, curve.shape[2]), columns=list(MEASURES))
        tables.append(rows.assign(scheme=scheme, snr_db=snr_db[snr], case=case))
    return pd.concat(tables, ignore_index=True)
