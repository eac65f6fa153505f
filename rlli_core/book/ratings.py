"""What people say of themselves and of pictures, beside what the agent of their traits says: the form, its file, the comparison.

The form is ten statements about oneself, items of the International Personality Item Pool, which is in the public domain
(Goldberg et al. 2006, DOI 10.1016/j.jrp.2005.08.007), and 24 pictures of the atlas. For each trait it takes two items of the
Mini-IPIP (Donnellan et al. 2006, DOI 10.1037/1040-3590.18.2.192; https://ipip.ori.org/MiniIPIPKey.htm), one keyed each way, so
that who agrees with everything comes out in the middle. The page `rate_yourself` fills it in, `rlli people` reads it. A file
fits one form: one list of statements and one set of pictures.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from ..errors import UnusableFile, check_choice, check_list, check_number, check_seed, first_line, shown
from ..files import why
from ..qoe.persona import TRAITS, Persona
from .browser import atlas

if TYPE_CHECKING:
    from ..qoe.agent import PersonaAgent

VERSION = 1  # of the file
ANSWERS = ("very inaccurate", "moderately inaccurate", "neither", "moderately accurate", "very accurate")  # 1 to 5
HIGHEST = 10  # rating of a picture; the lowest is 0
LEAST_RATED = 12  # pictures, below which a file is refused
RESAMPLES = 2000
STATEMENTS = (
    ("openness", 1, "I have a vivid imagination."),
    ("conscientiousness", 1, "I get chores done right away."),
    ("extraversion", 1, "I am the life of the party."),
    ("agreeableness", 1, "I sympathize with others’ feelings."),
    ("neuroticism", 1, "I get upset easily."),
    ("openness", -1, "I am not interested in abstract ideas."),
    ("conscientiousness", -1, "I often forget to put things back in their proper place."),
    ("extraversion", -1, "I keep in the background."),
    ("agreeableness", -1, "I am not interested in other people’s problems."),
    ("neuroticism", -1, "I am relaxed most of the time."),
)
"""Trait, key (+1 where agreeing means more of the trait, -1 where less) and words."""
BEPS, DEVICE_STEPS, SHARED_STEPS = (0.0, 0.03, 0.06, 0.15), (2, 8), (1, 2, 3, 4)  # what pictures are chosen among
KINDS = ("their own agent", "another's agent", "chance")
_COLUMNS = "kind,number,told,value"
_SOURCES = ("a person", "a made-up person")


@dataclass(frozen=True)
class Picture:
    """One picture of the form: the device's prompt, how it came about, and the picture as people see it, as WebP."""

    prompt: str
    shared_steps: int
    device_steps: int
    bep: float
    encoded: bytes

    @property
    def image(self) -> Image.Image:
        """The picture, RGB."""
        return Image.open(io.BytesIO(self.encoded)).convert("RGB")


@cache
def pictures() -> tuple[Picture, ...]:
    """The pictures of the form, in its order, as the paper's receiver made them beside a device of eight steps.

    For each of the atlas' groups of prompts there is one for each of `BEPS` and `DEVICE_STEPS`; prompt and t0 are drawn.

    Raises:
        ModelNotFound: there is no atlas.
    """
    index, rng, found = atlas.read(), np.random.default_rng(0), []
    for group, bep, steps in product(index["groups"], BEPS, DEVICE_STEPS):
        place, shared = int(rng.integers(len(group["prompts"]))), int(rng.choice(SHARED_STEPS))
        row, column = index["plans"][f"{shared}"].index([max(DEVICE_STEPS), steps]), index["beps"].index(bep)
        side, kept = index["side"], io.BytesIO()
        with Image.open(atlas.ATLAS / f"{index['seeds'][0]}-{group['number']}-{place}-{shared}.webp") as sheet:
            cell = sheet.convert("RGB").crop((side * column, side * row, side * (column + 1), side * (row + 1)))
        cell.save(kept, "webp", quality=90)
        found.append(Picture(group["prompts"][place], shared, steps, bep, kept.getvalue()))
    return tuple(found[i] for i in rng.permutation(len(found)))


