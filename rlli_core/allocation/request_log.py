"""Logs of requests: who asks for what, when. Seeded ones over our prompts, and those of a reader's copy of DiffusionDB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import (
    InvalidArgument,
    ModelNotFound,
    UnusableFile,
    check_integer,
    check_list,
    check_number,
    check_type,
    first_line,
)

COLUMNS = ("prompt", "user_name", "timestamp")


@dataclass(frozen=True)
class Request:
    """A wish of a user at a time in seconds."""

    time_s: float
    user: str
    prompt: str


def zipf_log(
    prompts: Sequence[str], count: int, rate_hz: float, exponent: float = 1.0, users: int = 50, seed: int = 0
) -> list[Request]:
    """Poisson arrivals; the prompt of rank r, in an order drawn by the seed, comes with a probability proportional to r^-exponent.

    Args:
        count: requests.
        rate_hz: arrivals a second, above 0.
        exponent: 0 or more; 0 asks for all alike. NIRVANA and MoDM report logs near 1.
        users: each request is of one of them, drawn evenly.

    >>> [request.prompt for request in zipf_log(["a", "b"], 3, 1.0, seed=1)]
    ['b', 'a', 'b']
    """
    prompts, count = check_list("prompts", prompts), check_integer("count", count, 1)
    check_number("rate_hz", rate_hz, 0, open_low=True)
    check_number("exponent", exponent, 0)
    rng = np.random.default_rng(check_integer("seed", seed, 0))
    chances = np.arange(1, len(prompts) + 1) ** -float(exponent)
    asked = rng.permutation(len(prompts))[rng.choice(len(prompts), count, p=chances / chances.sum())]
    times, who = rng.exponential(1 / rate_hz, count).cumsum(), rng.integers(check_integer("users", users, 1), size=count)
    return [Request(float(time), f"user {k}", prompts[i]) for time, k, i in zip(times, who, asked)]


def read_log(folder: str | Path, rate_hz: float, count: int | None = None) -> list[Request]:
    """The requests of DiffusionDB's `metadata.parquet`, in their order in time.

    A reader downloads that file (CC0, from the data set poloclub/diffusiondb on the Hugging Face hub) into a folder and names the
    folder here; nothing is downloaded. Only the columns prompt, user_name (a hash) and timestamp are read. A prompt that
    comes several times in a row from one user at one time, as a grid of pictures does, counts once. Its clock ticks in
    minutes, so times within the log are scaled as a whole to `rate_hz` requests a second on average.

    Args:
        folder: with `metadata.parquet` in it.
        rate_hz: arrivals a second on average, above 0.
        count: the first so many; by default all.

    Raises:
        ModelNotFound: no such file.
        UnusableFile: it is damaged or lacks a column, or pandas has nothing to read it with.
    """
    import pandas as pd

    check_type("folder", folder, (str, Path), "the path of a folder")
    path = Path(folder).expanduser() / "metadata.parquet"
    check_number("rate_hz", rate_hz, 0, open_low=True)
    if not path.is_file():
        raise ModelNotFound(f"no log at {path}: download metadata.parquet of poloclub/diffusiondb into that folder")
    try:
        table = pd.read_parquet(path, columns=list(COLUMNS))
    except ImportError as error:
        raise UnusableFile(f"{path} cannot be read without pyarrow: pip install pyarrow") from error
    except Exception as error:  # the libraries each have their own
        raise UnusableFile(f"{path} is damaged or has no columns {', '.join(COLUMNS)}: {first_line(error)}") from error
    table = table.dropna().sort_values("timestamp", kind="stable")
    table = table[table.prompt.str.strip() != ""].drop_duplicates(list(COLUMNS))
    table = table.head(len(table) if count is None else check_integer("count", count, 2))
    if len(table) < 2:
        raise UnusableFile(f"{path} has fewer than two requests")
    seconds = (table.timestamp - table.timestamp.iloc[0]).dt.total_seconds().to_numpy()
    if seconds[-1] <= 0:
        raise InvalidArgument("count", count, "so many that the log lasts longer than a moment")
    times = seconds * (len(table) - 1) / (rate_hz * seconds[-1])
    return [Request(*row) for row in zip(times.tolist(), table.user_name, table.prompt)]
