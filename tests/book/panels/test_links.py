"""The numbers of a map lead to the explorer at their own point."""

import re
from html import unescape
from urllib.parse import parse_qs

import pandas as pd

from rlli_core.book.panels.links import MOST_STEPS, linked_map

SCORES = pd.DataFrame(
    [(p, bep, t0, t, 0.1 * t0 / t + s) for p in ("GA1", "<b>") for bep in (0.01, 0.1) for t0 in (1, 6) for t in (2, 10) for s in (0, 0.2)],
    columns=["person", "bep", "shared_steps", "device_steps", "score"],
)  # fmt: skip


def test_every_number_that_the_explorer_reaches_links_to_its_own_point():
    text = linked_map(SCORES, "a tiger", "a dog").data
    links = re.findall(r'<a href="explorer\.html#(.+?)".*?>(.+?)</a>', text)
    assert len(links) == 2 * 2 * 2  # ten own steps are more than the explorer has
    for address, number in links:
        told = {name: values[0] for name, values in parse_qs(unescape(address)).items()}
        person, bep, steps = (told[name].split("|")[1] for name in ("judge", "errors", "steps"))
        assert told["wants"] == "a tiger|a dog" and told["draws"] == "a tiger" and int(steps) <= MOST_STEPS[1]
        assert person in ("GA1", "<b>") and float(bep) in (0.01, 0.1)
        assert float(number) == round(0.1 * int(told["t0"]) / int(steps) + 0.1, 2)
    assert "<b>" not in text and text.count("<td") == 16
