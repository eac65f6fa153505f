"""The studies: every algorithm with every seed on the same budget, measured on states that none has seen.

`rlli train --study` runs that of the paper's setting, `rlli train --study choice` the one in which sharing is a choice and the
setting is drawn; what is done is kept, so a run that was broken off goes on. Written to `data/results`: allocation_runs.csv
(one row a run), allocation_curves.csv (learning curves) and allocation.json (rules of thumb, the optimum, provenance); of the
choice choice_runs.csv, choice_curves.csv and choice.json.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..diffusion.split import SplitDiffusion
from ..errors import InvalidArgument, check_choice
from ..files import alone, check_writable, provenance, read_json, write_json, write_text
from ..processes import check_jobs, each_or_fail
from ..qoe.agent import PersonaAgent
from . import oracle
from .ddpg import ALGORITHMS, Training, train
from .learners import LEARNERS, train_learner
from .live import LiveQoE
from .oracle import optimum
from .policy import validation
from .results import RESULTS, read_csv
from .reward import objective
from .service import Service
from .setting import ServiceConfig
from .states import Allocation, States
from .table import TableQoE

LIBRARY = ("sb3-ddpg", "td3", "sac")  # of stable-baselines3; `library.py` has them
Variant = tuple[str, dict[str, Any]]  # an algorithm, and the fields of `Training` that differ
STUDIED: dict[str, Variant] = {name: (name, {}) for name in (*ALGORITHMS, *LIBRARY, *LEARNERS)}
ABLATIONS: dict[str, Variant] = {
    "g-ddpg, D = 1": ("g-ddpg", {"denoising_steps": 1}),
    "g-ddpg, D = 2": ("g-ddpg", {"denoising_steps": 2}),
    "g-ddpg, D = 10": ("g-ddpg", {"denoising_steps": 10}),
    "g-ddpg, critic sees action": ("g-ddpg", {"critic_sees": "action"}),
    "ddpg, critic sees action": ("ddpg", {"critic_sees": "action"}),
    "g-ddpg, no action penalty": ("g-ddpg", {"action_penalty": 0.0}),
    "g-ddpg, rate 1e-3": ("g-ddpg", {"lr": 1e-3}),
    "ddpg, rate 1e-3": ("ddpg", {"lr": 1e-3}),
    "g-ddpg, rate 1e-4": ("g-ddpg", {"lr": 1e-4}),
    "ddpg, rate 1e-4": ("ddpg", {"lr": 1e-4}),
}
TRAINING = {"smoke": Training(interactions=24_000, hidden=64, batch=128, evaluate_every=4_000), "full": Training()}
AGAIN = "delete the file and run the command again"
PATIENCE_S = 600.0  # several times a training
TEST_SEED, LIVE_SEED = 2_000_003, 50_000
TEST_STATES, LIVE_STATES = 512, 16


DRAWN = ServiceConfig(
    users=8, fewest_users=2, server_budget=(2.0, 20.0), device_budget=(2.0, 8.0), server_step_energy=(0.2, 1.0),
    device_step_energy=(1.0, 2.0), threshold=(0.4, 0.8), severity=(0.5, 4.0), shadowing=(1.1, 10.0), mean_gain_db=(-5.0, 5.0),
    actions="choice", receiver="noise-aware", alone="best",
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """What is trained, on what, and how it is examined.

    Attributes:
        name: on the command line.
        files: its tables are `<files>_runs.csv`, `<files>_curves.csv` and `<files>.json`.
        config: the setting.
        variants: names of `STUDIED`, each trained with every seed.
        ablations: names of `ABLATIONS`, each with a seed for every `seeds_to_one` of the variants'.
        training: by profile.
        live_states, states: of its `Evaluation`.
    """

    name: str = "paper"
    files: str = "allocation"
    config: ServiceConfig = field(default_factory=ServiceConfig)
    variants: tuple[str, ...] = tuple(STUDIED)
    ablations: tuple[str, ...] = tuple(ABLATIONS)
    training: Mapping[str, Training] = field(default_factory=lambda: TRAINING)
    seeds_to_one: int = 5
    live_states: int = LIVE_STATES
    states: int = TEST_STATES

    def todo(self, seeds: int) -> list[tuple[str, int]]:
        """Name and seed of all trainings."""
        found = [(name, seed) for seed, name in product(range(seeds), self.variants)]
        return found + [(name, seed) for seed, name in product(range(-(-seeds // self.seeds_to_one)), self.ablations)]

    def evaluation(self) -> Evaluation:
        """What its learners are examined on."""
        return Evaluation(self.config, live_states=self.live_states, states=self.states)


STUDIES = {
    "paper": Study(),
    "choice": Study("choice", "choice", DRAWN, (*ALGORITHMS, "g-ddpg-best", "critic-argmax"), (), live_states=0, states=256),
}


class Evaluation:
    """Held-out states and the optimum of each, in three sets: on the table, live, and with prompts never trained on.

    Args:
        config: the setting.
        live_states: how many of the states are served live; with 0 there is no such set.
        states: how many there are; a quarter as many have prompts never trained on.

    Attributes:
        service: on the table of the prompts that learners are trained on.
        sets: "table", "new_prompts" and "live", each a service and its states.
        best: the outcome of the optimum in each set.
    """

    def __init__(self, config: ServiceConfig, live_states: int = LIVE_STATES, states: int = TEST_STATES):
        known, unseen = TableQoE.load(), TableQoE.load(held_out=True)
        self.service = Service(config, known)
        self.sets = {
            "table": (self.service, self.service.draw(np.random.default_rng(TEST_SEED), states)),
            "new_prompts": ((other := Service(config, unseen)), other.draw(np.random.default_rng(TEST_SEED), states // 4)),
        }
        if live_states:
            chain, agent = SplitDiffusion.from_pretrained("embedded"), PersonaAgent.from_pretrained("embedded")
            live = LiveQoE(chain, agent, config.link, [known.prompts], LIVE_SEED)  # serves states of the table
            self.sets["live"] = (Service(config, live), self.sets["table"][1][:live_states])
        self.best = {
            name: service.outcome(states, optimum(self.table_of(service), states))
            for name, (service, states) in self.sets.items()
        }

    def table_of(self, service: Service) -> Service:
        """What searches by the QoE searches the table, also where it is served live."""
        return self.service if isinstance(service.source, LiveQoE) else service

    def evaluate(self, allocate: Callable[[Service, States], Allocation]) -> dict[str, float]:
        """Evaluate an allocator, cut to the budgets, as shares of what the optimum has in the same states.

        Returns:
            For each set, `<set>_sum_qoe`, `<set>_share` (of the optimum's `reward.objective`), `<set>_reward_gap` (reward
            missing to the optimum's) and `<set>_violated` (share of groups in which a user is below the threshold where the
            optimum has nobody below; the energy constraints hold by the cut). For the table also `raw_over_budget`, the share
            of groups over a budget before the cut.
        """
        found = {}
        for name, (service, states) in self.sets.items():
            raw = allocate(service, states)
            made = service.outcome(states, service.within_budget(states, raw))
            best = self.best[name]
            found[f"{name}_sum_qoe"] = made.qoe.sum(1).mean()
            found[f"{name}_share"] = objective(service.config, made).sum() / objective(service.config, best).sum()
            found[f"{name}_reward_gap"] = (best.reward - made.reward).mean()
            found[f"{name}_violated"] = ((made.shortfall > 0).any(1) & ~(best.shortfall > 0).any(1)).mean()
            if name == "table":
                found["raw_over_budget"] = service.outcome(states, raw).over_budget.mean()
        return {key: float(value) for key, value in found.items()}


def run(name: str, seed: int, evaluation: Evaluation, training: Training, folder: Path, patience_s: float = 0.0) -> pd.Series:
    """Train and evaluate one of `STUDIED` or `ABLATIONS`, unless its result is in `folder`; return the result.

    Raises:
        InvalidArgument: the folder holds the result of another training, or is being trained in, after that many seconds still.
        UnusableFile: a damaged result or checkpoint, or a folder that cannot be written to.
    """
    check_writable(folder)
    with alone(folder, "a training", patience_s):
        return _run(name, seed, evaluation, training, folder)


def _run(name: str, seed: int, evaluation: Evaluation, training: Training, folder: Path) -> pd.Series:
    if (folder / "result.json").exists():
        return pd.Series(_known(folder / "result.json", name, seed))
    algorithm, changes = (STUDIED | ABLATIONS)[name]
    training = replace(training, **changes)
    if algorithm not in LIBRARY:
        if algorithm in ALGORITHMS:
            policy = train(algorithm, evaluation.service, seed, folder, progress=False, **vars(training))
        else:
            policy = train_learner(algorithm, evaluation.service, seed, training, folder)
        policy.save(folder / "actor.safetensors", name=name, seed=seed, interactions=training.interactions)
    else:
        from .library import train_library

        policy = train_library(algorithm, evaluation.service, seed, training)
    write_text(folder / "curve.csv", policy.curve.assign(name=name, seed=seed).to_csv(index=False))
    last = policy.curve.iloc[-1]
    result = {"name": name, "seed": seed, "seconds": float(last.seconds), "updates": int(last.updates)}
    result |= evaluation.evaluate(lambda service, states: replace(policy, service=service).act(states))
    write_json(folder / "result.json", result)
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)
    return pd.Series(result)


def _known(path: Path, name: str, seed: int) -> dict:
    known = read_json(path, "name", "seed", remedy=AGAIN)
    if (known["name"], known["seed"]) != (name, seed):
        raise InvalidArgument(
            "folder", str(path.parent), f"another one: it holds another training than {name} with seed {seed}"
        )
    return known


def study(
    folder: Path,
    seeds: int,
    profile: str = "full",
    jobs: int | None = None,
    output: Path = RESULTS,
    ray: str | None = None,
    name: str = "paper",
) -> None:
    """Run everything of a study that is not done yet, in other processes, and write the tables.

    Args:
        seeds: of every algorithm; ablations have fewer.
        profile: of its training, "smoke" or "full".
        jobs, ray: as for `processes.each`.
        output: folder of the tables.
        name: one of `STUDIES`.

    Raises:
        InvalidArgument: a wrong number of jobs, or an unknown study or profile.
        UnusableFile: a folder that cannot be written to, before any work; a damaged result of an earlier one.
        RunFailed: a run failed; what the others did is kept.
    """
    check_jobs(jobs)
    one = STUDIES[check_choice("name", name, STUDIES)]
    training = one.training[check_choice("profile", profile, one.training)]
    for place in (folder, output):
        check_writable(place)
    todo = one.todo(seeds)
    places = [_folder(folder.absolute(), *run) for run in todo]
    units = [(name, *run, training, place) for run, place in zip(todo, places) if not (place / "result.json").exists()]
    each_or_fail(_work, units, folder, jobs, ray, what="trainings")
    collect(places, training, output, name)


def _folder(base: Path, name: str, seed: int) -> Path:
    return base / f"{name.replace(', ', '-').replace(' ', '')}-{seed}"


@cache
def _evaluation(study: str) -> Evaluation:
    return STUDIES[study].evaluation()


def _work(study: str, name: str, seed: int, training: Training, folder: Path) -> None:
    # Another command may be at it, or a process that a cluster has lost.
    run(name, seed, _evaluation(study), training, folder, patience_s=PATIENCE_S)


def collect(folders: Sequence[Path], training: Training, output: Path, name: str = "paper") -> None:
    """Write the tables of a finished study, and how the rules of thumb do on the same states."""
    one, rng = STUDIES[name], np.random.default_rng(TEST_SEED)
    evaluation = one.evaluation()
    rules = {
        "random": lambda service, states: oracle.random(service, states, rng),
        "equal split": oracle.equal_split,
        "no sharing": oracle.no_sharing,
        "greedy": lambda service, states: oracle.greedy(evaluation.table_of(service), states),
        "optimum": lambda service, states: optimum(evaluation.table_of(service), states),
    }
    scores = {rule: evaluation.evaluate(allocate) for rule, allocate in rules.items()}
    runs = [read_json(place / "result.json", "name", remedy=AGAIN) for place in folders]
    curves = [read_csv(place / "curve.csv", "name", remedy=f"delete {place} and run the command again") for place in folders]
    write_text(output / f"{one.files}_runs.csv", pd.DataFrame(runs).to_csv(index=False))
    write_text(output / f"{one.files}_curves.csv", pd.concat(curves).to_csv(index=False))
    about = provenance(
        f"rlli train --study{'' if name == 'paper' else ' ' + name} --profile full --seeds {1 + max(run['seed'] for run in runs)}"
    )
    found = {
        "rules": scores,
        "validation_optimum": optimum_curve(evaluation.service),
        "training": vars(training),
        "provenance": about,
    }
    write_json(output / f"{one.files}.json", found)


def optimum_curve(service: Service) -> dict[str, float]:
    """What the optimum brings in the states of the learning curves."""
    states = validation(service)
    made = service.outcome(states, optimum(service, states))
    return {"reward": float(made.reward.mean()), "sum_qoe": float(made.qoe.sum(1).mean())}
