"""Gathers the table of QoE: `python -m rlli_core.allocation.gather` (about 65 core-minutes; goes on where it was broken off)."""

from __future__ import annotations

import argparse
import os
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ..channel import Link
from ..diffusion.split import SplitDiffusion
from ..files import WORK, provenance, write_json
from ..processes import in_processes
from ..qoe.agent import PersonaAgent
from ..qoe.persona import Persona
from .prompts import embed, groups
from .table import BEPS, DEVICE_STEPS, PERSONAS, SEEDS, SHARED_STEPS, TABLE, sobol_traits


def gather(folder: Path, worker: int = 0, workers: int = 1) -> None:
    """Fill `folder` with one file a pair and seed; what is there is kept, so a broken-off run goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    chain = SplitDiffusion.from_pretrained("embedded", dtype="bf16")
    agent = PersonaAgent.from_pretrained("embedded", dtype="bf16", batch_size=64)
    asked = [Persona.of(traits) for traits in sobol_traits()]
    made_of = groups()
    units = [(g, d, s) for s, (g, members) in product(range(SEEDS), enumerate(made_of)) for d in range(len(members))]
    for group, device, seed in tqdm(units[worker::workers], desc="gathering", mininterval=10):
        path = folder / f"{group}-{device}-{seed}.npy"
        if path.exists():
            continue
        server, prompt = made_of[group][0], made_of[group][device]
        made = chain.sweep(server, [prompt], SHARED_STEPS, DEVICE_STEPS, BEPS, [seed], Link(), batch_size=32, progress=False)
        images: list[Any] = [record.image for record in made.records]
        images += [chain.generate(prompt, steps, seed) for steps in DEVICE_STEPS]
        scores = agent.scores(images * PERSONAS, [p for p in asked for _ in images], prompt)
        table = np.array([score.value for score in scores]).reshape(PERSONAS, len(images)).T
        waiting = path.with_suffix(f".{os.getpid()}.npy")  # two commands may be gathering
        np.save(waiting, table.astype(np.float16))
        waiting.replace(path)


def assemble(folder: Path, path: Path = TABLE) -> None:
    """Put the files of `folder` together to the shipped table, with what a policy sees of the prompts and its provenance."""
    made, size = groups(), len(SHARED_STEPS) * len(DEVICE_STEPS) * len(BEPS)
    units = np.array(
        [[[np.load(folder / f"{g}-{d}-{s}.npy") for s in range(SEEDS)] for d in range(3)] for g in range(len(made))]
    )
    units = units.reshape(-1, SEEDS, size + len(DEVICE_STEPS), PERSONAS)
    prompts = list(dict.fromkeys(prompt for group in made for prompt in group))
    np.savez_compressed(
        path,
        scores=units[:, :, :size].reshape(-1, SEEDS, len(SHARED_STEPS), len(DEVICE_STEPS), len(BEPS), PERSONAS),
        alone=units[:, :, size:],
        prompts=prompts,
        groups=[[prompts.index(prompt) for prompt in group] for group in made],
        embeddings=embed(SplitDiffusion.from_pretrained("embedded"), prompts),
    )
    about = provenance("python -m rlli_core.allocation.gather")
    about |= {"seeds": list(range(SEEDS)), "personas": PERSONAS, "dtype": "bf16", "image_scores": int(units.size)}
    write_json(path.with_suffix(".json"), about)


def main() -> None:
    """Gather, with one process a core, and assemble."""
    parser = argparse.ArgumentParser(prog="python -m rlli_core.allocation.gather", description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=WORK / "qoe_table", help="where results wait until all are there")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    options = parser.parse_args()
    in_processes(gather, [(options.work, i, options.workers) for i in range(options.workers)])
    assemble(options.work)


if __name__ == "__main__":
    main()
