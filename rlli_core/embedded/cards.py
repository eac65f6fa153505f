"""What the models' cards show: measurements that were committed, against the targets of their making."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..files import DATA, model_folder, read_json
from . import scenes

# Each by its name, so that a card is out of date when its own measurements change and not when another result does.
RESULTS = {
    "embedded": DATA / "results" / "embedded.json",
    "persona_agent": DATA / "results" / "persona_agent.json",
    "looks": DATA / "results" / "looks.json",
}


def read_results(name: str = "embedded") -> dict:
    """The committed measurements of the shipped generator and judge, or of the "persona_agent"."""
    return read_json(RESULTS[name])


def targets_table() -> pd.DataFrame:
    """The shipped models against the targets they were built for."""
    found = read_results()
    rows = [
        ("autoencoder: PSNR on held-out renders (dB)", 26, found["reconstruction"]["psnr_db"], "least"),
        ("autoencoder: SSIM on held-out renders", 0.88, found["reconstruction"]["ssim"], "least"),
        ("judge: object right on held-out renders", 0.97, found["judge"]["object"], "least"),
        ("judge: scene right on held-out renders", 0.99, found["judge"]["scene"], "least"),
        ("10 steps: object right", 0.85, found["steps_10"]["object"], "least"),
        ("10 steps: scene right", 0.95, found["steps_10"]["scene"], "least"),
        ("10 steps, pairs never trained on: object right", 0.65, found["steps_10_held_out_pairs"]["object"], "least"),
        ("25 steps: object right", found["steps_10"]["object"], found["steps_25"]["object"], "least"),
        *(
            (f"seconds for {what}, {precision}", target, found["speed"][f"seconds_batch_{count}_{precision}"], "most")
            for precision in ("fp32", "bf16")
            for count, what, target in ((1, "one 10-step image", 0.4), (8, "a batch of 8", 1.6))
        ),
    ]
    return _against_targets(rows)


MEASURES = {  # of looks: what it is called, and how it is written
    "frechet": ("Fréchet distance, judge's features", "{:.1f}"),
    "frechet_pixels": ("Fréchet distance, pixels at 32 x 32", "{:.2f}"),
    "precision": ("precision", "{:.2f}"),
    "recall": ("recall", "{:.2f}"),
    "two_sample": ("told from renders, held out (.5 is chance)", "{:.2f}"),
    "sharpness": ("sharpness", "{:.3f}"),
    "box_psnr_db": ("PSNR to the most alike render, object's box (dB)", "{:.1f}"),
}
SETS = {"renders": "renders", "autoencoded": "through the autoencoder", "steps_10": "10 steps", "steps_25": "25 steps"}


def looks_table() -> pd.DataFrame:
    """The shipped generator and the one before it, each against renders of the world that it learnt from."""
    found = read_results("looks")
    worlds = {"before": found["varied"], "now": found[scenes.WORLD]}
    table = {
        (when, said): {
            title: form.format(numbers[key][measure]) if measure in numbers[key] else ""
            for measure, (title, form) in MEASURES.items()
        }
        for when, numbers in worlds.items()
        for key, said in SETS.items()
    }
    return pd.DataFrame(table).rename_axis("measure")


def steps_table() -> pd.DataFrame:
    """What a number of steps brings the shipped generator, on its own grid and from the best start (`looks.step_curve`)."""
    curve = read_results("looks")[scenes.WORLD]["step_curve"]
    table = {"start from": [str(start or "grid") for start in curve["starts"]]}
    for kind, said in (("grid", "own grid"), ("start", "best start")):
        table |= {f"{said}: Fréchet distance": curve[kind]["frechet"], f"{said}: agents' score": curve[kind]["score"]}
    table["own grid: latent error"] = curve["grid"]["latent_error"]
    return pd.DataFrame(table, index=pd.Index(curve["steps"], name="steps"))


def agent_targets_table() -> pd.DataFrame:
    """The shipped persona agent against the targets it was built for."""
    found = read_results("persona_agent")
    agreement, told, size = found["agreement"], found["descriptions"], _megabytes(model_folder("persona-agent"))
    rows = [
        ("rank correlation with the trait model (Spearman)", 0.93, agreement["spearman"], "least"),
        ("correlation of the person-by-picture interaction", 0.90, agreement["interaction"], "least"),
        ("  on rendered scenes", 0.90, agreement["interaction_renders"], "least"),
        ("  on pictures of the split chain", 0.90, agreement["interaction_split"], "least"),
        ("fall of the score from no bit errors to 15 %, least of all people", 0.0, agreement["bep_least_drop"], "least"),
        ("object described right, renders", 0.9, told["object_renders"], "least"),
        ("scene described right, renders", 0.9, told["scene_renders"], "least"),
        ("object described right, pictures of the chain", 0.9, told["object_split"], "least"),
        ("scene described right, pictures of the chain", 0.9, told["scene_split"], "least"),
        ("milliseconds a rating, batches of 16 on one core", 15, found["speed"]["milliseconds"], "most"),
        ("size (MB)", 20, size, "most"),
    ]
    return _against_targets(rows)


def candidates_table() -> pd.DataFrame:
    """Models that were tried for the persona agent, and the shipped one."""
    found = read_results("persona_agent")
    told, agreed, trained = found["descriptions"], found["agreement"], found["training"]
    shipped = {
        "weights (M)": found["speed"]["weights"] / 1e6,
        "size (MB)": _megabytes(model_folder("persona-agent")),
        "core-minutes": in_all(trained["agent"], "core_minutes"),
        "ratings seen": in_all(trained["agent"], "ratings"),
        "ms a rating": found["speed"]["milliseconds"],
        "objects, renders": told["object_renders"],
        "objects, chain": told["object_split"],
        "rank correlation": agreed["spearman"],
        "interaction": agreed["interaction"],
    }
    table = pd.DataFrame(found["candidates"] | {"shipped: Swin, 16 tokens; names the factors": shipped})
    return table.rename_axis("measure").map(lambda value: f"{value:,.0f}" if value >= 1000 else f"{value:.3g}")


def in_all(record: dict | None, name: str) -> float:
    """A number of a training and of those it went on from, added up."""
    return 0 if record is None else record.get(name, 0) + in_all(record.get("from"), name)


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _against_targets(rows: list[tuple]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["measure", "target", "measured", "bound"]).set_index("measure")
    met = np.where(table.bound == "least", table.measured >= table.target, table.measured <= table.target)
    table["target"] = [f"at {bound} {target:.3g}" for bound, target in zip(table.bound, table.target)]
    return table.drop(columns="bound").assign(measured=table.measured.map("{:.3g}".format), met=np.where(met, "yes", "no"))
