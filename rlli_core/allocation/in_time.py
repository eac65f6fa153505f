"""The service in time: requests arrive, wait for the server, are walked in batches, sent, and finished by their devices.

A SimPy model around four ways to serve (`WAYS`). Steps and airtime take the seconds that they are given, measured or assumed;
scores come from `Curves`, since no simulation can draw every picture. A hit takes the cached latent in place of the server's
t0 steps; a miss walks them towards its own prompt and leaves the latents passed on the shelf. Only MoDM caches pictures, which
an edge server does not have: it must finish the chain for itself, and that is charged to it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import simpy

from ..compute import time_calls
from ..errors import InvalidArgument, check_choice, check_integer, check_list, check_number
from ..shelf import Entry, Shelf
from .hit_rules import Curves, Rule
from .hits import GRID, Start
from .request_log import Request

if TYPE_CHECKING:
    from ..diffusion.split import SplitDiffusion

WAYS = ("alone", "no cache", "paper", "cache")
"""Device alone at its best start; the server walks for each; alike ones that wait together share; latents are kept."""


def step_seconds(chain: SplitDiffusion, prompt: str, batches: Sequence[int] = (1, 8), repeats: int = 3) -> tuple[float, float]:
    """Seconds of one server step of b latents as (fixed, each), fixed + each * b: from chains of 1 and 3 steps, the least of some.

    Args:
        batches: two sizes to measure at, the smaller first.
    """
    small, large = (check_integer("batches[...]", size, 1) for size in batches)

    def seconds(size: int) -> float:
        def chains(steps: int) -> None:
            chain.generates([prompt] * size, steps, range(size), output_type="latent", batch_size=size)

        few, more = (min(time_calls(partial(chains, steps), repeats)) for steps in (1, 3))
        return max(1e-9, (more - few) / 2)

    one, many = seconds(small), seconds(large)
    each = max(0.0, (many - one) / (large - small))
    return max(0.0, one - small * each), each


@dataclass(frozen=True)
class Timing:
    """What things take and cost; energies in the paper's unit, see `ServiceConfig`.

    Args:
        shared_steps, device_steps: t0 and t_k, 1 or more.
        batch: chains that the server walks together at most.
        step_fixed_s, step_each_s: seconds of a server step: fixed, and for each chain.
        device_step_s: seconds of a device's step.
        airtime_s: seconds on air of one latent.
        server_step_energy, device_step_energy: delta_0, delta_k.
        send_energy: beta P_k of one latent.
    """

    shared_steps: int = 5
    device_steps: int = 2
    batch: int = 8
    step_fixed_s: float = 0.01
    step_each_s: float = 0.01
    device_step_s: float = 0.05
    airtime_s: float = 0.001
    server_step_energy: float = 0.5
    device_step_energy: float = 1.0
    send_energy: float = 1.0

    def __post_init__(self) -> None:
        check_integer("shared_steps", self.shared_steps, 1, GRID - 1)
        check_integer("device_steps", self.device_steps, 1)
        check_integer("batch", self.batch, 1)
        for name in list(vars(self))[3:]:
            check_number(name, getattr(self, name), 0)
        if self.step_s(1) <= 0:
            raise InvalidArgument("step_fixed_s, step_each_s", (self.step_fixed_s, self.step_each_s), "above 0 together")

    def step_s(self, chains: int) -> float:
        """Seconds of a server step of so many chains."""
        return self.step_fixed_s + self.step_each_s * chains

    @property
    def capacity_hz(self) -> float:
        """Requests a second that full batches serve where nothing is shared or cached."""
        return self.batch / (self.shared_steps * self.step_s(self.batch))


@dataclass(frozen=True, eq=False)
class Way:
    """How requests are served.

    Args:
        way: one of `WAYS`.
        within: "paper": distance of prompts up to which requests that wait together share a chain.
        rule: "cache": when a latent is used, and from where.
        entries: "cache": latents that there is room for.
        eviction: one of `shelf.EVICTIONS`.
        private: whether users are served only what they asked for themselves.
        keys: "cache" by another key than the text's: cached pictures' keys and wanted prompts' keys, (cached, wanted), by prompt.
    """

    way: str
    within: float = 0.0
    rule: Rule | None = None
    entries: int = 200
    eviction: str = "lcbfu"
    private: bool = False
    keys: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]] | None = None

    def __post_init__(self) -> None:
        check_choice("way", self.way, WAYS)
        check_number("within", self.within, 0)
        check_integer("entries", self.entries, 1)
        if (self.way == "cache") != (self.rule is not None):
            raise InvalidArgument("rule", self.rule, "given for the way 'cache', and only for it")
        if self.rule is not None and (self.rule.by == "text") != (self.keys is None):
            raise InvalidArgument("keys", self.keys, "given for a rule by pictures, and only for one")


@dataclass(eq=False)
class _Wish:
    request: Request
    key: np.ndarray
    done: simpy.Event
    distance: float = 0.0
    start: Start | None = None
    waited_s: float = 0.0
    energy: float = 0.0
    hit: bool = False


@dataclass(eq=False)
class _Server:
    """The server's queue and its shelf, in one SimPy environment."""

    env: simpy.Environment
    timing: Timing
    way: Way
    depths: tuple[int, ...]
    queue: list[_Wish] = field(default_factory=list)
    steps: int = 0  # walked, each chain's counted

    def __post_init__(self) -> None:
        self.shelf, self.awake = Shelf(self.way.entries, self.way.eviction), self.env.event()

    def look(self, wish: _Wish) -> bool:
        """Whether the shelf serves this wish; says from where."""
        rule, request = self.way.rule, wish.request
        if rule is None:
            return False
        wanted = wish.key if self.way.keys is None else self.way.keys[1][request.prompt]
        distance, found = self.shelf.nearest(wanted, request.user, rule.by)
        wish.start = rule.choose(distance, found, self.timing.device_steps) if found else None
        if wish.start is None:
            return False
        entry = found[wish.start[0]]
        self.shelf.use(entry)
        wish.distance, wish.hit = float(np.linalg.norm(entry.keys["text"] - wish.key)), True
        return True

    def wait(self, wish: _Wish) -> simpy.Event:
        """Queue a wish; the event comes when its steps are walked."""
        self.queue.append(wish)
        if not self.awake.triggered:
            self.awake.succeed()
        return wish.done

    def run(self) -> Generator[simpy.Event, Any, None]:
        """Walk what waits, as many chains at a time as a batch holds, for ever."""
        while True:
            if not self.queue:
                self.awake = self.env.event()
                yield self.awake
            groups = self._next_groups()
            pictures = self.way.rule is not None and self.way.rule.by == "picture"
            steps = GRID if pictures else self.timing.shared_steps
            for wish in (wish for group in groups for wish in group):
                wish.waited_s = self.env.now - wish.request.time_s
            yield self.env.timeout(self.timing.shared_steps * self.timing.step_s(len(groups)))
            for group in groups:
                for wish in group:
                    wish.energy += steps * self.timing.server_step_energy / len(group)
                    wish.distance = float(np.linalg.norm(wish.key - group[0].key))
                    wish.start = (self.timing.shared_steps, None)
                    wish.done.succeed()
            self.steps += steps * len(groups)
            if pictures:  # the devices need not wait for them, the next batch does
                yield self.env.timeout((steps - self.timing.shared_steps) * self.timing.step_s(len(groups)))
            for group in groups:
                self._keep(group[0])

    def _next_groups(self) -> list[list[_Wish]]:
        """Take from the queue, the oldest first, what fits into one batch; alike ones in one group where the way shares."""
        groups: list[list[_Wish]] = []
        left = []
        for wish in self.queue:
            alike = (g for g in groups if np.linalg.norm(g[0].key - wish.key) <= self.way.within)
            group = next(alike, None) if self.way.way == "paper" else None
            if group is not None:
                group.append(wish)
            elif len(groups) < self.timing.batch:
                groups.append([wish])
            else:
                left.append(wish)
        self.queue = left
        return groups

    def _keep(self, wish: _Wish) -> None:
        if self.way.rule is None:
            return
        keys, depths = {"text": wish.key}, self.depths
        if self.way.keys is not None:
            keys, depths = keys | {"picture": self.way.keys[0][wish.request.prompt]}, (GRID,)
        for depth in depths:
            name = f"{wish.request.time_s} {wish.request.user} {depth}"
            self.shelf.add(Entry(name, keys, depth, 1, wish.request.user, not self.way.private))


