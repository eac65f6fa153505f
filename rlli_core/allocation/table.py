"""QoE from a table: what the split chain and the persona agent gave on a lattice of allocations, gathered once.

`python -m rlli_core.allocation.table` gathers it (about 65 core-minutes; resumes). One unit of work is one pair of prompts
and one image seed: every hand-off of the lattice, rated by `PEOPLE` personas.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
import yaml
from scipy.interpolate import PchipInterpolator
from scipy.stats import qmc
from tqdm.auto import tqdm

from ..channel import Link
from ..devices import in_processes
from ..diffusion.split import SplitDiffusion
from ..errors import InvalidArgument, ModelNotFound
from ..embedded.training import WORK
from ..paths import DATA
from ..provenance import provenance, write_json
from ..qoe.agent import PersonaAgent
from ..qoe.persona import Persona
from ..records import Allocation, States

TABLE = DATA / "results" / "qoe_table.npz"
SHARED_STEPS = (0, 1, 2, 3, 5, 7, 10)  # at 0 the noise itself is sent, which is where short chains beside long ones tend to
DEVICE_STEPS = (1, 2, 4, 6, 8)
BEPS = (0.0, 0.02, 0.06, 0.13, 0.25, 0.5)  # about even in the square root, in which the QoE is interpolated
ROOTS = np.linspace(0, np.sqrt(BEPS[-1]), 41)  # of the BEPs at which the smooth curve through the lattice is kept
PEOPLE = 16
SEEDS = 3
EMBEDDING = 8  # numbers that a policy sees of a prompt
PAPER_GROUP = ("a tiger in front of a bush", "a dog in front of a bush", "a frog in front of a bush")
HELD_OUT = ("a tiger at night", "a crocodile in the street")  # server prompts of groups that no policy is trained on


def groups() -> list[tuple[str, ...]]:
    """Groups of three prompts, the server's first: the paper's tiger and dog, and the first three of our larger groups."""
    found = [PAPER_GROUP]
    for group in yaml.safe_load((DATA / "prompts.yaml").read_text())["groups"]:
        single = [prompt for prompt in group if " and " not in prompt and " under " not in prompt]
        if len(single) >= 3 and single[0] != PAPER_GROUP[0]:
            found.append(tuple(single[:3]))
    return found


def people() -> np.ndarray:
    """Traits (PEOPLE, 5) that cover the cube of personas evenly."""
    return qmc.Sobol(5, seed=0).random(PEOPLE)


@dataclass(frozen=True, eq=False)
class TableQoE:
    """A QoE source that reads the table.

    The mean over image seeds is interpolated linearly in t0 and t_k, by a monotone cubic in the square root of the BEP, and is
    linear in the traits (least squares over the personas asked). Values outside [0, 1] are cut off.

    The table was gathered one device at a time. With several, the server walks the grid of the longest chain, t0 + M steps
    with M the largest t_k, so a device with t_k steps receives a latent of which M / (t0 + M) is still to be walked. It is
    looked up where its own grid leaves as much: at t0' = t0 t_k / M.

    Attributes:
        prompts, embeddings, groups: as in `QoESource`.
        fits: coefficients (pairs, T_s + 1, T_e + 1, ROOTS, 6) of 1 and the five traits; in row t0 = 0 the noise is sent.
        alone: the same without sharing, when nothing is sent, (pairs, T_e + 1, 6).
        pairs: number of the pair (server prompt, device prompt) in `fits`, (P, P) int, -1 where it was not gathered.
    """

    prompts: tuple[str, ...]
    embeddings: np.ndarray
    groups: tuple[tuple[int, ...], ...]
    fits: np.ndarray
    alone: np.ndarray
    pairs: np.ndarray

    @classmethod
    def load(cls, path: Path = TABLE, held_out: bool = False) -> TableQoE:
        """Read the shipped table, with the groups that policies are trained on, or those that they never see.

        Raises:
            ModelNotFound: no table there.
        """
        if not path.is_file():
            raise ModelNotFound(f"no table of QoE at {path}; make it with: python -m rlli_core.allocation.table")
        with np.load(path) as file:
            raw, alone = file["scores"].astype(np.float32), file["alone"].astype(np.float32)
            prompts, embeddings, by_group = tuple(file["prompts"].tolist()), file["embeddings"], file["groups"]
        pairs = np.full((len(prompts),) * 2, -1)
        for group, members in enumerate(by_group):
            for place, member in enumerate(members):
                pairs[members[0], member] = group * len(members) + place
        chosen = [tuple(map(int, g)) for g in by_group if (prompts[g[0]] in HELD_OUT) == held_out]
        return cls(prompts, embeddings, tuple(chosen), *_fits(raw.mean(1), alone.mean(1)), pairs)

    def qoe(self, states: States, allocation: Allocation, bep: np.ndarray, longest: np.ndarray | None = None) -> np.ndarray:
        """As in `QoESource`.

        Raises:
            InvalidArgument: a pair of prompts that was not gathered, or more steps than the lattice has.
        """
        longest = allocation.device_steps.max(1) if longest is None else longest
        shared = allocation.shared_steps[:, None] * allocation.device_steps / longest[:, None]
        return self.lookup(states.prompts[:, :1], states.prompts, states.personas, shared, allocation.device_steps, bep)

    def lookup(
        self,
        server: np.ndarray,
        device: np.ndarray,
        personas: np.ndarray,
        shared_steps: np.ndarray,
        device_steps: np.ndarray,
        bep: np.ndarray,
    ) -> np.ndarray:
        """QoE of single users on grids of their own; all arguments broadcast, `personas` with five more at the end.

        `shared_steps` need not be whole; where they are 0 nothing is shared and nothing sent.
        """
        pair = self.pairs[server, device]
        if (pair < 0).any():
            raise InvalidArgument("prompts", "a pair", "one of a group that was gathered; see rlli_core.allocation.table.groups")
        for name, value, most in (
            ("shared_steps", shared_steps, self.fits.shape[1] - 1),
            ("device_steps", device_steps, self.fits.shape[2] - 1),
        ):
            if np.min(value) < 0 or np.max(value) > most:
                raise InvalidArgument(name, float(np.max(value)), f"0 to {most}, where the table was gathered")
        step, on = _place(shared_steps, np.arange(self.fits.shape[1]))
        root, along = _place(np.sqrt(bep), ROOTS)
        weights = 0
        for row, left in ((step, 1 - on), (step + 1, on)):
            for column, part in ((root, 1 - along), (root + 1, along)):
                weights = weights + (left * part)[..., None] * self.fits[pair, row, device_steps, column]
        weights = np.where(np.asarray(shared_steps)[..., None] == 0, self.alone[pair, device_steps], weights)
        return np.clip(weights[..., 0] + (weights[..., 1:] * personas).sum(-1), 0, 1)


def _fits(scores: np.ndarray, alone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores (pairs, t0, t_k, BEPs, people) and unshared ones (pairs, t_k, people) -> coefficients at every whole step."""
    asked = np.concatenate([np.ones((PEOPLE, 1)), people()], 1)
    solve = np.linalg.pinv(asked).T  # (people, 6)
    smooth = PchipInterpolator(np.sqrt(BEPS), scores, axis=3)(ROOTS) @ solve
    shared, device = np.arange(SHARED_STEPS[-1] + 1), np.arange(DEVICE_STEPS[-1] + 1)
    fits = _between(_between(smooth, SHARED_STEPS, shared, 1), DEVICE_STEPS, device, 2)
    return fits, _between(alone @ solve, DEVICE_STEPS, device, 1)


