"""Gathers scores: `python -m rlli_core.allocation.gather table` for the table of QoE (150 core-minutes), `handoffs` (120).

One file a unit of work in a folder outside the repository; what is there is kept, so a broken-off run goes on.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import astuple
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..channel import Link
from ..compute import cheap
from ..diffusion.schedule import handoff_timestep
from ..diffusion.split import SplitDiffusion
from ..errors import UnusableFile, check_integer, first_line, told
from ..files import WORK, check_writable, provenance, whole, write_json
from ..processes import check_jobs, each_or_fail
from ..qoe.agent import PersonaAgent
from ..qoe.persona import Persona, people
from ..records import Handoff, SplitPlan
from . import handoffs
from .prompts import embed, groups, held_out
from .restarts import fit_rules
from .table import BEPS, DEVICE_STEPS, PERSONAS, RESTARTS, SEEDS, SHARED_STEPS, STARTS, TABLE, asked_traits, distances

Images = list[Image.Image]
MADE_ON = "made-on."  # begins the names of empty files that say on what the units beside them were gathered
Score = Callable[[Images, str], np.ndarray]  # images and the prompt to score (image, persona)


def units_of(what: str, seeds: int = SEEDS) -> list[tuple[int, ...]]:
    """What is to be gathered, a file each: (seed, group) for the table, (case, seed) for hand-offs.

    The seeds of the table come one after another, so that fewer of them make a table too.
    """
    if what == "table":
        return list(product(range(seeds), range(len(groups()))))
    return [(case, seed) for seed in range(handoffs.SEEDS) for case in range(handoffs.CASES) if _wanted(case, seed)]


def gather(what: str, unit: tuple[int, ...], path: Path) -> None:
    """Write the scores of one unit, whole or not at all, unless they are there.

    For the table scores (device, row, persona), the lattices of `table_shapes` one below the other, NaN where a device cannot
    restart; for hand-offs (image, person) in the order of `HandoffScores`' arrays.
    """
    if path.exists():
        return
    chain, agent = _models()
    asked = [Persona.of(traits) for traits in asked_traits()] if what == "table" else [Persona.named(name) for name in people()]

    def score(images: Images, prompt: str) -> np.ndarray:
        scores = agent.scores(images * len(asked), [p for p in asked for _ in images], prompt)
        return np.array([score.value for score in scores]).reshape(len(asked), len(images)).T

    made = (_table_of if what == "table" else _handoffs_of)(chain, score, unit)
    with whole(path) as place, place.open("wb") as file:
        np.save(file, made.astype(np.float16))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    (path.parent / f"{MADE_ON}{cheap()} {device}").touch()


def made_on(folder: Path) -> list[str]:
    """In which precision and on which devices the units of a folder were gathered."""
    return sorted(path.name.removeprefix(MADE_ON) for path in folder.glob(f"{MADE_ON}*"))


@cache
def _models() -> tuple[SplitDiffusion, PersonaAgent]:
    """Loaded once a process."""
    chain = SplitDiffusion.from_pretrained("embedded", dtype=cheap())
    return chain, PersonaAgent.from_pretrained("embedded", dtype=cheap(), batch_size=2 * _batch())


def _batch() -> int:
    """Latents that go through the denoiser at a time; a GPU has room for more."""
    return 32 if cheap() == "bf16" else 256


def _wanted(case: int, seed: int) -> bool:
    return seed < (handoffs.SEEDS if case % 2 else handoffs.FITTING_SEEDS)


def table_shapes() -> dict[str, tuple[int, ...]]:
    """Lattices of the table, without pair, seed and person."""
    plans = (len(SHARED_STEPS), len(DEVICE_STEPS))
    return {
        "scores": (*plans, len(BEPS)),
        "restart": (*plans, len(RESTARTS)),
        "alone": (len(DEVICE_STEPS), len(STARTS)),
        "ranges": (*plans, 2),  # no scores: lowest and highest value of the latent sent
    }


def _table_of(chain: SplitDiffusion, score: Score, unit: tuple[int, ...]) -> np.ndarray:
    """Scores of a whole group, whose devices share the server's chain and go through the denoiser together."""
    seed, prompts = unit[0], groups()[unit[1]]
    plans, link = [SplitPlan(*steps) for steps in product(SHARED_STEPS, DEVICE_STEPS)], Link()
    swept = chain.sweep(
        prompts[0], prompts, SHARED_STEPS, DEVICE_STEPS, BEPS, [seed], link, batch_size=_batch(), progress=False
    )
    sent = [link.transmit(chain.server_denoise(prompts[0], plan, seed), bep=0.0, seed=seed) for plan in plans]
    ranges = np.array([(one.link.low, one.link.high) for one in sent if one.link is not None])
    again = [(one, level) for one, level in product(sent, RESTARTS)]
    made = np.array([one.plan.shared_steps > 0 and one.timestep <= level for one, level in again])
    again = [one for one, possible in zip(again, made) if possible]
    parts = []
    for device, prompt in enumerate(prompts):
        noise = [chain.server_denoise(prompt, SplitPlan(0, steps), seed) for steps in DEVICE_STEPS]
        starts = [*again, *product(noise, STARTS)]
        images: list[Any] = [
            record.image for record in swept.records[device * len(plans) * len(BEPS) :][: len(plans) * len(BEPS)]
        ]
        images += chain.device_denoises(
            [one for one, _ in starts], [prompt] * len(starts), batch_size=_batch(), restarts=[level for _, level in starts]
        )
        found = score(images, prompt)
        swept_part, restarted, alone = np.split(found, [len(plans) * len(BEPS), len(found) - len(noise) * len(STARTS)])
        restart = np.full((len(made), found.shape[1]), np.nan)
        restart[made] = restarted
        parts.append(np.concatenate([swept_part, restart, alone, ranges.reshape(-1, 1).repeat(found.shape[1], 1)]))
    return np.stack(parts)


