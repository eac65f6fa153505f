"""The atlas: pictures and scores worked out beforehand, so that the sliders of a page act without any kernel.

`python -m rlli_core.book.browser.atlas` makes `data/results/atlas` (an hour on a free core; goes on where it was broken off):
a sheet of pictures for each seed, group of prompts, prompt and t0, with a row for each plan and a column for each bit error
probability, for the paper's receiver; one for late starts of devices that are alone; for `RECEIVER_GROUPS` also one for the
noise-aware receiver and one for earlier starts without bit errors; and `atlas.json` with the scores of everybody in
`data/personas.yaml`, with the best start of a device that is alone, and with what the trained policy and the optimum choose.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from tqdm.auto import tqdm

from ...allocation import Policy, Service, ServiceConfig, TableQoE, optimum
from ...allocation.prompts import groups
from ...allocation.states import States
from ...channel import Link
from ...diffusion.schedule import handoff_timestep
from ...diffusion.split import SplitDiffusion
from ...errors import ModelNotFound, told
from ...files import DATA, WORK, check_writable, provenance, read_json, whole, write_json, write_text
from ...qoe.agent import PersonaAgent
from ...qoe.persona import Persona, people
from ...records import SplitPlan
from ...round import Round, serve

ATLAS = DATA / "results" / "atlas"
GROUPS = (0, 11, 9)  # of allocation.prompts.groups(): the paper's bush, a beach, a table
SHARED_STEPS = (0, 1, 2, 3, 4, 6)
DEVICE_STEPS = (1, 2, 4, 8)
BEPS = (0.0, 0.01, 0.03, 0.06, 0.1, 0.15)
RECEIVER_GROUPS = GROUPS[:1]  # that have sheets of more than the paper's receiver: all of them would double the atlas
RESTARTS = (700, 800, 870, 930)  # timesteps of the earlier starts
GAINS_DB = (-6.0, 0.0, 3.0)  # of the channels of both users
SEEDS = (0, 1, 2)
LEAST_BEP = 1e-5  # the panel shows the power of this where no errors are asked for
SIDE, QUALITY = 128, 60  # pixels of a picture; of WebP


def plans(shared_steps: int) -> list[tuple[int, int]]:
    """Steps of the longest chain and of the device itself, one row of a sheet each."""
    if shared_steps == 0:  # every device is alone
        return [(t, t) for t in DEVICE_STEPS]
    return [(longest, t) for longest in DEVICE_STEPS for t in DEVICE_STEPS if t <= longest]


def beps(shared_steps: int, receiver: str = "paper") -> tuple[float, ...]:
    """Bit error probabilities, one column of a sheet each; where nothing is sent there is one.

    Without errors all receivers do the same, so that the noise-aware one's sheets begin with the first.
    """
    if receiver == "noise-aware":
        return BEPS[1:] if shared_steps else ()
    return BEPS if shared_steps else BEPS[:1]


def kinds(number: int, shared_steps: int) -> tuple[str, ...]:
    """The sheets that there are of a group and t0 beside those of the paper's receiver."""
    if number in RECEIVER_GROUPS and shared_steps:
        return "restart", "noise_aware"
    return () if shared_steps else ("restart",)  # late starts, of devices that are alone


def rounds(
    chain: SplitDiffusion, server: str, prompt: str, shared: int, receiver: str = "paper", seed: int = SEEDS[0]
) -> list[Round]:
    """Rounds whose devices all want `prompt`, one for each length of the longest chain, with a device for each place of its rows.

    All devices get the same bit flips, so that along a row nothing differs but how many there are.
    """
    made = []
    for longest in DEVICE_STEPS if shared else DEVICE_STEPS[-1:]:
        places = list(product([t for t in DEVICE_STEPS if t <= longest], beps(shared, receiver)))
        many, plan = len(places), SplitPlan(shared, [t for t, _ in places])
        made.append(
            serve(
                chain, [Link()] * many, None, server, [prompt] * many, (), plan, None, seed, beps=[bep for _, bep in places],
                flip_seeds=[seed] * many, batch_size=len(beps(shared, receiver)), receiver=receiver,
            )
        )  # fmt: skip
    return made


def pictures(made: Sequence[Round], shared: int, receiver: str = "paper") -> list[list]:
    """The devices' pictures, a row for each of `plans` and a column for each of `beps`."""
    images, columns = sum((one.images for one in made), ()), len(beps(shared, receiver))
    return [list(images[i : i + columns]) for i in range(0, len(images), columns)]