@cache
def form() -> str:
    """Twelve digits that tell this form from one with other statements or pictures."""
    told = hashlib.sha256(repr((STATEMENTS, ANSWERS, HIGHEST)).encode())
    for one in pictures():
        told.update(one.image.tobytes())
    return told.hexdigest()[:12]


def rows() -> list[str]:
    """The lines of a file after its head, as CSV, each without the value at its end."""
    told = {"statement": [words for _, _, words in STATEMENTS], "picture": [one.prompt for one in pictures()]}
    return [f'{kind},{number},"{words}",' for kind, all_ in told.items() for number, words in enumerate(all_, 1)]


def head(made_up: bool = False) -> str:
    """The two lines at the top of a file: version, form and whose answers; the columns."""
    return f"# rlli ratings {VERSION}; form {form()}; {_SOURCES[made_up]}\n{_COLUMNS}\n"


@dataclass(frozen=True, eq=False)
class Person:
    """What one person said.

    Attributes:
        name: of the file, without its ending.
        answers: 1 to 5, one a statement.
        ratings: 0 to 10, one a picture; NaN where there is none.
        made_up: whether this is no person.
    """

    name: str
    answers: tuple[int, ...]
    ratings: np.ndarray
    made_up: bool = False

    @property
    def persona(self) -> Persona:
        """For each trait the mean of its two answers, turned by their key, from 0 to 1; 0.5 is the middle of the scale."""
        return traits_of(self.answers)

    def text(self) -> str:
        """The file that `read` reads."""
        values = [*map(str, self.answers), *("" if np.isnan(rating) else f"{rating:.0f}" for rating in self.ratings)]
        return head(self.made_up) + "".join(f"{row}{value}\n" for row, value in zip(rows(), values, strict=True))


def traits_of(answers: Sequence[int]) -> Persona:
    """The traits of ten answers, each 1 to 5; two answers make one of nine levels."""
    keyed: dict[str, list[float]] = {trait: [] for trait in TRAITS}
    for (trait, key, _), answer in zip(STATEMENTS, answers, strict=True):
        keyed[trait].append((answer - 1) / 4 if key > 0 else (5 - answer) / 4)
    return Persona(**{trait: sum(values) / len(values) for trait, values in keyed.items()})


def read(path: Path) -> Person:
    """Read the file of one person.

    Raises:
        UnusableFile: it cannot be read, is of another version or form, lacks a line or has one too many, has a value out of
            range, rates fewer than `LEAST_RATED` pictures, or all alike.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        table = [[cell.strip() for cell in row[:4]] for row in csv.reader(lines[1:], strict=True) if any(row)]
    except OSError as error:
        raise UnusableFile(f"{path.name} cannot be read: {why(error)}") from error
    except (ValueError, csv.Error) as error:
        raise UnusableFile(f"{path.name} is no CSV file in UTF-8: {first_line(error)}") from error
    first = lines[0].rstrip(",; ").strip('"') if lines else ""  # a spreadsheet fills up the line, or quotes it
    made_up = _check_head(path, first)
    if not table or table[0] != _COLUMNS.split(","):
        raise UnusableFile(
            f"{path.name}: its second line must be {_COLUMNS}, it is {shown(','.join(table[0]) if table else '')}"
        )
    found: dict[tuple[str, ...], str] = {}
    for row in table[1:]:
        if len(row) != 4 or tuple(row[:2]) in found:
            raise UnusableFile(f"{path.name}: the line {shown(','.join(row))} is there twice or has no value")
        found[tuple(row[:2])] = row[3]
    keys = [tuple(row.split(",")[:2]) for row in rows()]
    if amiss := [" ".join(key) for key in [*keys, *found] if (key in found) != (key in keys)]:
        raise UnusableFile(f"{path.name}: {shown(amiss[0])} is missing or is not of the form")
    values = [_value(path, key, found[key]) for key in keys]
    answers, ratings = values[: len(STATEMENTS)], np.array(values[len(STATEMENTS) :])
    if (rated := int(np.sum(~np.isnan(ratings)))) < LEAST_RATED:
        raise UnusableFile(f"{path.name} rates {rated} pictures; at least {LEAST_RATED} are needed")
    if np.nanmin(ratings) == np.nanmax(ratings):
        raise UnusableFile(f"{path.name} rates all pictures alike, so nothing can be compared")
    return Person(path.stem, tuple(int(answer) for answer in answers), ratings, made_up)


def _check_head(path: Path, first: str) -> bool:
    """Whether a file is of a made-up person."""
    for made_up in (False, True):
        if first == head(made_up).splitlines()[0]:
            return made_up
    if not first.startswith("# rlli ratings "):
        raise UnusableFile(f"{path.name} is not a file of the page rate_yourself: it begins with {shown(first)}")
    if not first.startswith(f"# rlli ratings {VERSION};"):
        raise UnusableFile(f"{path.name} is of another version, {shown(first)}; this book reads version {VERSION}")
    raise UnusableFile(f"{path.name} was filled in for another form, {shown(first)}; this book's is {form()}: other pictures")


def _value(path: Path, key: tuple[str, ...], text: str) -> float:
    low, high = (1, len(ANSWERS)) if key[0] == "statement" else (0, HIGHEST)
    if key[0] == "picture" and not text:
        return float("nan")
    if not (text.isascii() and text.isdigit() and low <= int(text[:9]) <= high):
        raise UnusableFile(f"{path.name}: {' '.join(key)} has the value {shown(text)}; allowed are {low} to {high}")
    return float(text)


def agent_scores(agent: PersonaAgent, personas: Sequence[Persona]) -> np.ndarray:
    """What the agent of each persona says of the form's pictures, in [0, 1], shape (people, pictures)."""
    known, seen, everyone = pictures(), [one.image for one in pictures()], check_list("personas", personas)
    asked = [one.prompt for one in known] * len(everyone)
    found = agent.scores(seen * len(everyone), [who for who in everyone for _ in known], asked)
    return np.reshape([score.value for score in found], (len(everyone), len(known)))


