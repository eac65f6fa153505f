"""Make the embedded models: `python -m rlli_core.embedded all`.

Stages: autoencoder, judge, generator, decoder (the autoencoder's, longer, for the latents that the generator learnt),
evaluate, agent (the persona agent), evaluate-agent, looks (the pictures against renders), step-curve (what each number of steps
brings), prompts (`data/prompts.yaml`); each training resumes from its checkpoint (in $RLLI_WORK, by default the folder rlli in
the system's one for caches, such as ~/.cache/rlli), and all write to --output. To use every core:
`torchrun --standalone --nproc-per-node 2 -m rlli_core.embedded generator`, with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline

from ..compute import cheap, keep_memory
from ..diffusion.split import EMBEDDED_GUIDANCE_SCALE, SplitDiffusion
from ..errors import check_integer, check_number, told
from ..files import DATA, WORK, check_writable, provenance, read_json, whole, write_json
from ..qoe.agent import PersonaAgent
from . import autoencoder, evaluate, generator, judge, looks, persona_agent, prompts, scenes
from .training import core_minutes, workers

STEPS = {"autoencoder": 3_500, "judge": 2_000, "generator": 7_000, "decoder": 1_500, "agent": 1_500}  # about the shipped
ORDER = "autoencoder judge generator decoder evaluate agent evaluate-agent looks step-curve prompts".split()


def main() -> None:
    """Run the stages named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m rlli_core.embedded", description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=[*ORDER, "names", "all"])
    parser.add_argument("--steps", type=int, help=f"length of the training schedule (default {STEPS})")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many minutes; resumable")
    parser.add_argument("--within", type=float, help="end the schedule in so many minutes, however many steps that is")
    parser.add_argument("--batch", type=int, help="samples a step (by default what the shipped model had)")
    parser.add_argument("--rate", type=float, help="the highest learning rate (by default what the shipped model had)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--go-on", action="store_true", help="without a checkpoint, start from the shipped weights")
    parser.add_argument("--divide", type=int, default=1, help="evaluate on so many times fewer images, for a first look")
    parser.add_argument(
        "--world", choices=scenes.WORLDS, default=scenes.WORLD, help="what the scenes are like (not for the agent)"
    )
    parser.add_argument("--images", type=int, default=24_000, help="how many scenes to learn from, again and again")
    parser.add_argument("--output", type=Path, default=DATA, help="where models/ and results/ are written")
    options = parser.parse_args()
    check_integer("divide", options.divide, 1)
    if options.within is not None:
        check_number("within", options.within, 0, open_low=True)
    if options.batch is not None:
        check_integer("batch", options.batch, 1)
    if options.rate is not None:
        check_number("rate", options.rate, 0, 1, open_low=True)
    for place in (options.output, WORK):
        check_writable(place)
    keep_memory()
    folder = options.output / "models"
    for stage in ORDER if options.stage == "all" else [options.stage]:
        budget = {
            "steps": options.steps or STEPS.get(stage, 0),
            "seed": options.seed,
            "stop_at": time.time() + 60 * options.minutes,
            "ends_at": time.time() + 60 * options.within if options.within else math.inf,
        }
        budget |= {name: given for name, given in (("batch", options.batch), ("lr", options.rate)) if given}
        if stage not in STEPS:
            if workers().is_main_process:
                REPORTS[stage](options.output, options.divide)
            continue
        if stage != "agent":
            budget |= {"world": options.world, "images": options.images}
        trained = train(stage, folder, options.go_on, **budget)
        if workers().is_main_process:
            trained()