def restarted(chain: SplitDiffusion, server: str, prompt: str, shared: int, seed: int = SEEDS[0]) -> list[list]:
    """Pictures of devices that start earlier on an error-free hand-off, or late where nothing is shared.

    Returns:
        A row for each of `plans` and a column for each of `RESTARTS`; None where the hand-off has more noise than that.
    """
    rows: list[list] = []
    for longest in DEVICE_STEPS if shared else DEVICE_STEPS[-1:]:
        steps = [t for t in DEVICE_STEPS if t <= longest]
        lowest = handoff_timestep(chain.scheduler, SplitPlan(shared, longest)) if shared else 0
        places = [(t, restart) for t, restart in product(steps, RESTARTS) if restart >= lowest]
        many, made = len(places), None
        if places:
            plan = SplitPlan(shared, [t for t, _ in places])
            made = serve(
                chain, [Link()] * many, None, server, [prompt] * many, (), plan, None, seed,
                beps=[0.0] * many, batch_size=len(RESTARTS), restarts=[restart for _, restart in places],
            )  # fmt: skip
        images = dict(zip(places, made.images if made else ()))
        rows += [[images.get((t, restart)) for restart in RESTARTS] for t in steps]
    return rows


def effective(chain: SplitDiffusion, server: str, seed: int = SEEDS[0]) -> dict[str, list[list[int]]]:
    """The timestep whose noise a received hand-off has: t0 to a row for each length of the longest chain, a column a BEP."""
    found = {}
    for shared in SHARED_STEPS[1:]:
        sent = [chain.server_denoise(server, SplitPlan(shared, longest), seed) for longest in DEVICE_STEPS]
        got = [[Link().transmit(one, bep=bep, seed=seed) for bep in BEPS] for one in sent]
        found[f"{shared}"] = [[chain.restart_range(one, "noise-aware")[0] for one in row] for row in got]
    return found


def stages(chain: SplitDiffusion, made: Sequence[Round]) -> list[list]:
    """The latent decoded where it stands, a row for each length of the longest chain: as sent, then received at each BEP."""
    seen = [(one.sent, *one.received[1 : len(BEPS)]) for one in made]
    return [chain.decode(torch.cat([handoff.latent for handoff in row if handoff is not None])) for row in seen]


def opinions(agent: PersonaAgent, rows: Sequence[Sequence], prompt: str) -> np.ndarray:
    """Everybody's scores of the pictures in thousandths, (rows, columns, people); -1 where there is no picture."""
    who, images = [Persona.named(name) for name in people()], [image for row in rows for image in row]
    there = [i for i, image in enumerate(images) if image is not None]
    found = np.full((len(images), len(who)), -1)
    values = [score.value for score in agent.scores([images[i] for i in there for _ in who], who * len(there), prompt)]
    found[there] = (1000 * np.reshape(values, (-1, len(who)))).round()
    return found.reshape(len(rows), -1, len(who))


def bep_by_power(link: Link, gain: float | None = 1.0) -> list[list[float]]:
    """What the panel knows of a link: pairs of received power (transmit power times channel gain, in watts) and BEP.

    Powers rise from 0 and BEPs fall from 0.5 to `LEAST_BEP`, evenly on a logarithmic scale. With the logarithm of the BEP
    interpolated linearly between two pairs, powers are right to 0.3 % at BEPs up to 0.3, and BEPs to 2 %, for every modulation.

    Args:
        gain: of the channel; None averages over the link's fading.
    """
    levels = np.geomspace(0.5, LEAST_BEP, 129)
    powers = [0.0, *(link.power_for_bep(float(bep), gain=gain) for bep in levels[1:])]
    return [[float(f"{power:.6g}"), float(f"{bep:.6g}")] for power, bep in zip(powers, levels)]


