"""The panels of the pages on the cache, on groups and on the service in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import linkage

from ...allocation import grouping
from ...allocation.hit_rules import Curves
from ...allocation.hits import passed
from ...allocation.in_time import Timing, Way, simulate
from ...allocation.request_log import zipf_log
from ...qoe import Persona
from ...qoe.persona import people
from ...records import SplitPlan
from ..figures.service import latencies, prompt_tree
from .panel import Panel, Part, Shown, choice, drawn, slider

if TYPE_CHECKING:
    from ...diffusion.split import SplitDiffusion
    from ...qoe.agent import PersonaAgent


def hits_panel(
    chain: SplitDiffusion, agent: PersonaAgent, cached: str, wanted: Mapping[str, float], start: int, seed: int
) -> Panel:
    """Sliders for wish, depth, restart and own steps over what a cached latent gives, beside the device alone.

    Args:
        cached: the prompt whose latents are cached.
        wanted: distance to it of each prompt that may be asked for.
        start: timestep at which the device alone starts.
        seed: of the noise.
    """
    everyone, depths = [Persona.named(name) for name in people()], (2, 5, 8)
    kept = passed(chain, cached, depths, seed)
    controls = {
        "wish": choice("wanted", wanted, stops=tuple(wanted)),
        "depth": slider("cached after steps", depths, 5, (2, 5)),
        "restart": slider("start at timestep", (0, 700, 800, 870, 930), 800, (0, 800), "{:g}"),
        "steps": slider("own steps", (1, 2, 3, 4, 8), 1, (1, 4)),
    }

    def update(wish: str, depth: int, restart: int, steps: int) -> Shown:
        stopped = kept[depth].timestep
        level = int(restart) if restart > stopped else None
        hit = chain.device_denoise(kept[depth], wish, SplitPlan(int(depth), int(steps)), restart=level)
        alone = chain.generate(wish, int(steps), seed, start=start)
        scores = agent.scores([hit, alone] * len(everyone), [p for p in everyone for _ in range(2)], wish)
        means = np.reshape([score.value for score in scores], (len(everyone), 2)).mean(0)
        said = ("from the cache", "alone, best start")
        parts = [
            Part(image, f'{name}<br><span class="score">{score:.2f}</span>', f"{name}: {wish}, score {score:.2f}", 190)
            for image, name, score in zip((hit, alone), said, means)
        ]
        where = f"restarts at {level}" if level else f"goes on at {stopped}, where it stopped"
        return f"cached: {cached}; at distance {wanted[wish]:.1f}; the device {where}: {means[0] - means[1]:+.2f}", parts

    return Panel(controls, update)


def groups_panel(
    keys: np.ndarray, prompts: Sequence[str], shared_steps: int, scores: pd.DataFrame, thresholds: Sequence[float]
) -> Panel:
    """A slider for the threshold over the tree of the prompts, what it saves, and what each person makes of it.

    Args:
        keys: embeddings, (prompt, dimensions).
        scores: of `grouping.compare`, with a sharing named by each of the thresholds, f"{threshold:g}".
        thresholds: places of the slider.
    """
    merges, layout = linkage(keys, "ward"), list[object]()
    lone = scores[scores.sharing == "device alone"].groupby("person", sort=False).score.mean()
    controls = {"threshold": slider("threshold", thresholds, thresholds[len(thresholds) // 2], thresholds)}

    def update(threshold: float) -> Shown:
        saved = grouping.steps_saved(grouping.tree(keys, shared_steps, threshold))
        some = scores[scores.sharing == f"{threshold:g}"].groupby(["person", "way"], sort=False).score.mean().unstack()
        table = some.assign(**{"alone, best start": lone}).round(2).rename_axis(index=None, columns=None).to_html(border=0)
        alt = f"Tree of {len(prompts)} prompts; a dashed line at height {threshold:g} says which of them share first steps."
        parts = [Part(drawn(prompt_tree(merges, prompts, threshold), layout, 620), alt=alt, width=620), Part(text=table)]
        return f"threshold {threshold:g}: {saved:.0%} of the server's steps saved", parts

    return Panel(controls, update)


def service_panel(
    prompts: Sequence[str], keys: Mapping[str, np.ndarray], timing: Timing, ways: Mapping[str, Way], curves: Curves,
    requests: int, users: int, seed: int,
) -> Panel:  # fmt: skip
    """Sliders for load, popularity and room over how long requests take, and what they get.

    Args:
        ways: by name.
        requests, users, seed: of the log.
    """
    layout: list = []
    controls = {
        "load": slider("load", (0.3, 0.6, 0.9, 1.2, 2.0), 0.9, (0.3, 0.9, 2.0)),
        "exponent": slider("popularity (Zipf exponent)", (0.0, 0.5, 1.0, 1.5), 1.0, (0.0, 1.0)),
        "entries": slider("room for latents", (10, 30, 100, 300), 100, (10, 100)),
        "served": choice("latents serve", ("everybody", "their owner"), stops=("everybody", "their owner")),
    }

    def update(load: float, exponent: float, entries: int, served: str) -> Shown:
        log = zipf_log(prompts, requests, load * timing.capacity_hz, exponent, users, seed)
        private, tables = served == "their owner", {}
        for name, way in ways.items():
            now = replace(way, entries=int(entries), private=private) if way.way == "cache" else way
            tables[name] = simulate(log, keys, timing, now, curves)
        names = {"qoe": "QoE", "energy": "energy", "waited_s": "waiting (s)", "latency_s": "latency (s)", "hit": "hits"}
        means = pd.DataFrame({name: table[list(names)].mean() for name, table in tables.items()}).T.rename(columns=names)
        shown = means.round(3).rename_axis(index=None).to_html(border=0)
        alt = "Curves of the share of requests served within a time, one for each way to serve."
        best = escape(str(means["QoE"].idxmax()))
        return f"highest mean QoE: {best}", [Part(drawn(latencies(tables), layout, 600), alt=alt, width=600), Part(text=shown)]

    return Panel(controls, update)