def compare(people: Sequence[Person], scores: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """How well the agent of each person's traits foretells the person's ratings, and how much better than a wrong person's.

    Args:
        people: one at least; what `others` is needs two with different traits.
        scores: of `agent_scores` for these people.
        seed: of the resampling.

    Returns:
        One row a person: the five traits, rated (number of pictures); own, Pearson's correlation of ratings and own agent's
        scores; others, the mean correlation with the agents of the other people, those with the same traits left out; gain,
        own less others; own and gain each with _low and _high, the ends of a 95 % bootstrap interval over pictures. recognised:
        whether gain_low is above zero. others and gain are NaN where nobody else has other traits.
    """
    rng, found = np.random.default_rng(check_seed("seed", seed)), []
    everyone = [person.persona for person in check_list("people", people)]
    for k, person in enumerate(people):
        there = ~np.isnan(person.ratings)
        n, wrong = int(there.sum()), [other != everyone[k] for other in everyone]
        weights = np.vstack([np.full(n, 1 / n), rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n])
        by_agent = _correlations(scores[:, there], person.ratings[there], weights)
        own = by_agent[k]
        others = by_agent[wrong].mean(0) if any(wrong) else np.full_like(own, np.nan)
        row = dict(zip(TRAITS, everyone[k].vector)) | {
            "rated": n,
            "own": own[0],
            "others": others[0],
            "gain": own[0] - others[0],
        }
        for name, values in (("own", own), ("gain", own - others)):
            row[f"{name}_low"], row[f"{name}_high"] = np.quantile(values[1:], (0.025, 0.975))
        found.append(row | {"recognised": row["gain_low"] > 0, "made_up": person.made_up})
    return pd.DataFrame(found, pd.Index([person.name for person in people], name="person"))


def calibrate(people: Sequence[Person], scores: np.ndarray, seed: int = 0) -> dict[str, float]:
    """The line that turns an agent's score into the rating to be expected, over all people: rating / 10 = intercept + slope * score.

    One line for all, because a person's two dozen ratings say little about two numbers of their own, and because what is to be
    calibrated is the agent, which others will ask. A line, because it keeps differences of scores comparable, which a monotone
    map of steps does not.

    Returns:
        intercept, slope, each with _low and _high, a 95 % bootstrap interval over pictures; and the root mean square errors of
        ratings / 10 on pictures that the fit has not seen: error_line; error_mean, of the mean rating for all; error_score, of
        the score as it is. Only where error_line is below error_mean do the agents say something about the pictures.
    """
    rng, n = np.random.default_rng(check_seed("seed", seed)), scores.shape[1]
    ratings = np.array([person.ratings for person in people]) / HIGHEST
    left_out, drawn = 1.0 - np.eye(n), rng.multinomial(n, np.full(n, 1 / n), RESAMPLES)
    slope, intercept, mean = _line(scores, ratings, np.vstack([np.ones(n), left_out, drawn]))
    ends = {
        f"{name}_{end}": float(np.quantile(values[1 + n :], part))
        for name, values in (("slope", slope), ("intercept", intercept))
        for end, part in (("low", 0.025), ("high", 0.975))
    }
    foretold = {"line": intercept[1 : n + 1] + slope[1 : n + 1] * scores, "mean": mean[1 : n + 1] + 0 * scores, "score": scores}
    errors = {f"error_{name}": float(np.sqrt(np.nanmean((ratings - one) ** 2))) for name, one in foretold.items()}
    return {"slope": float(slope[0]), "intercept": float(intercept[0])} | ends | errors


def _correlations(scores: np.ndarray, ratings: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of each row of scores (K, n) with ratings (n,) under each row of weights (R, n) that sum to 1, (K, R); 0 where undefined."""
    mean, level = scores @ weights.T, weights @ ratings
    covariance = (scores * ratings) @ weights.T - mean * level
    spread = (scores**2 @ weights.T - mean**2) * (weights @ ratings**2 - level**2)
    return np.divide(covariance, np.sqrt(np.maximum(spread, 0)), out=np.zeros_like(spread), where=spread > 1e-12)


def _line(scores: np.ndarray, ratings: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slope, intercept and mean rating of the least squares over people and pictures under each row of picture weights (R, n)."""
    there = ~np.isnan(ratings)
    known = np.where(there, ratings, 0)
    total, s, r, ss, sr = (weights @ part.sum(0) for part in (there, scores * there, known, scores**2 * there, scores * known))
    spread = ss / total - (s / total) ** 2
    slope = np.divide(sr / total - s * r / total**2, spread, out=np.zeros_like(spread), where=spread > 1e-12)
    return slope, (r - slope * s) / total, r / total


def made_up_answers(count: int, seed: int) -> list[tuple[int, ...]]:
    """Answers of people who are none: for each statement any of the five, independently."""
    drawn = np.random.default_rng(check_seed("seed", seed)).integers(1, len(ANSWERS) + 1, (count, len(STATEMENTS)))
    return [tuple(map(int, answers)) for answers in drawn]


def made_up(kind: str, answers: Sequence[Sequence[int]], scores: np.ndarray, noise: float, seed: int) -> list[Person]:
    """People who are none, to try the comparison on.

    Args:
        kind: who they rate as, one of `KINDS`. As their own agent, or that of the next one of these people: its score, with
            normal noise, on the scale from 0 to 10. By chance: any rating, alike.
        scores: of `agent_scores` for the personas of `answers`.
        noise: standard deviation, in points of the scale.
    """
    check_choice("kind", kind, KINDS)
    rng = np.random.default_rng(check_seed("seed", seed))
    follows = np.roll(scores, -1, 0) if kind == KINDS[1] else scores
    drawn = HIGHEST * follows + check_number("noise", noise, 0) * rng.standard_normal(follows.shape)
    if kind == KINDS[2]:
        drawn = rng.integers(0, HIGHEST + 1, follows.shape).astype(float)
    ratings = np.clip(drawn.round(), 0, HIGHEST)
    return [Person(f"made-up-{k}", tuple(one), row, made_up=True) for k, (one, row) in enumerate(zip(answers, ratings), 1)]


def read_all(folder: Path) -> tuple[list[Person], Mapping[str, str]]:
    """Everybody in the CSV files of a folder, and what is wrong with each file that cannot be used, by its name."""
    people, refused = [], {}
    for path in sorted(folder.glob("*.csv")):
        try:
            people.append(read(path))
        except UnusableFile as error:
            refused[path.name] = str(error)
    return people, refused