def choices(group: tuple[str, ...]) -> dict[str, dict[str, list]]:
    """What policy and optimum choose for two users of the group, of whom the first wants what the server draws.

    Returns:
        For "policy" and "optimum": numbers of the second user's prompt, of both people and of the gain, joined by "-", to
        [t0, t1, t2, P1, P2], powers in watts.
    """
    service = Service(ServiceConfig(users=2), TableQoE.load())
    policy = Policy.from_pretrained("g-ddpg-2-users", service)
    cases = list(product(range(len(group)), product(people(), repeat=2), GAINS_DB))
    states = States(
        prompts=np.array([[service.source.prompts.index(group[p]) for p in (0, second)] for second, _, _ in cases]),
        personas=np.array([[Persona.named(name).vector for name in pair] for _, pair, _ in cases]),
        server_step_energy=np.full(len(cases), service.config.server_step_energy),
        device_step_energy=np.full((len(cases), 2), service.config.device_step_energy),
        gains=np.repeat([[10 ** (gain / 10)] for _, _, gain in cases], 2, axis=1),
        threshold=np.full(len(cases), service.config.threshold),
        server_budget=np.full(len(cases), service.config.server_budget),
        device_budget=np.full((len(cases), 2), service.config.device_budget),
        present=np.ones((len(cases), 2), bool),
    )
    who, found = list(people()), {}
    for name, made in (("policy", service.within_budget(states, policy.act(states))), ("optimum", optimum(service, states))):
        rows = np.c_[made.shared_steps, made.device_steps, made.power_w.round(1)].tolist()
        found[name] = {
            "-".join(map(str, (second, *map(who.index, names), GAINS_DB.index(gain)))): row
            for (second, names, gain), row in zip(cases, rows)
        }
    return found


def read() -> dict:
    """The index of the atlas.

    Raises:
        ModelNotFound: there is no atlas.
    """
    if not (ATLAS / "atlas.json").is_file():
        raise ModelNotFound(f"no atlas at {ATLAS}; make it with: python -m rlli_core.book.browser.atlas")
    return read_json(ATLAS / "atlas.json", "groups", "people", "best_starts")


def scores() -> pd.DataFrame:
    """All scores: columns seed, group (its first prompt), prompt, shared_steps, longest, device_steps, bep, person, score."""
    index, parts = read(), []
    for group in index["groups"]:
        for name, values in group["scores"].items():
            seed, place, shared = map(int, name.split("-"))
            places = product(plans(shared), beps(shared), index["people"])
            rows = [(seed, *plan, bep, person) for plan, bep, person in places]
            part = pd.DataFrame(rows, columns=["seed", "longest", "device_steps", "bep", "person"])
            part = part.assign(score=np.ravel(values) / 1000, shared_steps=shared, prompt=group["prompts"][place])
            parts.append(part.assign(group=group["prompts"][0]))
    return pd.concat(parts, ignore_index=True)


def effects(table: pd.DataFrame) -> pd.DataFrame:
    """How far each slider moves each person's mean score from its lower to its upper end, beside a device of eight steps.

    Returns:
        Indexed by person; columns shared_steps_same and shared_steps_other (by whether the device wants what the server draws),
        device_steps, bit_errors.
    """
    beside = table[(table.shared_steps > 0) & (table.longest == max(DEVICE_STEPS))]
    same = beside.prompt == beside.group

    def moved(part: pd.DataFrame, column: str) -> pd.Series:
        means = part.groupby(["person", column]).score.mean().unstack()
        return means[part[column].max()] - means[part[column].min()]

    return pd.DataFrame({
        "shared_steps_same": moved(beside[same], "shared_steps"), "shared_steps_other": moved(beside[~same], "shared_steps"),
        "device_steps": moved(beside, "device_steps"), "bit_errors": moved(beside, "bep"),
    })  # fmt: skip


def write_sheet(rows: list, path: Path) -> None:
    """Write pictures as one WebP, whole or not at all."""
    sheet = Image.new("RGB", (SIDE * max(map(len, rows)), SIDE * len(rows)))
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            if image is not None:
                sheet.paste(image, (SIDE * j, SIDE * i))
    with whole(path) as place:
        sheet.save(place, "webp", quality=QUALITY, method=6)