def train(stage: str, folder: Path, go_on: bool, **budget) -> Callable[[], None]:
    """Train one model and return the function that writes it to `folder`, with the record of its training."""
    target = folder / {"judge": "judge", "agent": "persona-agent"}.get(stage, "embedded-sd")
    vae_folder = folder / "embedded-sd" / "vae"
    if stage == "judge":
        the_judge, steps = judge.train(**budget)
        return partial(the_judge.save, target, recorded(target, stage, steps, False, budget))
    if stage == "agent":
        model, steps = persona_agent.train(start=target if go_on else None, **budget)
        return partial(persona_agent.save, model, persona_agent.CHOSEN, target, recorded(target, stage, steps, go_on, budget))
    vae = None
    if stage != "autoencoder" or go_on:
        vae = AutoencoderTiny.from_pretrained(vae_folder, torch_dtype=torch.float32)
        vae.register_to_config(_name_or_path="")  # or the exported config would name a folder of this machine
    if stage == "generator":
        model, steps = generator.train(vae, start=target if go_on else None, **budget)
        return partial(generator.export, model, vae, target, recorded(target, stage, steps, go_on, budget))
    if stage == "autoencoder":
        vae, steps = autoencoder.train(start=vae, **budget)
    else:
        vae, steps = autoencoder.train_decoder(vae, **budget)
    return partial(export_autoencoder, vae, vae_folder, recorded(target, stage, steps, go_on or stage == "decoder", budget))


def recorded(folder: Path, stage: str, steps: int, continued: bool, budget: dict) -> dict:
    """The records of all trainings of a folder with this one's; what it went on from stays in it as "from"."""
    path = folder / "training.json"
    records = read_json(path) if path.exists() else {}
    names = persona_agent.checkpoints(persona_agent.CHOSEN, continued) if stage == "agent" else (stage,)
    about = provenance(" ".join(sys.orig_argv[1:])) | {"steps": steps, "core_minutes": sum(map(core_minutes, names))}
    about |= {name: budget[name] for name in ("seed", "world", "images", "batch") if name in budget}
    if stage == "agent":
        about["ratings"] = steps * persona_agent.ratings_a_step(continued)
    return records | {stage: about | ({"from": records.get(stage)} if continued else {})}


def export_autoencoder(model: AutoencoderTiny, folder: Path, records: dict) -> None:
    """Write an autoencoder as float16 safetensors, and the records of its model's folder."""
    with whole(folder) as place:
        model.half().save_pretrained(place)
    write_json(folder.parent / "training.json", records)


