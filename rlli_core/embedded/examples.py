"""What the embedded persona agent learns from: pictures, what there is to say of them, wishes to rate them against."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from ..files import WORK, whole
from ..qoe.agent import RATINGS
from ..qoe.judge import Judge, Verdict
from . import scenes, tastes
from .pictures import split_pictures
from .training import rendered, workers

RENDERS = 24_000
PICTURES = 9_600


@dataclass(frozen=True)
class Examples:
    """Pictures to learn from, and what judge and trait model see in them.

    Attributes:
        images: (N, 128, 128, 3) uint8.
        pairs: what each was asked for: fields of a scene's label, object and place first.
        others: for pictures of a switched chain, what the server was asked for; else the same.
        objects, places: the judge's probabilities, (N, 50) and (N, 8).
        made: workmanship, (N,).
        features: of the trait model, (N, 8).
    """

    images: np.ndarray
    pairs: list[tuple]
    others: list[tuple]
    objects: np.ndarray
    places: np.ndarray
    made: np.ndarray
    features: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray, pairs: list[tuple], others: list[tuple]) -> Examples:
        """Look at all pictures once; kept in `WORK` for each set of pictures and state of the trait model."""
        state = zlib.crc32(Path(tastes.__file__).read_bytes(), zlib.crc32(np.ascontiguousarray(images[::37]).tobytes()))
        path = WORK / "seen" / f"{len(images)}-{state:08x}.npz"
        with workers().main_process_first():
            if not path.exists():
                judge, verdicts, made, found = Judge.from_pretrained(), [], [], []
                for start in tqdm(range(0, len(images), 200), desc="judging", mininterval=10):
                    some = [Image.fromarray(image) for image in images[start : start + 200]]
                    verdicts += (seen := judge.verdicts(some))
                    made += map(tastes.workmanship, some)
                    found += map(tastes.features, some, seen)
                objects, places = [list(v.objects.values()) for v in verdicts], [list(v.places.values()) for v in verdicts]
                with whole(path) as place, place.open("wb") as file:
                    np.savez(file, made=made, features=found, objects=objects, places=places)
        seen = np.load(path)
        return cls(images, pairs, others, *(seen[name] for name in ("objects", "places", "made", "features")))

    def verdict(self, index: int) -> Verdict:
        """The judge's, of one picture."""
        return Verdict(dict(zip(scenes.NAMES, self.objects[index])), dict(zip(scenes.PLACES, self.places[index])))

    def ratings(self, index: int, prompt: str, traits: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        """The trait model's preference (P,), quality and rating (P,) of one picture by people with `traits` (P, 5)."""
        taste = tastes.preference(self.features[index], traits)
        made = tastes.quality(self.verdict(index), self.made[index], prompt)
        return taste, made, made * taste


def rendered_examples(seed: int) -> Examples:
    """Rendered scenes."""
    images, labels = rendered(seed, RENDERS)
    pairs = [tuple(label[key] for key in ("object", "place", "style", "relation", "second")) for label in labels]
    return Examples.of(images, pairs, pairs)


def split_examples(seed: int) -> Examples:
    """Pictures of the split chain."""
    images, asked, _ = split_pictures(seed, PICTURES)
    full = [[(*pair, one.style, "alone", None) for pair in (one.device, one.server)] for one in asked]
    return Examples.of(images, [device for device, _ in full], [server for _, server in full])


def description_of(examples: Examples, index: int) -> str:
    """What a picture shows, in one wording: what it was asked for where the judge agrees, else what the judge sees."""
    seen, pair = examples.verdict(index), examples.pairs[index]
    name, place, relation, second = (pair[i] for i in (0, 1, 3, 4))
    if relation == "alone":
        name, place = seen.object, seen.place
    where = scenes.SCENES[place][0]
    if relation == "feeding":
        return f"a man feeding pigeons {where} ."
    joint = {"beside": " and ", "under": " under "}.get(relation)
    return f"{scenes.article(name)}{joint + scenes.article(second) if joint else ''} {where} ."


def measurements_of(examples: Examples, index: int) -> str:
    """A picture's features as digits, 0 to 9 over two standard deviations about their mean, and its workmanship."""
    normal = (examples.features[index] - tastes.scale()["mean"]) / tastes.scale()["std"]
    digits = np.clip((normal + 2) / 4 * 10, 0, 9).astype(int)
    made = int(np.clip((examples.made[index] - 0.25) / 0.75 * 10, 0, 9))
    return " ".join(f"{name} {digit}" for name, digit in zip((*tastes.FEATURES, "clean"), (*digits, made)))


def draw_prompt(rng: np.random.Generator, pair: tuple, other: tuple) -> str:
    """A prompt to rate a picture against: mostly its own, or the server's, in part, or a wrong one."""
    kind = rng.choice(["own", "server", "part", "wrong object", "wrong place", "any"], p=[0.6, 0.1, 0.1, 0.08, 0.07, 0.05])
    name, place, *rest = other if kind == "server" else pair
    if kind in ("wrong object", "any"):
        name, rest = str(rng.choice(scenes.NAMES)), [rest[0], "alone", None]
    if kind in ("wrong place", "any"):
        place = str(rng.choice(scenes.PLACES))
    if kind == "part":
        return str(rng.choice([scenes.article(name), name, scenes.SCENES[place][0], ""]))
    return scenes.caption(rng, name, place, *rest)


def soft_target(rating: torch.Tensor) -> torch.Tensor:
    """Ratings (...) in [0, 1] -> probabilities (..., 10) of the two neighbouring digits, whose mean is the rating."""
    place = rating * (len(RATINGS) - 1)
    low = place.floor().clamp(max=len(RATINGS) - 2)
    digits = torch.arange(len(RATINGS))
    part = (place - low)[..., None]
    return torch.where(digits == low[..., None], 1 - part, 0) + torch.where(digits == low[..., None] + 1, part, 0)
