"""The panels of sliders of single pages; the one over the whole service is `rlli_core.book.panels.explorer.Explorer`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from ...allocation import handoffs
from ...allocation.handoffs import StartRule
from ...allocation.oracle import optimum
from ...allocation.prompts import embed
from ...allocation.service import Service
from ...channel import MODULATIONS, FisherSnedecorF, Link, dbw_to_w
from ...deployments import Device, Topology, deploy
from ...errors import InvalidArgument
from ...qoe import Persona
from ...qoe.persona import TRAITS, people
from ...records import RECEIVERS, SplitPlan
from .. import airtime
from ..figures.allocation import allotted
from ..figures.channel import bep_by_power
from ..figures.deployments import topology_drawing
from ..figures.look import student
from ..figures.sharing import point_on_map
from .panel import Panel, Part, Shown, choice, drawn, slider, span

if TYPE_CHECKING:
    from ...allocation.policy import Policy
    from ...diffusion.split import SplitDiffusion
    from ...qoe.agent import PersonaAgent


def persona_panel(agent: PersonaAgent, images: Sequence[Image.Image], prompts: Sequence[str], persona: Persona) -> Panel:
    """Sliders for the five traits over pictures whose scores follow them, each for its own prompt."""
    start = dict(zip(TRAITS, persona.vector))
    controls = {trait: slider(trait, span(0, 1, 0.05), start[trait], (0.1, 0.5, 0.9), "{:.2f}") for trait in TRAITS}

    def together(settings: list[dict]) -> Iterator[Shown]:
        everyone, count = [Persona(**traits) for traits in settings], len(images)
        # At once, so that the agent looks at each picture once.
        scores = agent.scores([*images] * len(everyone), [p for p in everyone for _ in images], [*prompts] * len(everyone))
        for first in range(0, len(scores), count):
            values = [score.value for score in scores[first : first + count]]
            parts = [
                Part(
                    image,
                    f'{escape(text)}<br><span class="score">{value:.2f}</span> {_dots(value)}',
                    f"a picture of: {text}",
                    130,
                )
                for image, text, value in zip(images, prompts, values)
            ]
            yield f"This person likes best: {prompts[int(np.argmax(values))]}, {max(values):.2f}", parts

    return Panel(controls, lambda **traits: next(together([traits])), together)


def link_panel(severity: float, shadowing: float, power_dbw: float, gain_db: float) -> Panel:
    """Sliders for fading, modulation, power and link budget over the curve of BEP against power."""
    controls = {
        "severity": slider("fading severity m", span(0.5, 8, 0.1), severity, (1, 2, 5)),
        "shadowing": slider("shadowing mₛ", span(1.1, 10, 0.1), shadowing, (1.5, 5)),
        "modulation": choice("modulation", MODULATIONS, stops=("bpsk", "noncoherent_bfsk")),
        "power_dbw": slider("power (dBW)", span(0, 30, 0.5), power_dbw, (12, 18, 24)),
        "gain_db": slider("link gain (dB)", span(-30, 10, 0.5), gain_db, (-20, -10, 0)),
    }
    layout = []

    def update(severity: float, shadowing: float, modulation: str, power_dbw: float, gain_db: float) -> Shown:
        link = Link(FisherSnedecorF(severity, shadowing), modulation, gain_db=gain_db)
        powers = np.linspace(0, 30, 31)
        bep = float(link.bep(dbw_to_w(power_dbw)))
        ax = bep_by_power(powers, {modulation.upper(): link.bep(dbw_to_w(powers))}, [(power_dbw, bep)])
        ax.set(ylim=(1e-4, 0.6))  # the same for all, so that the eye sees the curve move
        alt = "Curve of the bit error probability against the transmit power, falling, with a star at the chosen power."
        line = f"mean SNR per bit {power_dbw + gain_db:.1f} dB, average bit error probability {bep:.2%}"
        return line, [Part(drawn(ax, layout, 520), alt=alt, width=520)]

    return Panel(controls, update)


def allocation_panel(policies: Mapping[str, Policy], personas: Sequence[str]) -> Panel:
    """Sliders for budgets, fading, channel and people over what trained policies choose, beside the optimum.

    Args:
        policies: by name; the first one's service says who there is and what the sliders start from.
        personas: of the users, names from `data/personas.yaml`.
    """
    service = next(iter(policies.values())).service
    config, fading, source = service.config, service.config.link.fading, service.source
    groups = {" · ".join(source.prompts[p] for p in group): group for group in source.groups}
    most = config.max_device_steps
    controls = {
        "group": choice("prompts", groups, stops=[*groups][:: max(1, len(groups) // 3)][:3]),
        **{
            f"user_{k}": choice(f"user {k}", people(), name, ("GA1", "GA2") if k == 1 else ())
            for k, name in enumerate(personas, 1)
        },
        "server_budget": slider("server budget", span(2, 40, 1), float(np.max(config.server_budget)), (6, 12, 20)),
        "device_budget": slider(
            "device budget", range(1, most + 1), int(np.max(config.device_budget)), (1 + most // 4, 1 + most // 2, most)
        ),
        "severity": slider("fading severity m", span(0.5, 8, 0.1), fading.severity),
        "shadowing": slider("shadowing mₛ", span(1.1, 10, 0.1), fading.shadowing),
        "seed": slider("channel draw", range(100), 0, (0, 1, 2)),
    }

    def update(
        group: str, server_budget: float, device_budget: int, severity: float, shadowing: float, seed: int, **users
    ) -> Shown:
        link = replace(config.link, fading=FisherSnedecorF(severity, shadowing))
        now = Service(replace(config, server_budget=server_budget, device_budget=float(device_budget), link=link), source)
        state = replace(
            now.draw(np.random.default_rng(seed), 1),
            prompts=np.array([[*groups[group]] * config.users])[:, : config.users],
            personas=np.array([[Persona.named(name).vector for name in users.values()]]),
        )
        chosen = {name: now.within_budget(state, policy.act(state)) for name, policy in policies.items()}
        chosen["optimum"] = optimum(now, state)
        sums, parts = {}, []
        for name, allocation in chosen.items():
            made = now.outcome(state, allocation)
            sums[name] = made.qoe.sum()
            rows = {"steps": allocation.device_steps[0], "power (W)": allocation.power_w[0].round(1)}
            rows |= {"BEP": [f"{bep:.2g}" for bep in now.bep(state, allocation)[0]], "QoE": made.qoe[0].round(2)}
            table = pd.DataFrame(rows, index=[f"user {k + 1}" for k in range(config.users)]).to_html(border=0)
            parts.append(Part(text=f"<b>{escape(name)}</b>, shared steps {allocation.shared_steps[0]}{table}"))
        gains = ", ".join(f"{10 * np.log10(gain):.0f} dB" for gain in state.gains[0])
        return f"channel gains {gains} · sum QoE " + ", ".join(f"{name} {value:.2f}" for name, value in sums.items()), parts

    return Panel(controls, update)


def rounds_panel(curves: pd.DataFrame, seed: int = 0) -> Panel:
    """A slider over rounds and a choice of learner over what it then chose in one state, the example of `policy.chosen`.

    Args:
        curves: learning curves of a study, with name, seed, interactions, t0, t_1 to t_K and power_1 to power_K.
        seed: the training of each learner that is shown.

    Raises:
        InvalidArgument: curves without these columns, as of a study before it had them, or without that seed.
    """
    steps, powers = ([column for column in curves if column.startswith(start)] for start in ("t_", "power_"))
    if not steps or len(steps) != len(powers) or not {"name", "seed", "interactions", "t0"} <= {*curves}:
        raise InvalidArgument("curves", list(curves), "with columns name, seed, interactions, t0, t_1 .. and power_1 ..")
    trainings = dict(list(curves[curves.seed == seed].groupby("name", sort=False)))
    if not trainings:
        raise InvalidArgument("seed", seed, f"one of {sorted(set(curves.seed))}")
    rounds = sorted({int(mark) for table in trainings.values() for mark in table.interactions})
    shown = pd.concat(trainings.values())
    most = float((shown.t0 + shown[steps].max(axis=1)).max()), max(1.0, float(shown[powers].to_numpy().max()))
    stops = [rounds[place] for place in sorted({*np.linspace(0, len(rounds) - 1, 8).round().astype(int)})]
    controls = {
        "rounds": slider("rounds served", rounds, rounds[-1], stops, "{:,.0f}"),
        "learner": choice("learner", trainings, stops=trainings),
    }
    users, layout = [f"user {k + 1}" for k in range(len(steps))], list[object]()

    def update(rounds: int, learner: str) -> Shown:
        table = trainings[learner]
        row = table.iloc[max(0, int((table.interactions <= rounds).sum()) - 1)]
        axes = allotted(row.t0, row[steps].astype(float), row[powers].astype(float), users, most)
        own, watts = (", ".join(f"{value:.0f}" for value in row[columns]) for columns in (steps, powers))
        line = f"{learner} after {row.interactions:,.0f} rounds: t0 = {row.t0:.0f}, own steps {own}, power {watts} W"
        return line, [Part(drawn(axes[0], layout), alt=f"Lanes of steps and bars of power of each user. {line}.")]

    return Panel(controls, update)


def receiver_panel(
    chain: SplitDiffusion, agent: PersonaAgent, link: Link, plan: SplitPlan, prompts: Mapping[str, str], seed: int
) -> Panel:
    """Sliders for bit errors, receiver and restart over what a device receives and makes of it.

    Args:
        plan: of one device.
        prompts: the device's, by what is said of it; the first one is the server's as well.
        seed: of noise and bit flips.
    """
    server = next(iter(prompts.values()))
    sent = chain.server_denoise(server, plan, seed)
    beps, stopped = (0.0, 0.01, 0.03, 0.06, 0.1, 0.15, 0.25, 0.5), chain.restart_range(sent)[0]
    controls = {
        "wish": choice("the device wants", prompts, stops=tuple(prompts)),
        "bep": slider("bit error probability", beps, 0.1, (0.0, 0.03, 0.1, 0.25), "{:.0%}"),
        "receiver": choice("receiver", RECEIVERS, "noise-aware", RECEIVERS),
        "restart": slider("start at timestep", (stopped, *range(600, 1000, 10)), stopped, (stopped, 800, 870, 930), "{:g}"),
    }

    def together(settings: list[dict]) -> Iterator[Shown]:
        got = [link.transmit(sent, bep=setting["bep"], seed=seed) for setting in settings]
        lowest = [chain.restart_range(one, setting["receiver"])[0] for one, setting in zip(got, settings)]
        starts = [None if setting["restart"] <= low else int(setting["restart"]) for setting, low in zip(settings, lowest)]
        wanted, images = [prompts[setting["wish"]] for setting in settings], dict[int, Image.Image]()
        for receiver in RECEIVERS:
            some = [i for i, setting in enumerate(settings) if setting["receiver"] == receiver]
            if some:
                given = [[values[i] for i in some] for values in (got, wanted, starts)]
                images |= zip(some, chain.device_denoises(*given[:2], batch_size=32, receiver=receiver, restarts=given[2]))
        made = [images[i] for i in range(len(settings))]
        means = _mean_scores(agent, made, wanted)
        arrived = dict(zip((one["bep"] for one in settings), got))
        pictures = {bep: chain.decode(one.latent)[0] for bep, one in arrived.items()}
        for setting, start, low, prompt, image, score in zip(settings, starts, lowest, wanted, made, means):
            parts = [
                Part(pictures[setting["bep"]], "what arrives", "the latent that the device receives, decoded as it is", 190),
                Part(
                    image, f'<span class="score">{score:.2f}</span> {_dots(score)}',
                    f"what the device makes of it: {prompt}, score {score:.2f}", 190,
                ),
            ]  # fmt: skip
            where = (
                f"at {start}, {start - low} above where this receiver could"
                if start
                else f"at {low}, the lowest for this receiver"
            )
            yield f"The server stopped at timestep {stopped}; the device starts {where}.", parts

    return Panel(controls, lambda **setting: next(together([setting])), together)


def restart_panel(
    chain: SplitDiffusion, agent: PersonaAgent, wishes: Mapping[str, str], shared: StartRule, alone: StartRule, seed: int
) -> Panel:
    """A slider for own steps and a choice of wishes over what a device draws alone, with the server's steps, and with a restart.

    Args:
        wishes: the device's prompts, by what is said of them; the first one is the server's as well.
        shared, alone: the rules for where a device starts that shares, and one that does not.
        seed: of the noise.
    """
    known, prompts = handoffs.DEVICE_STEPS, list(wishes.values())
    seen = embed(chain, prompts)
    distances = dict(zip(wishes, np.linalg.norm(seen - seen[0], axis=1)))
    controls = {
        "wish": choice("the device wants", wishes, stops=tuple(wishes)),
        "steps": slider("own steps", span(1, 8, 1), 1, known),
    }

    def together(settings: list[dict]) -> Iterator[Shown]:
        begun, wanted, restarts = [], [], list[int | None]()
        for setting in settings:
            steps, prompt = int(setting["steps"]), wishes[setting["wish"]]
            noise = chain.server_denoise(prompt, SplitPlan(0, steps), seed)
            sent = chain.server_denoise(prompts[0], SplitPlan(handoffs.SHARED_STEPS, steps), seed)
            levels = [sent.timestep, *(level or 0 for level in handoffs.RESTARTS[1:])]
            late = handoffs.STARTS[int(alone.choose([handoffs.WHOLE, *(start or 0 for start in handoffs.STARTS[1:])], steps))]
            again = handoffs.RESTARTS[int(shared.choose(levels, steps, distances[setting["wish"]]))]
            begun += [noise, sent, sent]
            wanted += [prompt] * 3
            restarts += [late, None, again]
        made = chain.device_denoises(begun, wanted, batch_size=32, restarts=restarts)
        means = _mean_scores(agent, made, wanted)
        ways = ("alone, best start", "the server's steps first, as in the paper", "the server's steps, and a restart")
        for number in range(len(settings)):
            parts = [
                Part(
                    made[3 * number + i], f'{way}<br><span class="score">{means[3 * number + i]:.2f}</span> {_dots(means[3 * number + i])}',
                    f"{wanted[3 * number]}, {way}, score {means[3 * number + i]:.2f}", 200,
                )
                for i, way in enumerate(ways)
            ]  # fmt: skip
            line = (
                f"The server walked {handoffs.SHARED_STEPS} steps towards {prompts[0]}; the device wants {wanted[3 * number]}."
            )
            yield f"{line} Scores are the mean of the book's people.", parts

    return Panel(controls, lambda **setting: next(together([setting])), together)


def airtime_panel(
    chain: SplitDiffusion, agent: PersonaAgent, plan: SplitPlan, prompt: str, seed: int, fading: FisherSnedecorF
) -> Panel:
    """Sliders for SNR, channel and the picture's code over what each way to use the same airtime shows.

    Args:
        plan: of one device.
        seed: of noise and errors on the air.
        fading: law of the gains of the fading channel.
    """
    sent, everyone = chain.server_denoise(prompt, plan, seed), [Persona.named(name) for name in people()]
    whole, codes = chain.device_denoise(sent, prompt), {f"{rate:.0%} data": rate for rate in (0.25, 0.5, 0.75)}
    stills = {rate: airtime.still_within(whole, "avif", rate).image for rate in codes.values()}
    gains = np.quantile(fading.sample(100_000, seed=0), (0.5, 0.1))
    channels = dict(zip(("no fading", "fading, a middling packet", "fading, one in ten is worse"), (1.0, *gains)))
    protected = airtime.CODES["6 bits, two of them under LDPC"]
    ways = {
        "latent, as in the paper": (airtime.CODES[airtime.BIT_ONCE], "paper"),
        "latent, noise-aware": (airtime.CODES[airtime.BIT_ONCE], "noise-aware"),
        "latent, noise-aware, two bits under LDPC": (protected, "noise-aware"),
    }
    controls = {
        "snr_db": slider("mean SNR per channel bit (dB)", span(-8, 16, 1), 0.0, (-6, -3, 0, 4)),
        "channel": choice("channel", channels, stops=(next(iter(channels)), next(reversed(channels)))),
        "code": choice("picture's code", codes, "50% data", ("25% data", "50% data")),
    }

    @lru_cache(maxsize=64)  # the picture's code does not matter to them
    def latents(bep: float) -> dict[str, Image.Image]:
        got = {name: (link.transmit(sent, bep=bep, seed=seed), receiver) for name, (link, receiver) in ways.items()}
        return {name: chain.device_denoise(one, prompt, receiver=receiver) for name, (one, receiver) in got.items()}

    def update(snr_db: float, channel: str, code: str) -> Shown:
        bep = airtime.bep_at(snr_db + 10 * np.log10(channels[channel]))
        shown = {
            "finished picture (AVIF)": stills[codes[code]] if airtime.arrives(codes[code], bep, seed) else airtime.blank(whole)
        }
        shown |= latents(bep)
        scores = agent.scores([*shown.values()] * len(everyone), [p for p in everyone for _ in shown], prompt)
        means = np.reshape([score.value for score in scores], (len(everyone), -1)).mean(0)
        parts = [
            Part(image, f'{name}<br><span class="score">{score:.2f}</span> {_dots(score)}', f"{name}: score {score:.2f}", 170)
            for (name, image), score in zip(shown.items(), means)
        ]
        return f"{prompt}; bit error probability {bep:.2%}", parts

    return Panel(controls, update)


def deployment_panel(
    chain: SplitDiffusion, agent: PersonaAgent, users: Mapping[str, Device], shared_steps: int, link: Link, seed: int
) -> Panel:
    """Controls for hops, who begins, bit errors and receiver over the tree, each user's picture, and what the round costs.

    Args:
        users: devices by name, two or more, each with a persona; over which link they receive is the panel's.
        shared_steps: of all relays together.
        link: of every hop.
        seed: of noise and bit flips.
    """
    names, hops = list(users), range(1, len(users))
    beps = (0.001, 0.01, 0.03, 0.06, 0.1, 0.15, 0.25)
    controls = {
        "hops": slider("times handed on", hops, 1, hops),
        "first": choice("who begins", names, stops=names),
        "bep": slider("bit error probability of each link", beps, 0.06, (0.01, 0.06, 0.15), "{:.1%}"),
        "receiver": choice("receiver", RECEIVERS, "noise-aware", RECEIVERS),
    }
    layouts: dict[int, list] = {}

    def update(hops: int, first: str, bep: float, receiver: str) -> Shown:
        topology = Topology.relayed(len(names), shared_steps, hops, names.index(first))
        devices = [replace(device, link=link, power_w=link.power_for_bep(bep)) for device in users.values()]
        made = deploy(chain, devices, topology, seed, agent=agent, receiver=receiver)
        tree = topology_drawing({"": (topology, names)})[0]
        parts = [
            Part(
                drawn(tree, layouts.setdefault(hops, []), 230),
                "",
                f"{first} hands on; the latent is handed on {hops} times.",
                230,
            )
        ]
        for name, device, share in zip(names, devices, made.shares):
            score = share.score.value if share.score is not None else 0.0
            text = f'{escape(name)}<br><span class="score">{score:.2f}</span> {_dots(score)}<br>{share.energy_mwh:.1f} mWh'
            parts.append(Part(share.image, text, f"{name} gets: {device.prompt}, score {score:.2f}", 130))
        ways = (f"{made.latency_s(together):.1f} s {word}" for together, word in ((True, "together"), (False, "from a store")))
        return f"sum of the scores {made.qoe:.2f}, energy {made.energy_mwh:.1f} mWh, mean latency {', '.join(ways)}", parts

    return Panel(controls, update)


def sharing_panel(table: pd.DataFrame, strategy: str) -> Panel:
    """Sliders for both budgets over the map of what sharing brings, and there each strategy's QoE and energy.

    Args:
        table: as `pays.read`, in which nothing but the budgets is varied.
        strategy: that of the map.
    """
    devices, servers = (sorted(table[name].unique()) for name in ("device_budget", "server_budget"))
    controls = {
        "device_budget": slider("device budget (own steps)", devices, devices[-1], devices),
        "server_budget": slider("server budget", servers, servers[-1], servers),
    }
    layout: list = []

    def update(device_budget: float, server_budget: float) -> Shown:
        here = table[(table.device_budget == device_budget) & (table.server_budget == server_budget)]
        gains = {way: student(rows.gain) for way, rows in here.groupby("strategy", sort=False) if rows.gain.any()}
        axes = point_on_map(table, (device_budget, server_budget), strategy)
        alt = f"Map of the gain with a ring at {device_budget:g} and {server_budget:g}; QoE and energy of each strategy there."
        told = "; ".join(f"{way} {sum(ends) / 2:+.3f} ({ends[0]:+.3f} to {ends[1]:+.3f})" for way, ends in gains.items())
        line = f"QoE against everybody alone at the best: {told}."
        return line, [Part(drawn(axes[0], layout), alt=alt)]

    return Panel(controls, update)


def _mean_scores(agent: PersonaAgent, images: list[Image.Image], prompts: list[str]) -> np.ndarray:
    """Of each picture for its prompt, the mean score of the book's people."""
    everyone = [Persona.named(name) for name in people()]
    scores = agent.scores(images * len(everyone), [p for p in everyone for _ in images], prompts * len(everyone))
    return np.array([score.value for score in scores]).reshape(len(everyone), -1).mean(0)


def _dots(value: float) -> str:
    return f'<span aria-hidden="true" style="font-size: .6em">{"●" * round(10 * value)}</span>'