def report(output: Path, divide: int) -> None:
    """Measure everything and write `results/embedded.json` with its provenance."""
    pipeline = StableDiffusionPipeline.from_pretrained(output / "models" / "embedded-sd", torch_dtype=torch.float32)
    the_judge = judge.Judge.from_pretrained(output / "models" / "judge")
    measure = dict(guidance=EMBEDDED_GUIDANCE_SCALE)
    numbers = {
        "training": read_json(output / "models" / "embedded-sd" / "training.json"),
        "reconstruction": evaluate.reconstruction(pipeline.vae, 500 // divide),
        "judge": evaluate.judge_accuracy(the_judge, 2000 // divide),
        "steps_10": evaluate.generated_accuracy(pipeline, the_judge, steps=10, count=1000 // divide, held_out=False, **measure),
        "steps_10_held_out_pairs": evaluate.generated_accuracy(
            pipeline, the_judge, steps=10, count=300 // divide, held_out=True, **measure
        ),
        "steps_25": evaluate.generated_accuracy(pipeline, the_judge, steps=25, count=250 // divide, held_out=False, **measure),
        "speed": evaluate.speed(pipeline, **measure),
    }
    write(output / "results" / "embedded.json", numbers, "evaluate")


def report_agent(output: Path, divide: int) -> None:
    """Measure the persona agent and write `results/persona_agent.json`; numbers of the candidates in it stay."""
    agent = PersonaAgent.from_pretrained(output / "models" / "persona-agent")
    chain = chain_of(output)
    the_judge = judge.Judge.from_pretrained(output / "models" / "judge")
    path = output / "results" / "persona_agent.json"
    numbers = {
        "training": read_json(output / "models" / "persona-agent" / "training.json"),
        "agreement": evaluate.agreement(agent, the_judge, chain, 400 // divide, 40 // divide),
        "descriptions": evaluate.descriptions(agent, 500 // divide),
        "speed": {"milliseconds": evaluate.rating_speed(agent), "weights": agent.model.num_parameters()},
        "candidates": read_json(path, "candidates")["candidates"] if path.exists() else {},
    }
    write(path, numbers, "evaluate-agent")


def report_looks(output: Path, divide: int) -> None:
    """Measure the generator's pictures against renders, and add that to `results/looks.json` by the world they were learnt from.

    Pages for somebody to name are drawn beside it in `WORK`; `name` reads the answers.
    """
    chain, the_judge, _ = models_of(output)
    world, folder = world_of(output), WORK / "naming" / world_of(output)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "shown.json", {"shown": looks.naming_pages(looks.panel(chain), folder, seed=1)})
    add_looks(output, "looks", looks.against_renders(chain, the_judge, world, count=2000 // divide))


def report_steps(output: Path, divide: int) -> None:
    """Measure what each number of steps brings, and add it to `results/looks.json`."""
    curve = looks.step_curve(*models_of(output), world_of(output), 400 // divide)
    add_looks(output, "step-curve", {"step_curve": curve})


def report_names(output: Path, divide: int) -> None:
    """Compare what somebody named, `WORK/naming/WORLD/answers.json` (a list in the order of the numbers), with what was shown."""
    folder = WORK / "naming" / world_of(output)
    shown, answers = (read_json(folder / f"{name}.json", name)[name] for name in ("shown", "answers"))
    add_looks(output, "names", {"names": {"answers": answers, "right": looks.named_right(shown, answers)}})


def chain_of(output: Path, dtype: str = "auto") -> SplitDiffusion:
    """The generator in a folder, with its guidance."""
    return SplitDiffusion.from_pretrained(
        output / "models" / "embedded-sd", dtype=dtype, guidance_scale=EMBEDDED_GUIDANCE_SCALE
    )


def models_of(output: Path) -> tuple[SplitDiffusion, judge.Judge, PersonaAgent]:
    """Generator, judge and persona agent in a folder, in the precision for many pictures."""
    agent = PersonaAgent.from_pretrained(output / "models" / "persona-agent", dtype=cheap(), batch_size=64)
    return chain_of(output, cheap()), judge.Judge.from_pretrained(output / "models" / "judge"), agent


def world_of(output: Path) -> str:
    """The world that a generator was trained on last."""
    return str(read_json(output / "models" / "embedded-sd" / "training.json", "generator")["generator"].get("world", "varied"))


def add_looks(output: Path, stage: str, numbers: dict) -> None:
    """Add numbers to those of this world; those of others stay."""
    path, world = output / "results" / "looks.json", world_of(output)
    known = read_json(path) if path.exists() else {}
    these = known.get(world, {})
    made = these.get("provenance", {}) | {stage: provenance(f"python -m rlli_core.embedded {stage}")}
    write_json(path, known | {world: these | numbers | {"provenance": made}})
    print(path.read_text(encoding="utf-8"))


def write_prompts(output: Path, divide: int) -> None:
    """Write `prompts.yaml`: objects, prompts that combine them, and the groups of similar prompts."""
    chain = chain_of(output, "fp32")
    prompts.write(output / "prompts.yaml", chain, seeds=max(1, 4 // divide))


def write(path: Path, numbers: dict, stage: str) -> None:
    """Write measured numbers with where they come from."""
    write_json(path, numbers | {"provenance": provenance(f"python -m rlli_core.embedded {stage}")})
    print(path.read_text(encoding="utf-8"))


REPORTS = {
    "evaluate": report,
    "evaluate-agent": report_agent,
    "looks": report_looks,
    "step-curve": report_steps,
    "names": report_names,
    "prompts": write_prompts,
}
sys.exit(told(main))