def simulate(
    log: Sequence[Request], keys: Mapping[str, np.ndarray], timing: Timing, way: Way, curves: Curves | None = None
) -> pd.DataFrame:
    """Serve a log.

    Args:
        log: requests in their order in time.
        keys: embedding of each prompt, see `prompts.embed`.
        curves: where scores come from; None leaves them out.

    Returns:
        One row a request: arrived_s, waited_s (for the server), latency_s (from the request to the picture), hit, distance (to the
        prompt of the latent that it got), energy (paper's unit), qoe (NaN without curves). `attrs["server_steps"]` counts
        the server's steps.
    """
    env, log = simpy.Environment(), check_list("log", log)
    deepest = timing.shared_steps
    known = [] if curves is None else [int(d) for d in curves.scores.depths]
    server = _Server(env, timing, way, tuple(d for d in known if d <= deepest) or (deepest,))
    devices: dict[str, simpy.Resource] = {}
    score = _scorer(curves, timing)
    rows: list[tuple] = [()] * len(log)

    def serve(number: int, request: Request) -> Generator[simpy.Event, Any, None]:
        yield env.timeout(request.time_s - env.now)
        wish = _Wish(request, np.asarray(keys[request.prompt]), env.event())
        if way.way != "alone":
            if not server.look(wish):
                yield server.wait(wish)
            yield env.timeout(timing.airtime_s)
            wish.energy += timing.send_energy
        device = devices.setdefault(request.user, simpy.Resource(env))
        with device.request() as turn:
            yield turn
            yield env.timeout(timing.device_steps * timing.device_step_s)
        wish.energy += timing.device_steps * timing.device_step_energy
        qoe, latency = score(wish), env.now - request.time_s
        rows[number] = (request.time_s, wish.waited_s, latency, wish.hit, wish.distance, wish.energy, qoe)

    env.process(server.run())
    served = [env.process(serve(number, request)) for number, request in enumerate(log)]
    env.run(simpy.AllOf(env, served))
    table = pd.DataFrame(rows, columns=["arrived_s", "waited_s", "latency_s", "hit", "distance", "energy", "qoe"])
    table.attrs["server_steps"] = server.steps
    return table


