"""When sharing pays: what ways to serve a group bring and cost, setting by setting.

`python -m rlli_core.allocation.pays` works out `SETTINGS` (half an hour on one core; resumes). Groups and table are those of
`table`, all of them. An allocation is chosen by the scores of two of the three image seeds and scored by the third, in three
turns: one that is chosen and scored by the same pictures profits from those that turned out well by luck, by several hundredths.
So are the starts of devices that are alone, for each prompt and number of own steps, where elsewhere a fitted rule has them: who
shares may choose t0, and whoever does not should have no less to choose. There is no threshold Q_th here, so that what is
maximised is the QoE alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from functools import cache
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..channel import FisherSnedecorF, Link
from ..errors import ModelNotFound, check_choice, told
from ..files import DATA, WORK, check_writable, provenance, read_arrays, whole, write_json
from ..processes import check_jobs, each_or_fail
from . import prompts
from .energy import cost
from .oracle import no_sharing, optimum
from .reward import sharing
from .service import Service
from .setting import LEAST, ServiceConfig
from .states import Allocation, States
from .table import SEEDS, TableQoE

RESULTS = DATA / "results" / "sharing.npz"
WISHES = ("similar", "same")
PEOPLE = 2  # groups of people, with channels of their own, for each group of prompts
POWERS = 50  # of the exact search: watts in steps of a fiftieth of what the server's budget pays for
STRATEGIES: dict[str, dict[str, Any]] = {
    "alone, own grid": {},
    "alone, best start": {"alone": "best"},
    "alone, best start and steps": {"alone": "best"},
    "all share, paper's hand-off": {"actions": "paper"},
    "optimum, paper's hand-off": {"alone": "best"},
    "optimum, noise-aware": {"alone": "best", "receiver": "noise-aware"},
}
"""Ways to serve, with what sets them apart in `ServiceConfig`. The first three share nothing. Of these the first two take all steps
that a device can pay for; the third, against which gains are told, as many of them as are best for the user, chosen as carefully as
all else is in the others: more steps are not always better, and to leave some out is no merit of sharing. The others are `optimum`;
in the last two t0 may be 0, and anybody may stay out and then is alone at its best start, with the steps that are best."""
GRID, START, ALONE, EVERYBODY, PAPER, OURS = STRATEGIES
MEASURES = ("qoe", "device_j", "server_j", "radio_j", "latency_s", "shared_steps", "shares")


@dataclass(frozen=True)
class Setting:
    """One service; the defaults are the paper's (Fig. 11).

    Args:
        device_budget, server_budget: in the paper's unit, in which a device's step costs 1.
        users: the members of a group, over and over where there are more.
        wish: "similar": each wants the prompt of its own in the group; "same": all want the server's.
        gain_db: added to all channel gains.
        severity: m of the fading.
        server_step_energy: delta_0.
    """

    device_budget: float = 8.0
    server_budget: float = 20.0
    users: int = 3
    wish: str = "similar"
    gain_db: float = 0.0
    severity: float = 2.0
    server_step_energy: float = 0.5

    def __post_init__(self) -> None:
        check_choice("wish", self.wish, WISHES)


DEVICE_BUDGETS, SERVER_BUDGETS = (1, 2, 3, 4, 6, 8), (1, 2.5, 5, 10, 20)
FEW = (1, 2, 4)  # device budgets of the lines: where a gain may be left
LINES: dict[str, tuple] = {
    "users": (1, 2, 3, 4, 6, 8),
    "wish": WISHES,
    "gain_db": (-20, -10, 0, 10),
    "severity": (0.6, 1, 2, 5),
    "server_step_energy": (0.25, 0.5, 1, 2, 4),
}
"""What else is varied, each by itself."""
SETTINGS = list(
    dict.fromkeys(
        [
            *(Setting(device, server) for device, server in product(DEVICE_BUDGETS, SERVER_BUDGETS)),
            *(replace(Setting(few), **{name: value}) for few in FEW for name, values in LINES.items() for value in values),
            *(Setting(few, Setting.server_budget / Setting.users, users=1) for few in DEVICE_BUDGETS),  # of `walked_for_each`
        ]
    )
)


def measure(setting: Setting) -> np.ndarray:
    """What each of `STRATEGIES` brings and costs a user of each group of prompts, means over people and turns.

    Returns:
        (strategies, groups, `MEASURES`): QoE in [0, 1], joules of the device, the server and the radio, seconds, t0, and the
        share of the users that share.

    Raises:
        InvalidArgument: a setting out of range.
    """
    made = np.zeros((len(STRATEGIES), len(_table((0,)).groups), len(MEASURES)))
    for turn in range(SEEDS):
        chosen_on, scored_on = _table(tuple(seed for seed in range(SEEDS) if seed != turn)), _table((turn,))
        starts = chosen_on.chosen_starts()
        chosen_on, scored_on = chosen_on.with_starts(starts), scored_on.with_starts(starts)
        for number, (name, how) in enumerate(STRATEGIES.items()):
            config = _config(setting, how)
            service, judged = Service(config, chosen_on), Service(config, scored_on)
            states = _states(service, setting)
            if name in (GRID, START):
                allocation = no_sharing(service, states)
            elif name == ALONE:
                nothing = replace(config, server_budget=LEAST)
                allocation = optimum(
                    Service(nothing, chosen_on), replace(states, server_budget=np.full(len(states.prompts), LEAST))
                )
            else:
                allocation = optimum(service, states, config.max_power_w / POWERS)
            made[number] += _by_group(judged, states, allocation) / SEEDS
    return made


def read(path: Path = RESULTS) -> pd.DataFrame:
    """The shipped results, a row for each setting, strategy and group.

    Returns:
        Columns: those of `Setting`, strategy, group, unseen (no rule was fitted on it), distance (of the prompts of the other
        users to the server's, the mean), `MEASURES`, total_j, and gain: QoE less that of the device alone at its best.

    Raises:
        ModelNotFound: none there.
        UnusableFile: they are damaged.
    """
    if not path.is_file():
        raise ModelNotFound(f"no results at {path}; make them with: python -m rlli_core.allocation.pays")
    content = read_arrays(path, "settings", "values", "unseen", "distances")
    return frame([setting_of(row) for row in content["settings"]], content["values"], content["unseen"], content["distances"])


def frame(
    settings: Sequence[Setting], values: np.ndarray, unseen: Sequence[bool] = (), distances: Sequence[float] = ()
) -> pd.DataFrame:
    """`read`'s table, of what `measure` gives for each setting."""
    axes = [range(len(settings)), STRATEGIES, range(values.shape[2])]
    index = pd.MultiIndex.from_product(axes, names=["setting", "strategy", "group"])
    table = pd.DataFrame(values.reshape(-1, len(MEASURES)).astype(float), index, list(MEASURES)).reset_index()
    for name in (field.name for field in fields(Setting)):
        table[name] = table.setting.map(dict(enumerate(getattr(setting, name) for setting in settings)))
    alone = table[table.strategy == ALONE].set_index(["setting", "group"]).qoe
    table["gain"] = table.qoe - alone.loc[pd.MultiIndex.from_frame(table[["setting", "group"]])].to_numpy()
    table["total_j"] = table.device_j + table.server_j + table.radio_j
    return table.assign(unseen=table.group.map(dict(enumerate(unseen))), distance=table.group.map(dict(enumerate(distances))))


def at(table: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """The rows of the paper's setting but for `wanted`, which names fields of `Setting`; None leaves one open.

    >>> table = pd.DataFrame([vars(Setting()), vars(Setting(users=2))])
    >>> at(table, users=2).index.tolist(), at(table, users=None).index.tolist()
    ([1], [0, 1])
    """
    kept = vars(Setting()) | wanted
    rows = [table[name] == value for name, value in kept.items() if value is not None]
    return table[np.logical_and.reduce(rows)]


def walked_for_each(table: pd.DataFrame, own_steps: float) -> pd.DataFrame:
    """What help without sharing brings: one user with that user's part of the server's budget, who wants the server's prompt."""
    return at(table, users=1, server_budget=None, device_budget=own_steps).query("server_budget < @Setting.server_budget")


def energy_at(table: pd.DataFrame, energy: str, qoe: float | np.ndarray) -> np.ndarray:
    """The least mean energy at which a strategy reaches a QoE, between its settings along the frontier; NaN beyond it.

    Args:
        table: rows of one strategy; the mean over groups of each setting is a point.
        energy: the column.
        qoe: any shape.
    """
    energies, reached = table.groupby("setting")[[energy, "qoe"]].mean().to_numpy().T
    return _energy_at(energies, reached, qoe)


def _energy_at(energies: np.ndarray, reached: np.ndarray, qoe: float | np.ndarray) -> np.ndarray:
    order = np.lexsort((-reached, energies))
    energies, reached = energies[order], reached[order]
    front = reached > np.concatenate([[-np.inf], np.maximum.accumulate(reached)[:-1]])
    return np.asarray(np.interp(qoe, reached[front], energies[front], right=np.nan))


def saved(table: pd.DataFrame, strategy: str, energy: str, own_steps: float, draws: int = 1000) -> tuple[float, float, float]:
    """Share of a user's energy that a strategy saves at the QoE of the device alone at its best with a budget of so many own steps.

    Args:
        table: settings among which each strategy has its frontier.
        energy: the column, such as device_j or total_j. Negative shares are spent in addition.
        draws: of the groups, with replacement, for the interval.

    Returns:
        The share, and the ends of its 95 % bootstrap interval over groups; NaN where the strategy does not get there.
    """
    ways = {name: table[table.strategy == name] for name in (ALONE, strategy)}
    grids = {name: [way.pivot(index="setting", columns="group", values=of).to_numpy() for of in (energy, "qoe")]
             for name, way in ways.items()}  # fmt: skip
    mine = (ways[ALONE].groupby("setting").device_budget.first() == own_steps).to_numpy()
    groups, rng = grids[ALONE][0].shape[1], np.random.default_rng(0)
    shares = []
    for drawn in [np.arange(groups), *rng.integers(groups, size=(draws, groups))]:
        (lone_j, lone_qoe), (spent_j, reached) = ([grid[:, drawn].mean(1) for grid in grids[name]] for name in ways)
        shares.append(1 - float(_energy_at(spent_j, reached, lone_qoe[mine].mean())) / lone_j[mine].mean())
    return (shares[0], *np.nanquantile(shares[1:], (0.025, 0.975)))


STABLE_DIFFUSION_FID = {6: 20.33, 10: 16.78, 250: 15.86}
"""FID of Stable Diffusion 1.4 on COCO by DDIM steps, guidance 7.5 (PFDiff, ICLR 2025)."""


def needed(quality: pd.Series, share: float = 0.95) -> float:
    """Steps after which a quality, 1 with many, has reached a share of that, between those known along their logarithm.

    Where it never does, the most steps that are known.
    """
    reached = np.maximum.accumulate(quality.to_numpy(float))
    return float(np.exp(np.interp(share, reached, np.log(quality.index.to_numpy(float)))))


def setting_of(row: np.ndarray) -> Setting:
    """A setting from its numbers, as they are kept."""
    device, server, users, wish, *others = (float(value) for value in row)
    return Setting(device, server, int(users), WISHES[int(wish)], *others)


def _row(setting: Setting) -> list[float]:
    return [float(WISHES.index(value) if isinstance(value, str) else value) for value in astuple(setting)]


def _config(setting: Setting, how: dict[str, Any]) -> ServiceConfig:
    link = Link()
    link = replace(link, fading=FisherSnedecorF(setting.severity, link.fading.shadowing))
    return ServiceConfig(
        users=setting.users, device_budget=float(setting.device_budget), server_budget=float(setting.server_budget),
        server_step_energy=setting.server_step_energy, mean_gain_db=setting.gain_db, threshold=0.0, link=link,
        **({"actions": "choice"} | how),
    )  # fmt: skip


@cache
def _table(seeds: tuple[int, ...]) -> TableQoE:
    """The table of these image seeds, with all groups."""
    table = TableQoE.load(seeds=seeds)
    number = {prompt: i for i, prompt in enumerate(table.prompts)}
    return replace(table, groups=tuple(tuple(number[one] for one in group) for group in prompts.groups()))


def _states(service: Service, setting: Setting) -> States:
    """`PEOPLE` states of every group, the same people and channels for all strategies."""
    groups = service.source.groups
    states = service.draw(np.random.default_rng(0), PEOPLE * len(groups))
    members = [[group[0], *islice(cycle(group[1:]), setting.users - 1)] for group in groups]
    wanted = np.array([[row[0]] * setting.users if setting.wish == "same" else row for row in members])
    return replace(states, prompts=np.repeat(wanted, PEOPLE, axis=0))


def _by_group(service: Service, states: States, allocation: Allocation) -> np.ndarray:
    made, spent, shares = service.outcome(states, allocation), cost(service, states, allocation), sharing(states, allocation)
    users = states.prompts.shape[1]
    each = [
        made.qoe.mean(1), spent.device_j.mean(1), spent.server_j / users, spent.radio_j.mean(1), spent.latency_s.mean(1),
        np.where(shares.any(1), allocation.shared_steps, 0), shares.mean(1),
    ]  # fmt: skip
    return np.stack(each, 1).reshape(-1, PEOPLE, len(MEASURES)).mean(1)


def work_out(setting: Setting, path: Path) -> None:
    """Write `measure` of one setting, whole or not at all, unless it is there."""
    if not path.exists():
        made = measure(setting)
        with whole(path) as place, place.open("wb") as file:
            np.save(file, made.astype(np.float32))


def main() -> None:
    """Work out all settings, and put them together."""
    parser = argparse.ArgumentParser(prog="python -m rlli_core.allocation.pays", description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=WORK, help="where results wait until all are there")
    parser.add_argument("--jobs", type=int, help="settings at a time (default: one a core)")
    options = parser.parse_args()
    check_jobs(options.jobs)
    folder = (options.work / "sharing").absolute()
    for place in (folder, RESULTS.parent):
        check_writable(place)
    files = {setting: folder / ("-".join(f"{value:g}" for value in _row(setting)) + ".npy") for setting in SETTINGS}
    units = [(setting, path) for setting, path in files.items() if not path.exists()]
    each_or_fail(work_out, units, folder, options.jobs, what="settings")
    source = _table((0,))
    away = [np.linalg.norm(source.embeddings[list(g[1:])] - source.embeddings[g[0]], axis=1).mean() for g in source.groups]
    with whole(RESULTS) as place, place.open("wb") as file:
        np.savez_compressed(
            file, settings=np.array([_row(setting) for setting in files]), values=np.stack([np.load(p) for p in files.values()]),
            unseen=prompts.held_out(), distances=away,
        )  # fmt: skip
    about = provenance("python -m rlli_core.allocation.pays")
    write_json(RESULTS.with_suffix(".json"), about | {"people": PEOPLE, "turns": SEEDS, "power_steps": POWERS})


if __name__ == "__main__":
    sys.exit(told(main))
