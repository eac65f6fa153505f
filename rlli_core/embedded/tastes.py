"""The trait model: how much a person of given traits likes a picture, from published correlations.

It makes the ratings that the embedded persona agent is taught with, and is the yardstick that the agent is measured by.

    rating = quality(picture, prompt) * preference(picture, persona)

Quality is measured on the picture. Preference is linear in the traits and in standardised features of the picture, with
the signs and sizes of `EFFECTS`. Each of them has its source there, and what kind of evidence it is: in most, strangers
*attributed* traits to people by the pictures these had picked as favourites. Correlations with the traits that people
report of *themselves* are about .05 to .25, often not significant, and for colour they change sign between studies. None
of the sizes could be checked at its primary source here, only abstracts; they stand as a review gives them. So this is a
model of what observers expect of a person, not of what that person likes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image
from scipy import ndimage

from ..qoe.judge import Judge, Verdict
from ..qoe.persona import TRAITS, Persona
from . import scenes

FEATURES = ("people", "saturation", "orange", "brightness", "detail", "order", "threat", "novelty")
GAIN = 0.25  # of the weighted sum of features; with it preference spreads by about 0.2 over people and pictures
THREATS = ("tiger", "crocodile", "dinosaur")


@dataclass(frozen=True)
class TraitEffect:
    """One published effect, a correlation between a trait and a feature.

    Attributes:
        trait, feature: names from `TRAITS` and `FEATURES`.
        weight: the correlation found; 0.3 with the sign found where a study gives no size.
        evidence: "attributed" (strangers judged the owner by favourite pictures), "self" (questionnaire), or "sign"
            (questionnaire or behaviour, no size that we could find).
        source: key in book/references.bib.
    """

    trait: str
    feature: str
    weight: float
    evidence: str
    source: str


EFFECTS = (
    TraitEffect("extraversion", "people", 0.53, "attributed", "segalin2017"),
    TraitEffect("neuroticism", "people", -0.28, "attributed", "segalin2017"),
    TraitEffect("conscientiousness", "people", -0.20, "attributed", "segalin2017"),
    TraitEffect("agreeableness", "people", -0.17, "attributed", "segalin2017"),
    TraitEffect("openness", "people", -0.22, "self", "ferwerda2016"),
    TraitEffect("agreeableness", "saturation", 0.40, "attributed", "segalin2017"),
    TraitEffect("neuroticism", "saturation", -0.55, "attributed", "segalin2017"),
    TraitEffect("agreeableness", "orange", 0.45, "attributed", "segalin2017"),
    TraitEffect("neuroticism", "orange", -0.56, "attributed", "segalin2017"),
    TraitEffect("openness", "brightness", -0.25, "self", "ferwerda2016"),
    TraitEffect("openness", "detail", -0.30, "attributed", "segalin2017"),
    TraitEffect("conscientiousness", "detail", 0.19, "attributed", "segalin2017"),
    TraitEffect("conscientiousness", "order", 0.23, "attributed", "segalin2017"),
    TraitEffect("extraversion", "order", -0.33, "attributed", "segalin2017"),
    TraitEffect("agreeableness", "threat", -0.30, "sign", "bresin2015"),
    TraitEffect("neuroticism", "threat", -0.30, "sign", "reynaud2012"),
    TraitEffect("openness", "novelty", 0.30, "sign", "chamorro2009"),
    TraitEffect("agreeableness", "novelty", -0.30, "sign", "furnham2001"),
)


def weights() -> np.ndarray:
    """`EFFECTS` as a matrix (5 traits, 8 features)."""
    matrix = np.zeros((len(TRAITS), len(FEATURES)))
    for effect in EFFECTS:
        matrix[TRAITS.index(effect.trait), FEATURES.index(effect.feature)] += effect.weight
    return matrix


def features(image: Image.Image, verdict: Verdict) -> np.ndarray:
    """The features of one picture in the order of `FEATURES`, each in [0, 1] and not yet standardised.

    Args:
        image: RGB.
        verdict: what the judge sees in it.
    """
    hue, saturation, value = (np.asarray(channel, np.float32) / 255 for channel in image.convert("HSV").split())
    orange = (np.abs(hue - 30 / 360) < 15 / 360) & (saturation > 0.35) & (value > 0.35)
    across, down = _slopes(image)
    strength = np.hypot(across, down)
    straight = np.maximum(np.abs(across), np.abs(down)) > 4 * np.minimum(np.abs(across), np.abs(down))  # within 14 degrees
    first, second = sorted(verdict.objects.values())[:-3:-1]
    return np.array([
        verdict.objects["man"],
        saturation.mean(),
        orange.mean(),
        value.mean(),
        min(1.0, 10 * strength.mean()),
        (strength * straight).sum() / max(strength.sum(), 1e-6),
        sum(verdict.objects[name] for name in THREATS),
        min(1.0, 4 * first * second),  # 1 for a thing that is half this and half that
    ])  # fmt: skip


def quality(verdict: Verdict, made: float, prompt: str) -> float:
    """How well a picture is made and shows what was asked for, in [0, 1].

    The geometric mean of the judge's probabilities of what `prompt` names, object and scene (of the likeliest where it names
    none), times `made`, the picture's `workmanship`. Of two objects the probabilities are added: the judge learnt to give
    each half of the whole, so one of the two alone is not told from both.
    """
    names, place = asked_for(prompt)
    shown = min(1.0, sum(verdict.objects[name] for name in names)) if names else max(verdict.objects.values())
    where = verdict.places[place] if place else max(verdict.places.values())
    return float(np.sqrt(shown * where) * made)


def workmanship(image: Image.Image) -> float:
    """How sharp and how free of noise, in [0.25, 1]: each of the two halves it at the worst."""
    return (0.5 + 0.5 * sharpness(image)) * (1 - 0.5 * noise(image))


def sharpness(image: Image.Image) -> float:
    """In [0, 1]: the steepness of the steepest fiftieth of the pixels, 1 at the median of rendered scenes and above."""
    return float(min(1.0, _edge(image) / scale()["edge"]))


def noise(image: Image.Image) -> float:
    """In [0, 1]: the spread within the calmest cells, 0 at the median of rendered scenes, 1 at eight times that."""
    return float(np.clip(np.log2(max(_calm(image), 1e-6) / scale()["calm"]) / 3, 0, 1))


def asked_for(prompt: str) -> tuple[tuple[str, ...], str | None]:
    """The objects named in a prompt, and the scene named first; none that is not known.

    >>> asked_for("A tiger sits in front of a bush")
    (('tiger',), 'bush')
    """
    words = re.findall("[a-z]+", prompt.lower())
    text = f" {' '.join(word if word in scenes.KNOWN else word.removesuffix('s') for word in words)} "
    named = sorted((text.find(f" {name} "), name) for name in scenes.NAMES if f" {name} " in text)
    places = [scenes.PLACE_WORDS[word] for word in text.split() if word in scenes.PLACE_WORDS]
    return tuple(name for _, name in named), (places[0] if places else None)


def preference(found: np.ndarray, traits: np.ndarray) -> np.ndarray:
    """In [0.3, 1]: the taste of people with `traits` (..., 5) for pictures with these `features` (..., 8)."""
    normal = np.clip((found - scale()["mean"]) / scale()["std"], -2, 2)
    return np.clip(0.75 + GAIN * np.einsum("...t,tf,...f", 2 * np.asarray(traits) - 1, weights(), normal), 0.3, 1)


def ratings(images: Sequence[Image.Image], prompts: Sequence[str], personas: Sequence[Persona], judge: Judge) -> np.ndarray:
    """The trait model's rating of every picture by every persona, shape (I, P), in [0, 1]."""
    verdicts = judge.verdicts(images)
    made = np.array([quality(v, workmanship(i), p) for i, v, p in zip(images, verdicts, prompts)])
    found = np.array([features(i, v) for i, v in zip(images, verdicts)])
    return made[:, None] * preference(found[:, None], np.array([persona.vector for persona in personas]))


