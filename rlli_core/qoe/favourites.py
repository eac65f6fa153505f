"""People and the pictures they like: read from a folder, or chosen by the trait model where no such data can be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ..errors import InvalidArgument
from .persona import TRAITS, Persona

PICTURES = (".jpg", ".jpeg", ".png")


def read_favourites(folder: str | Path) -> dict[str, tuple[Persona, list[Image.Image]]]:
    """Read the traits and favourite pictures of people, such as those of PsychoFlickr, which nobody may pass on.

    Args:
        folder: holds `traits.csv` with the columns person, openness, conscientiousness, extraversion, agreeableness and
            neuroticism (each from 0 to 1), and for each person a folder of that name with .jpg or .png files.

    Returns:
        person -> traits and RGB pictures in the order of their names.

    Raises:
        InvalidArgument: no such folder or file, a column or a person's pictures missing, traits out of range.
    """
    table = Path(folder) / "traits.csv"
    if not table.is_file():
        raise InvalidArgument("folder", str(folder), "a folder with traits.csv and a folder of pictures for each person")
    rows = pd.read_csv(table, dtype={"person": str})
    if missing := [name for name in ("person", *TRAITS) if name not in rows]:
        raise InvalidArgument(str(table), f"without the columns {', '.join(missing)}", "person, " + ", ".join(TRAITS))
    found = {}
    for row in rows.to_dict("records"):
        files = sorted(f for f in (Path(folder) / row["person"]).glob("*") if f.suffix.lower() in PICTURES)
        if not files:
            raise InvalidArgument(str(Path(folder) / row["person"]), "no pictures", "a folder with .jpg or .png files")
        found[row["person"]] = (Persona.of([float(row[trait]) for trait in TRAITS]), [_open(file) for file in files])
    return found


def _open(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.convert("RGB")


def choose_favourites(ratings: np.ndarray, names: Sequence[str], count: int) -> dict[str, list[int]]:
    """Give each person the `count` pictures that stand out most in their ratings against everybody's.

    Args:
        ratings: (pictures, people), from the trait model.
        names: of the people.

    Returns:
        person -> indices of pictures.
    """
    if not 1 <= count <= len(ratings):
        raise InvalidArgument("count", count, f"from 1 to the number of pictures, {len(ratings)}")
    own = ratings - ratings.mean(1, keepdims=True)
    return {name: np.argsort(-own[:, k], kind="stable")[:count].tolist() for k, name in enumerate(names)}


def cross_scores(scores: np.ndarray, favourites: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """Mean score of each person's favourites (columns) by the agent of each person (rows), as in Fig. 10(b).

    Args:
        scores: (pictures, people), from the agents, people in the order of `favourites`.
    """
    means = np.array([scores[list(chosen)].mean(0) for chosen in favourites.values()])
    return pd.DataFrame(means.T, index=[*favourites], columns=[*favourites]).rename_axis("agent of", axis=0)


def matrix_agreement(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Correlate two correlation matrices of the same people, and say how often chance does as well (Mantel's test).

    Returns:
        The correlation of the entries above the diagonals, and the share of all orders of the people (itself included)
        in which it is at least as large.
    """
    above = np.triu_indices(len(one), 1)
    found = np.corrcoef(one[above], other[above])[0, 1]
    shuffled = [np.corrcoef(one[np.ix_(p, p)][above], other[above])[0, 1] for p in map(list, permutations(range(len(one))))]
    return float(found), float(np.mean(np.array(shuffled) >= found - 1e-12))
