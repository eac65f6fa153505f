"""Tables of a sweep's scores: fidelity to the error-free image, what the judge sees, what persona agents think."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..errors import InvalidArgument
from .fidelity import psnr, ssim

if TYPE_CHECKING:
    from .agent import PersonaAgent
    from .judge import Judge
    from .persona import Persona


def score_table(records: Sequence, judge: Judge, objects: Sequence[str]) -> pd.DataFrame:
    """Score every image of a sweep.

    Args:
        records: of `SplitDiffusion.sweep`, with images.
        judge: whose probabilities are tabled.
        objects: names of the objects looked for, such as ("tiger", "dog").

    Returns:
        One row a record: device_prompt, shared_steps, device_steps, shared_fraction t0/(t0 + t_k), bep (NaN where the
        latent was handed over unsent), seed, receiver and restart (NaN where there
        was none) unless all are as in the paper, and a column p_<object> each. Where the sweep also holds the unsent twin
        of a sent record: psnr_db and ssim against it (PSNR is infinite for equal images).

    Raises:
        InvalidArgument: an object that the judge does not know, or a record without image.
    """
    _check_images(records)
    verdicts = judge.verdicts([record.image for record in records])
    for name in objects:
        if name not in verdicts[0].objects:
            raise InvalidArgument("objects", name, "among " + ", ".join(verdicts[0].objects))
    clean = {_twin(record): record.image for record in records if record.bep is None}
    rows = []
    for record, verdict in zip(records, verdicts):
        row = _plan(record)
        if record.bep is not None and _twin(record) in clean:
            reference = clean[_twin(record)]
            row |= {"psnr_db": psnr(record.image, reference), "ssim": ssim(record.image, reference)}
        rows.append(row | {f"p_{name}": verdict.objects[name] for name in objects})
    return _frame(rows)


def agent_table(records: Sequence, agent: PersonaAgent, people: Mapping[str, Persona]) -> pd.DataFrame:
    """Let an agent score every image of a sweep, against the device's prompt, as each of `people`.

    Returns:
        One row a record and person: the columns of `score_table` that name the plan, `person` and `score` in [0, 1].

    Raises:
        InvalidArgument: a record without image.
        UnreadableScore: the agent gives no rating.
    """
    _check_images(records)
    images, prompts = [record.image for record in records], [record.device_prompt for record in records]
    rows = []
    for name, persona in people.items():
        scores = agent.scores(images, persona, prompts)
        rows += [_plan(record) | {"person": name, "score": score.value} for record, score in zip(records, scores)]
    return _frame(rows)


def _frame(rows: list[dict]) -> pd.DataFrame:
    """The table of some rows; how devices received is left out where all did as in the paper."""
    table = pd.DataFrame(rows).astype({"bep": float, "restart": float})
    plain = [
        name for name, usual in (("receiver", table.receiver == "paper"), ("restart", table.restart.isna())) if usual.all()
    ]
    return table.drop(columns=plain)


def _check_images(records: Sequence) -> None:
    if any(record.image is None for record in records):
        raise InvalidArgument("records", "records without images", "from a sweep with output_type='pil'")


def _plan(record: Any) -> dict:
    names = ("device_prompt", "shared_steps", "device_steps", "bep", "seed", "receiver", "restart")
    row = {key: getattr(record, key) for key in names}
    return row | {"shared_fraction": record.shared_steps / (record.shared_steps + record.device_steps)}


def _twin(record: Any) -> tuple:
    return record.server_prompt, record.device_prompt, record.shared_steps, record.device_steps, record.seed, record.restart