@cache
def scale(count: int = 400, seed: int = 20_000) -> dict[str, np.ndarray | float]:
    """Mean and spread of the features, median edge and calm, over rendered scenes that no data set uses."""
    drawn = [scenes.scene(seed, i, "all").image for i in range(count)]
    found = np.array([features(i, v) for i, v in zip(drawn, Judge.from_pretrained().verdicts(drawn))])
    return {
        "mean": found.mean(0),
        "std": found.std(0),
        "edge": float(np.median([_edge(i) for i in drawn])),
        "calm": float(np.median([_calm(i) for i in drawn])),
    }


def _slopes(image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Brightness per pixel, across and down."""
    grey = np.asarray(image.convert("L"), np.float32) / 255
    return ndimage.sobel(grey, 1) / 8, ndimage.sobel(grey, 0) / 8


def _edge(image: Image.Image) -> float:
    return float(np.percentile(np.hypot(*_slopes(image)), 98))


def _calm(image: Image.Image) -> float:
    """Spread of the colours in cells of 8x8 pixels: that of the cell at the lowest fifth."""
    pixels = np.asarray(image.convert("RGB"), np.float32) / 255
    height, width = (side // scenes.CELL for side in pixels.shape[:2])
    cells = pixels[: height * scenes.CELL, : width * scenes.CELL].reshape(height, scenes.CELL, width, scenes.CELL, 3)
    return float(np.percentile(cells.std((1, 3)).mean(-1), 20))