def _between(values: np.ndarray, known: tuple[int, ...], wanted: np.ndarray, axis: int) -> np.ndarray:
    """Interpolate linearly along one axis; the nearest value outside of what is known."""
    low, part = _place(wanted, known)
    shape = [1] * values.ndim
    shape[axis] = -1
    part = part.reshape(shape)
    return (1 - part) * values.take(low, axis) + part * values.take(low + 1, axis)


def _place(wanted: np.ndarray, known: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Between which two of the known values each wanted one lies: number of the lower, and how far on to the upper, 0 to 1."""
    place = np.interp(wanted, known, np.arange(len(known)))
    low = np.minimum(place.astype(int), len(known) - 2)
    return low, place - low


def gather(folder: Path, worker: int = 0, workers: int = 1) -> None:
    """Fill `folder` with one file a pair and seed; what is there is kept, so a broken-off run goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    chain = SplitDiffusion.from_pretrained("embedded", dtype="bf16")
    agent = PersonaAgent.from_pretrained("embedded", dtype="bf16", batch_size=64)
    asked = [Persona.of(traits) for traits in people()]
    made_of = groups()
    units = [(g, d, s) for s, (g, members) in product(range(SEEDS), enumerate(made_of)) for d in range(len(members))]
    for group, device, seed in tqdm(units[worker::workers], desc="gathering", mininterval=10):
        path = folder / f"{group}-{device}-{seed}.npy"
        if path.exists():
            continue
        server, prompt = made_of[group][0], made_of[group][device]
        made = chain.sweep(server, [prompt], SHARED_STEPS, DEVICE_STEPS, BEPS, [seed], Link(), batch_size=32, progress=False)
        images = [record.image for record in made.records]
        images += [chain.generate(prompt, steps, seed) for steps in DEVICE_STEPS]
        scores = agent.scores(images * PEOPLE, [p for p in asked for _ in images], prompt)
        table = np.array([score.value for score in scores]).reshape(PEOPLE, len(images)).T
        np.save(path.with_suffix(".tmp.npy"), table.astype(np.float16))
        path.with_suffix(".tmp.npy").replace(path)


def assemble(folder: Path, path: Path = TABLE) -> None:
    """Put the files of `folder` together to the shipped table, with what a policy sees of the prompts and its provenance."""
    made, size = groups(), len(SHARED_STEPS) * len(DEVICE_STEPS) * len(BEPS)
    units = np.array([[[np.load(folder / f"{g}-{d}-{s}.npy") for s in range(SEEDS)] for d in range(3)] for g in range(len(made))])
    units = units.reshape(-1, SEEDS, size + len(DEVICE_STEPS), PEOPLE)
    prompts = list(dict.fromkeys(prompt for group in made for prompt in group))
    np.savez_compressed(
        path,
        scores=units[:, :, :size].reshape(-1, SEEDS, len(SHARED_STEPS), len(DEVICE_STEPS), len(BEPS), PEOPLE),
        alone=units[:, :, size:],
        prompts=prompts,
        groups=[[prompts.index(prompt) for prompt in group] for group in made],
        embeddings=embed(SplitDiffusion.from_pretrained("embedded"), prompts),
    )
    about = provenance("python -m rlli_core.allocation.table")
    about |= {"seeds": list(range(SEEDS)), "personas": PEOPLE, "dtype": "bf16", "image_scores": int(units.size)}
    write_json(path.with_suffix(".json"), about)


@torch.no_grad()
def embed(chain: SplitDiffusion, prompts: list[str]) -> np.ndarray:
    """tau(c) of prompts for a policy: the text encoder's pooled output on its main axes over all our prompts, (P, EMBEDDING).

    Each axis has unit variance over the prompts of `data/prompts.yaml`; values are cut off at 3.
    """
    known = [p for group in yaml.safe_load((DATA / "prompts.yaml").read_text())["groups"] for p in group]
    pipeline = chain.pipeline

    def encode(texts: list[str]) -> np.ndarray:
        tokens = pipeline.tokenizer(
            texts, padding="max_length", truncation=True, max_length=pipeline.tokenizer.model_max_length, return_tensors="pt"
        ).input_ids
        return pipeline.text_encoder(tokens.to(chain.denoiser.device)).pooler_output.float().cpu().numpy()

    base = encode(known)
    _, spread, axes = np.linalg.svd(base - base.mean(0), full_matrices=False)
    scale = spread[:EMBEDDING] / np.sqrt(len(known))
    return np.clip((encode(prompts) - base.mean(0)) @ axes[:EMBEDDING].T / scale, -3, 3).astype(np.float32)


def main() -> None:
    """Gather, with one process a core, and assemble."""
    parser = argparse.ArgumentParser(prog="python -m rlli_core.allocation.table", description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=WORK / "qoe_table", help="where results wait until all are there")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    options = parser.parse_args()
    in_processes(gather, [(options.work, i, options.workers) for i in range(options.workers)])
    assemble(options.work)


if __name__ == "__main__":
    main()
