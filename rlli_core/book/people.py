"""Do people rate pictures as the agents of their traits do? `rlli people FOLDER`, on files of the page `rate_yourself`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ..errors import InvalidArgument, UnusableFile

if TYPE_CHECKING:
    import pandas as pd


def compare_people(
    folder: Annotated[Path, Argument(help="With a CSV file of the page rate_yourself for each person.")],
    agent: Annotated[str, Option(help="'embedded', or the folder or hub id of a vision-language model.")] = "embedded",
    as_json: Annotated[bool, Option("--json", help="As JSON.")] = False,
) -> int:
    """Compare people's ratings with those of the agents of their traits; exits with 1 where a file cannot be used.

    A file needs 12 rated pictures; the comparison with a wrong person's agent needs two people with different traits.
    """
    if not folder.is_dir():
        raise InvalidArgument("folder", str(folder), "a folder with CSV files of the page rate_yourself")
    from ..qoe.agent import PersonaAgent
    from . import ratings

    people, refused = ratings.read_all(folder)
    for message in refused.values():
        print(f"rlli: {message}", file=sys.stderr)
    if not people:
        raise UnusableFile(f"{folder} has no CSV file that can be used; the page rate_yourself of the book makes them")
    scores = ratings.agent_scores(PersonaAgent.from_pretrained(agent), [person.persona for person in people])
    table, line = ratings.compare(people, scores), ratings.calibrate(people, scores)
    if as_json:
        rows = json.loads(table.reset_index().to_json(orient="records"))
        told = {"agent": agent, "form": ratings.form(), "people": rows, "calibration": line, "refused": refused}
        print(json.dumps(told, indent=1, ensure_ascii=False))
    else:
        print(as_text(table, line))
    return 1 if refused else 0


def as_text(table: pd.DataFrame, line: dict[str, float]) -> str:
    """The table and what it says, in words."""
    import pandas as pd

    from ..qoe.persona import TRAITS
    from .runner.recording import intervals

    shown = pd.DataFrame({trait[0].upper(): table[trait].map("{:.2f}".format) for trait in TRAITS} | {"rated": table.rated})
    for name, column in (("own agent", "own"), ("others'", "others"), ("difference", "gain")):
        shown[name] = table[column].map("{:+.2f}".format)
        if column != "others":
            ends = zip(table[f"{column}_low"], table[f"{column}_high"])
            shown[f"95 % of {name}"] = [f"{low:+.2f} to {high:+.2f}" for low, high in ends]
    lines = [shown.replace({"+nan": "-", "+nan to +nan": "-"}).to_string(), ""]
    lines.append(
        "Correlations of ratings with agents' scores: own traits, the mean over the other people's; intervals over pictures."
    )
    if (known := table.gain.dropna()).size > 1:
        lines.append("Mean difference over people {g:+.3f} (95 % {g_low:+.3f} to {g_high:+.3f}).".format(**intervals(g=known)))
    elif known.empty:
        lines.append("There is nobody with other traits to compare with: two people are needed at least.")
    if table.made_up.any():
        lines.append(f"{table.made_up.sum()} of {len(table)} are made up: not data of people.")
    lines += [
        "Calibration over all: rating / 10 = {intercept:.2f} + {slope:.2f} * score (95 % of the slope {slope_low:.2f} to "
        "{slope_high:.2f}).".format(**line),
        "Error on unseen pictures: {error_line:.3f}; the mean rating for all {error_mean:.3f}, the score as it is "
        "{error_score:.3f}.".format(**line),
    ]
    return "\n".join(lines)