def _scorer(curves: Curves | None, timing: Timing) -> Callable[[_Wish], float]:
    """The score of a wish by where it was served from; a start that was not measured is refused before any time passes."""
    if curves is None:
        return lambda wish: float("nan")
    starts = curves.scores.options
    if (timing.shared_steps, None) not in starts:
        depths = sorted(depth for depth, restart in starts if restart is None)
        raise InvalidArgument("shared_steps", timing.shared_steps, f"a measured depth, one of {depths}")
    alone = curves.lone_score(timing.device_steps)
    return lambda wish: alone if wish.start is None else curves.score(wish.distance, wish.start, timing.device_steps)


def over_loads(
    logs: Callable[[float, int], Sequence[Request]],
    loads: Sequence[float],
    ways: Mapping[str, Way],
    keys: Mapping[str, np.ndarray],
    timing: Timing,
    curves: Curves,
    seeds: Sequence[int],
    warm_up: float = 0.2,
) -> pd.DataFrame:
    """Serve logs of several loads in several ways; each seed scores with `Curves.resampled`, so its rows say how sure both are.

    Args:
        logs: gives the log of a rate in hertz and a seed.
        loads: rates as shares of `Timing.capacity_hz`.
        warm_up: share of the requests that is left out of the means while the shelf fills, in [0, 1).

    Returns:
        One row a load, way and seed: means of qoe, energy, waited_s, latency_s, hit_rate, and steps, the server's a request.
    """
    check_number("warm_up", warm_up, 0, 1, open_high=True)
    rows = []
    for load in loads:
        for seed in seeds:
            log, drawn = logs(load * timing.capacity_hz, seed), curves.resampled(seed)
            for name, way in ways.items():
                table = simulate(log, keys, timing, way, drawn)
                late = table.iloc[int(warm_up * len(table)) :].mean()
                rows.append(
                    {"load": load, "way": name, "seed": seed, "qoe": late.qoe, "energy": late.energy, "waited_s": late.waited_s}
                    | {"latency_s": late.latency_s, "hit_rate": late.hit, "steps": table.attrs["server_steps"] / len(table)}
                )
    return pd.DataFrame(rows)
