"""The panels of the pages "From the beginning"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...channel import FisherSnedecorF, average_bep, conditional_bep
from ..figures import draws_on_landscape
from ..panels.panel import Panel, Part, Shown, choice, drawn, slider, span
from . import figures, peaks, toys


def chain_panel(steps: int, shared: int, width: float, seed: int = 0) -> Panel:
    """Sliders over chains of one number that set out for the tiger and change over to the dog."""
    controls = {
        "steps": slider("steps in all", range(1, 51), steps, (1, 5, 10, 20)),
        "shared": slider("of them shared t₀", range(51), shared, (0, 1, 2, 3, 5, 7, 10)),
        "width": slider("left open (width)", span(0.05, 1, 0.05), width, (0.05, 0.25, 0.6)),
        "seed": slider("seed", range(100), seed),
    }
    layout = []

    def update(steps: int, shared: int, width: float, seed: int) -> Shown:
        noise = np.random.default_rng(seed).standard_normal(2000)
        ends = {
            "only tiger": toys.walk(noise, steps, steps, width)[-1],
            "only dog": toys.walk(noise, steps, 0, width)[-1],
            "changed over": toys.walk(noise, steps, shared, width)[-1],
        }
        axes = figures.chains(toys.walk(noise[:40], steps, shared, width), shared, ends)
        middle = {name: found.mean() for name, found in ends.items()}
        left = (middle["only dog"] - middle["changed over"]) / (middle["only dog"] - middle["only tiger"])
        line = f"shared {shared / steps:.0%} of the chain; tiger left in the dog: {left:.0%} of the way between them"
        return line, [
            Part(drawn(axes[0], layout), alt=f"Forty chains from noise to a number, and the density of their ends: {line}.")
        ]

    return Panel(controls, update)


def bit_panel(snr_db: float, severity: float, shadowing: float, count: int = 400, seed: int = 0) -> Panel:
    """Sliders over single bits on a fading link, and over their error probability."""
    controls = {
        "snr_db": slider("mean SNR (dB)", span(-10, 30, 0.5), snr_db, (0, 5, 10, 15, 20)),
        "severity": slider("fading severity m", span(0.5, 8, 0.1), severity, (1, 2, 5)),
        "shadowing": slider("shadowing mₛ", span(1.1, 10, 0.1), shadowing, (1.5, 3, 8)),
        "seed": slider("seed", range(100), seed),
    }
    layout = []

    def update(snr_db: float, severity: float, shadowing: float, seed: int) -> Shown:
        fading, grid = FisherSnedecorF(severity, shadowing), np.linspace(-10, 30, 41)
        snr = 10 ** (grid / 10)
        curves = {"fading": average_bep("bpsk", fading, snr), "steady": conditional_bep("bpsk", snr)}
        axes = figures.bits(*toys.received(count, snr_db, fading, seed), grid, curves, snr_db)
        faded = float(average_bep("bpsk", fading, 10 ** (snr_db / 10)))
        share = toys.share_of_errors(fading, snr_db, 0.1, 20_000)
        line = f"bit error probability {faded:.2%}; the weakest tenth of the moments makes {share:.0%} of the errors"
        return line, [
            Part(drawn(axes[0], layout), alt=f"Received bits against the gain of their moment, and error curves: {line}.")
        ]

    return Panel(controls, update)


def learning_panel(trainings: Mapping[str, Sequence[toys.Snapshot]]) -> Panel:
    """A slider over the rounds of a training of `toys.learn`, and a choice between trainings by name."""
    looks = [snapshot.rounds for snapshot in next(iter(trainings.values()))]
    controls = {
        "rounds": slider("rounds served", looks, looks[-1], looks),
        "training": choice("training", trainings, stops=trainings),
    }
    true, layout = toys.reward(toys.LEADS[:, None], toys.SHARES), []

    def update(rounds: int, training: str) -> Shown:
        snapshot = trainings[training][looks.index(rounds)]
        axes = figures.landscapes(true, snapshot)
        line = f"the actor's choices lose {toys.regret(snapshot.shares):.3f} against the best, on average over the states"
        return line, [
            Part(drawn(axes[0], layout), alt=f"What each share of the power brings, and what the critic expects: {line}.")
        ]

    return Panel(controls, update)


def peaks_panel(found: Mapping[str, Sequence[peaks.Learnt]], tries: int) -> Panel:
    """A choice between trainings of `peaks.learn`, each way as often as the others, and one of which peak is closed afterwards."""
    some = next(iter(found.values()))
    shut = ["none", *(f"number {i + 1}" for i in range(some[0].peaks))]
    controls = {
        "training": slider("training", range(len(some)), 0, range(len(some))),
        "closed": choice("closed peak", shut, stops=shut),
    }
    layout = []

    def update(training: int, closed: str) -> Shown:
        place = shut.index(closed) - 1 if closed != "none" else None
        made = {way: many[training] for way, many in found.items()}
        axes = draws_on_landscape(
            peaks.landscape(some[0].peaks, place), peaks.GRID, {way: one.draws for way, one in made.items()}
        )
        left = ", ".join(f"{way}: {one.left(place, tries):.0%}" for way, one in made.items())
        line = f"that the best of {tries} draws is on a peak that is open: {left}"
        return line, [Part(drawn(axes[0], layout), alt=f"Actions of four actors on a map of the rewards; {line}.")]

    return Panel(controls, update)