def _handoffs_of(chain: SplitDiffusion, score: Score, unit: tuple[int, ...]) -> np.ndarray:
    """Scores of one case and seed, and the effective timesteps on the link, as `assemble_handoffs` reads them."""
    case, seed = unit
    prompts, link, parts = handoffs.cases()[case], Link(), []

    def finish(some: Sequence[Handoff], prompt: str, receivers: Sequence[str], restarts: Sequence[int | None]) -> None:
        images: dict[int, Image.Image] = {}
        for receiver in set(receivers):
            members = [i for i, one in enumerate(receivers) if one == receiver]
            made = chain.device_denoises(
                [some[i] for i in members], [prompt] * len(members), batch_size=_batch(), receiver=receiver,
                restarts=[restarts[i] for i in members],
            )  # fmt: skip
            images |= zip(members, made)
        parts.append(score([images[i] for i in range(len(some))], prompt))

    effective = []
    for plan in handoffs.LINK_PLANS:
        sent = chain.server_denoise(prompts[0], SplitPlan(*plan), seed)
        arrived = [link.transmit(sent, bep=bep, seed=seed) for bep in handoffs.BEPS]
        beliefs = [[link.assume(got, times * bep) for got, bep in zip(arrived, handoffs.BEPS)] for times in (1.0, 0.5, 2.0)]
        finish(arrived, prompts[0], ["paper"] * len(arrived), [None] * len(arrived))
        clean = parts[-1][:1]  # without bit errors receivers are alike
        for number, believed in enumerate(beliefs):
            if number == 0 or seed < handoffs.FEW_SEEDS:
                finish(believed[1:], prompts[0], ["noise-aware"] * len(believed[1:]), [None] * len(believed[1:]))
                parts[-1] = np.concatenate([clean, parts[-1]])
            else:
                parts.append(np.full_like(parts[-1], np.nan))
        effective += [chain.restart_range(got, "noise-aware")[0] for got in arrived]

    sents = [chain.server_denoise(prompts[0], SplitPlan(handoffs.SHARED_STEPS, steps), seed) for steps in handoffs.DEVICE_STEPS]
    for prompt in prompts:
        some = [(sent, restart) for sent in sents for restart in handoffs.RESTARTS]
        finish([sent for sent, _ in some], prompt, ["paper"] * len(some), [restart for _, restart in some])
    for prompt in prompts:
        alone = [chain.server_denoise(prompt, SplitPlan(0, steps), seed) for steps in handoffs.DEVICE_STEPS]
        some = [(noise, start) for noise in alone for start in handoffs.STARTS]
        finish([noise for noise, _ in some], prompt, ["paper"] * len(some), [start for _, start in some])

    for plan in handoffs.NOISE_PLANS if seed < handoffs.FEW_SEEDS else ():
        sent = chain.server_denoise(prompts[0], SplitPlan(*plan), seed)
        arrived = [link.transmit(sent, bep=bep, seed=seed) for bep in handoffs.NOISE_BEPS]
        to = [chain.restart_range(got, "noise-aware")[0] for got in arrived]
        for prompt in prompts:
            receivers, restarts = ["noise-aware"] * len(to) + ["paper"] * len(to), [*[None] * len(to), *to]
            finish([*arrived, *[sent] * len(to)], prompt, receivers, restarts)
    width = parts[0].shape[1]
    return np.concatenate([*parts, np.array(effective, float)[:, None].repeat(width, 1)])


