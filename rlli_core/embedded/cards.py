"""What the models' cards show: measurements that were committed, against the targets of their making."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..files import DATA, model_folder, read_json

# Each by its name, so that a card is out of date when its own measurements change and not when another result does.
RESULTS = {
    "embedded": DATA / "results" / "embedded.json",
    "persona_agent": DATA / "results" / "persona_agent.json",
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
        "core-minutes": trained["core_minutes"],
        "ratings seen": trained["ratings"],
        "ms a rating": found["speed"]["milliseconds"],
        "objects, renders": told["object_renders"],
        "objects, chain": told["object_split"],
        "rank correlation": agreed["spearman"],
        "interaction": agreed["interaction"],
    }
    table = pd.DataFrame(found["candidates"] | {"shipped: Swin, 16 tokens; names the factors": shipped})
    return table.rename_axis("measure").map(lambda value: f"{value:,.0f}" if value >= 1000 else f"{value:.3g}")


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _against_targets(rows: list[tuple]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["measure", "target", "measured", "bound"]).set_index("measure")
    met = np.where(table.bound == "least", table.measured >= table.target, table.measured <= table.target)
    table["target"] = [f"at {bound} {target:.3g}" for bound, target in zip(table.bound, table.target)]
    return table.drop(columns="bound").assign(measured=table.measured.map("{:.3g}".format), met=np.where(met, "yes", "no"))
