"""From a map of scores to the explorer, at the point that was clicked."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import urlencode

import matplotlib
import pandas as pd
from IPython.display import HTML

PAGE = "explorer.html"  # beside the page that links
MOST_STEPS = (10, 8)  # t0 and t_k that the explorer goes to


def address(**fields: str | float | Sequence) -> str:
    """The explorer at a state, named as in `static/play.mjs`: what is not named is as it starts.

    >>> address(t0=4, steps=[2, 8], errors=[0.03, 0.03])
    'explorer.html#t0=4&steps=2%7C8&errors=0.03%7C0.03'
    """
    told = {
        name: "|".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value) for name, value in fields.items()
    }
    return f"{PAGE}#{urlencode(told)}"


def linked_map(scores: pd.DataFrame, server_prompt: str, device_prompt: str) -> HTML:
    """Mean scores as a table whose numbers lead to the explorer, with a device that wants `device_prompt` as its second.

    Args:
        scores: columns person, bep, shared_steps, device_steps, score; rows of the same plan are averaged.
        server_prompt, device_prompt: those of the explorer that come nearest to the map's.
    """
    keys = ["person", "bep", "shared_steps", "device_steps"]
    means, rows = scores.groupby(keys).score.mean(), []
    shades = matplotlib.colormaps["viridis"]
    columns = [(bep, steps) for bep in sorted(scores.bep.unique()) for steps in sorted(scores.device_steps.unique())]
    for person in scores.person.unique():
        for t0 in sorted(scores.shared_steps.unique(), reverse=True):
            cells = [f"<th>{escape(person)}</th><th>{t0}</th>"]
            for bep, steps in columns:
                value = float(means[person, bep, t0, steps])
                ink, ground = "black" if value > 0.6 else "white", matplotlib.colors.to_hex(shades(value))
                shown = f"{value:.2f}"
                if t0 <= MOST_STEPS[0] and steps <= MOST_STEPS[1]:
                    there = address(
                        draws=server_prompt, t0=t0, wants=[server_prompt, device_prompt], steps=[steps, steps], errors=[bep, bep],
                        judge=[person, person],
                    )  # fmt: skip
                    shown = f'<a href="{escape(there)}" style="color: inherit">{shown}</a>'
                cells.append(f'<td style="background: {ground}; color: {ink}">{shown}</td>')
            rows.append(f"<tr>{''.join(cells)}</tr>")
    own = sorted(scores.device_steps.unique())
    above = "".join(f'<th colspan="{len(own)}">bit errors {bep:.1%}, own steps</th>' for bep in sorted(scores.bep.unique()))
    heads = f"<tr><th></th><th></th>{above}</tr><tr><th>person</th><th>shared steps</th>"
    heads += "".join(f"<th>{steps}</th>" for _, steps in columns) + "</tr>"
    return HTML(f'<div style="overflow-x: auto"><table class="dataframe">{heads}{"".join(rows)}</table></div>')