def assemble_table(folder: Path, path: Path = TABLE, seeds: int = SEEDS) -> None:
    """Put the files of `folder` together to the shipped table, with what a policy sees of the prompts and its provenance."""
    made, shapes = groups(), table_shapes()
    units = [np.concatenate([_read(folder / f"{seed}-{g}.npy") for g in range(len(made))]) for seed in range(seeds)]
    rows, arrays = np.stack(units, 1), {}  # (pair, seed, row, person)
    for name, shape in shapes.items():
        part, rows = np.split(rows, [int(np.prod(shape))], axis=2)
        arrays[name] = part.reshape(*part.shape[:2], *shape, PERSONAS)
    arrays["ranges"] = arrays["ranges"][..., 0]
    chain = SplitDiffusion.from_pretrained("embedded")
    prompts = list(dict.fromkeys(prompt for group in made for prompt in group))
    numbers = np.full((len(made), max(map(len, made))), -1)
    for row, group in zip(numbers, made):
        row[: len(group)] = [prompts.index(prompt) for prompt in group]
    shared, device = range(SHARED_STEPS[-1] + 1), range(DEVICE_STEPS[-1] + 1)
    stops = np.array([[handoff_timestep(chain.scheduler, SplitPlan(t0, max(t, 1))) for t in device] for t0 in shared])
    seen, pairs = embed(chain, prompts), [(row[0], one) for row in numbers for one in row if one >= 0]
    unseen = np.repeat(held_out(), [len(group) for group in made])
    rules = fit_rules(arrays | {"stops": stops, "distances": distances(seen, pairs)}, ~unseen, (SHARED_STEPS, DEVICE_STEPS))
    _write(
        path,
        **arrays,
        **{name: np.array(astuple(rule)) for name, rule in rules.items()},
        stops=stops,
        alphas=chain.scheduler.alphas_cumprod.numpy(),
        traits=asked_traits(),
        device_steps=DEVICE_STEPS,
        prompts=prompts,
        groups=numbers,
        held_out=held_out(),
        embeddings=seen,
    )
    about = provenance("python -m rlli_core.allocation.gather table")
    scores = sum(int(np.isfinite(array).sum()) for name, array in arrays.items() if name != "ranges")
    write_json(
        path.with_suffix(".json"),
        about | {"seeds": list(range(seeds)), "personas": PERSONAS, "made_on": made_on(folder), "image_scores": scores},
    )


