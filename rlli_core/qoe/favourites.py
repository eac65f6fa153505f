"""People and the pictures they like: read from a folder, or chosen by the trait model where no such data can be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ..errors import InvalidArgument, check_type, first_line
from .persona import TRAITS, Persona
from .pictures import as_seen

PICTURES = (".jpg", ".jpeg", ".png", ".webp")


def read_favourites(folder: str | Path) -> dict[str, tuple[Persona, list[Image.Image]]]:
    """Read the traits and favourite pictures of people, such as those of PsychoFlickr, which nobody may pass on.

    Args:
        folder: holds `traits.csv` with the columns person, openness, conscientiousness, extraversion, agreeableness and
            neuroticism (each from 0 to 1), and for each person, each in one row, a folder of that name with .jpg, .png or .webp files.

    Returns:
        person -> traits and RGB pictures, as a viewer shows them, in the order of their names.

    Raises:
        InvalidArgument: no such folder or file, a column or a person's pictures missing, a person twice, traits out of range, a file
            that is no table or no picture.
    """
    check_type("folder", folder, (str, Path), "a folder with traits.csv")
    table = Path(folder) / "traits.csv"
    try:
        there = table.is_file()
    except (OSError, ValueError):  # no operating system has such a path
        there = False
    if not there:
        raise InvalidArgument("folder", str(folder), "a folder with traits.csv and a folder of pictures for each person")
    try:
        rows = pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8")  # "NA" is a name as good as any
    except (OSError, ValueError) as error:
        raise InvalidArgument(
            str(table), f"unreadable ({first_line(error)})", "a table of comma-separated values in UTF-8"
        ) from error
    if missing := [name for name in ("person", *TRAITS) if name not in rows]:
        raise InvalidArgument(str(table), f"without the columns {', '.join(missing)}", "person, " + ", ".join(TRAITS))
    if twice := sorted(set(rows.person[rows.person.duplicated()])):
        raise InvalidArgument(str(table), f"{', '.join(twice)} in more than one row", "one row a person")
    found = {}
    for row in rows.to_dict("records"):
        files = sorted(f for f in (Path(folder) / row["person"]).glob("*") if f.suffix.lower() in PICTURES)
        if not files:
            raise InvalidArgument(str(Path(folder) / row["person"]), "no pictures", "a folder with .jpg, .png or .webp files")
        found[row["person"]] = (Persona.of([_number(row, trait) for trait in TRAITS]), [_open(file) for file in files])
    return found


def _open(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            return as_seen(image, str(file))
    except OSError as error:
        raise InvalidArgument(
            str(file), f"unreadable ({first_line(error)})", "a picture; leave it out or get it again"
        ) from error


def _number(row: dict, trait: str) -> float:
    try:
        return float(row[trait])
    except ValueError as error:
        raise InvalidArgument(f"{trait} of {row['person']}", row[trait], "a number from 0 to 1") from error


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