def gather(folder: Path) -> None:
    """Fill `folder` with the sheets and a file of scores each; what is there is kept, so a broken-off run goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    # In 16 bits a GPU draws other pictures of the same seed than the browser does.
    chain = SplitDiffusion.from_pretrained("embedded", dtype="fp32")
    agent, made_of = PersonaAgent.from_pretrained("embedded", dtype="fp32"), groups()

    def keep(name: str, rows: list[list], prompt: str) -> None:
        write_sheet(rows, folder / f"{name}.webp")
        write_json(folder / f"{name}.json", {"scores": opinions(agent, rows, prompt).tolist()})

    for seed, number, shared in tqdm(list(product(SEEDS, GROUPS, SHARED_STEPS)), desc="atlas", unit="sheets"):
        group = made_of[number]
        for place, prompt in enumerate(group):
            name = f"{seed}-{number}-{place}-{shared}"
            if not (folder / f"{name}.json").exists():
                made = rounds(chain, group[0], prompt, shared, seed=seed)
                if shared and place == 0:  # whatever the devices want, they are sent the same
                    write_sheet(stages(chain, made), folder / f"{seed}-{number}-sent-{shared}.webp")
                keep(name, pictures(made, shared), prompt)
            if "restart" in kinds(number, shared) and not (folder / f"{name}-restart.json").exists():
                keep(f"{name}-restart", restarted(chain, group[0], prompt, shared, seed), prompt)
            if "noise_aware" in kinds(number, shared) and not (folder / f"{name}-noise_aware.json").exists():
                made = rounds(chain, group[0], prompt, shared, "noise-aware", seed)
                keep(f"{name}-noise_aware", pictures(made, shared, "noise-aware"), prompt)
    for seed, number in product(SEEDS, GROUPS):
        write_json(folder / f"{seed}-{number}-effective.json", effective(chain, made_of[number][0], seed))


def best_starts(found: Sequence[dict]) -> dict[int, int | None]:
    """The start of a device alone that everybody scores highest on average, for each of `DEVICE_STEPS`; None is its own grid.

    Over all groups, prompts and seeds, never picture by picture: the best of several draws would flatter the device.

    Args:
        found: groups as in the index.
    """
    own, late = (
        np.concatenate([np.array(values) for group in found for name, values in group[kind].items() if name.endswith("-0")], 2)
        for kind in ("scores", "restart")
    )  # (plan, start, people of every sheet)
    means = np.concatenate([own, late], 1).mean(2)
    return {steps: (None, *RESTARTS)[int(row.argmax())] for steps, row in zip(DEVICE_STEPS, means)}


def assemble(folder: Path, output: Path = ATLAS) -> None:
    """Put the sheets and one index beside each other."""
    made_of, found = groups(), []

    def kept(name: str, *fields: str) -> dict:
        return read_json(folder / f"{name}.json", *fields, remedy="delete it and gather again")

    for number in GROUPS:
        parts: dict[str, dict] = {kind: {} for kind in ("scores", "restart", "noise_aware")}
        for seed, place, shared in product(SEEDS, range(len(made_of[number])), SHARED_STEPS):
            for kind in ("scores", *kinds(number, shared)):
                name = f"{seed}-{number}-{place}-{shared}" + ("" if kind == "scores" else f"-{kind}")
                parts[kind][f"{seed}-{place}-{shared}"] = kept(name, "scores")["scores"]
        starts = {"effective": {seed: kept(f"{seed}-{number}-effective") for seed in SEEDS}}
        found.append({"number": number, "prompts": made_of[number]} | parts | starts | choices(made_of[number]))
    about: dict[str, Any] = {"shared_steps": SHARED_STEPS, "device_steps": DEVICE_STEPS, "beps": BEPS}
    about |= {"gains_db": GAINS_DB, "seeds": SEEDS}
    about |= {"restarts": RESTARTS, "best_starts": best_starts(found)}
    about |= {"side": SIDE, "people": list(people()), "plans": {shared: plans(shared) for shared in SHARED_STEPS}}
    about["bep_by_power"] = bep_by_power(ServiceConfig().link)
    for sheet in folder.glob("[!.]*.webp"):
        with whole(output / sheet.name) as target:
            shutil.copyfile(sheet, target)
    text = json.dumps(
        about | {"groups": found, "provenance": provenance("python -m rlli_core.book.browser.atlas")}, separators=(",", ":")
    )
    write_text(output / "atlas.json", text + "\n")


def main() -> None:
    """Gather and assemble."""
    parser = argparse.ArgumentParser(prog="python -m rlli_core.book.browser.atlas", description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=WORK / "atlas", help="where pictures wait until all are there")
    folder = parser.parse_args().work
    for place in (folder, ATLAS):
        check_writable(place)
    gather(folder)
    assemble(folder)


if __name__ == "__main__":
    sys.exit(told(main))