def assemble_handoffs(folder: Path, path: Path = handoffs.SCORES) -> None:
    """Put the files of `folder` together to the shipped scores of hand-offs, with the seeds that all held-out cases have."""
    made, kinds, steps, who = handoffs.cases(), len(handoffs.KINDS), len(handoffs.DEVICE_STEPS), list(people())
    seeds = next(
        s
        for s in range(handoffs.SEEDS + 1)
        if not all((folder / f"{case}-{s}.npy").exists() for case in range(1, len(made), 2))
    )
    lead = (len(made), seeds)
    shapes = {
        "link": (len(handoffs.LINK_PLANS), len(handoffs.RECEPTIONS), len(handoffs.BEPS)),
        "restart": (kinds, steps, len(handoffs.RESTARTS)),
        "alone": (kinds, steps, len(handoffs.STARTS)),
        "noise": (len(handoffs.NOISE_PLANS), kinds, 2, len(handoffs.NOISE_BEPS)),
        "effective": (len(handoffs.LINK_PLANS), len(handoffs.BEPS)),
    }
    arrays = {name: np.full((*lead, *shape, len(who)), np.nan, np.float16) for name, shape in shapes.items()}
    for case, seed in product(*map(range, lead)):
        if not _wanted(case, seed):
            continue
        rows = _read(folder / f"{case}-{seed}.npy")
        for name, shape in shapes.items():
            if name != "noise" or seed < handoffs.FEW_SEEDS:
                part, rows = np.split(rows, [int(np.prod(shape))])
                arrays[name][case, seed] = part.reshape(*shape, len(who))
    chain = SplitDiffusion.from_pretrained("embedded")
    seen = embed(chain, [prompt for case in made for prompt in case]).reshape(len(made), kinds, -1)
    stops = [SplitPlan(handoffs.SHARED_STEPS, steps) for steps in handoffs.DEVICE_STEPS]
    arrays["effective"] = arrays["effective"][..., 0]
    arrays["link"] = arrays["link"].swapaxes(3, 4)  # (plan, BEP, reception)
    arrays["noise"] = np.moveaxis(arrays["noise"], -2, 3)  # (plan, BEP, kind, 2) after case and seed
    _write(
        path,
        cases=made,
        people=who,
        levels=[handoff_timestep(chain.scheduler, plan) for plan in stops],
        distances=np.linalg.norm(seen - seen[:, :1], axis=-1).astype(np.float32),
        **arrays,
    )
    about = provenance("python -m rlli_core.allocation.gather handoffs")
    scores = sum(int(np.isfinite(array).sum()) for name, array in arrays.items() if name != "effective")
    about |= {"made_on": made_on(folder), "seeds": list(range(seeds)), "image_scores": scores}
    write_json(path.with_suffix(".json"), about)


def _read(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path))
    except (OSError, ValueError) as error:
        raise UnusableFile(f"{path} is missing or damaged, delete it and gather again: {first_line(error)}") from error


def _write(path: Path, **arrays: Any) -> None:
    with whole(path) as place, place.open("wb") as file:
        np.savez_compressed(file, **arrays)


def main() -> None:
    """Gather, and assemble."""
    parser = argparse.ArgumentParser(prog="python -m rlli_core.allocation.gather", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("table", "handoffs"), nargs="?", default="table")
    parser.add_argument("--work", type=Path, default=WORK, help="where results wait until all are there")
    parser.add_argument(
        "--jobs", type=int, help="units at a time (default: one a core, or as many as the cluster has room for)"
    )
    parser.add_argument("--ray", metavar="ADDRESS", help="on Ray: local, or auto or host:port of a cluster that runs")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="image seeds of the table; what is there of others is kept")
    options = parser.parse_args()
    check_integer("seeds", options.seeds, 1)
    check_jobs(options.jobs)
    folder = (options.work / {"table": "qoe_table", "handoffs": "handoffs"}[options.what]).absolute()
    for place in (folder, TABLE.parent):
        check_writable(place)
    files = {unit: folder / f"{'-'.join(map(str, unit))}.npy" for unit in units_of(options.what, options.seeds)}
    units = [(options.what, unit, path) for unit, path in files.items() if not path.exists()]
    each_or_fail(gather, units, folder, options.jobs, options.ray, what="gathering")
    if options.what == "table":
        assemble_table(folder, seeds=options.seeds)
    else:
        assemble_handoffs(folder)


if __name__ == "__main__":
    sys.exit(told(main))
