"""A grid of split runs as one tree: chains that share a beginning are walked once, and all of a timestep in batches.

All runs of one length N = t0 + t_k and one seed start on the same server chain; each hand-off branches off it. At step
i of grid N the server chains still needed and the device chains already handed over look at the same timestep, so they
go through the denoiser together. Runs of other lengths have another grid and share nothing but the noise. Devices that start
elsewhere than where the server stopped leave the grid: they go through the denoiser together, each at its own timestep.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from tqdm.auto import tqdm

from ..errors import InvalidArgument, check_choice, check_integer, check_number
from ..records import RECEIVERS, Handoff, SplitPlan
from .checks import check_handoff
from .denoiser import Denoiser
from .receiver import check_receiver, receive
from .schedule import Step, grid_steps, handoff_timestep, together


@dataclass(frozen=True)
class Run:
    """One combination of the grid: one server, one device. `bep=None` hands over the latent itself, unsent."""

    server_prompt: str
    device_prompt: str
    shared_steps: int
    device_steps: int
    bep: float | None
    seed: int
    receiver: str = "paper"
    restart: int | None = None

    def __post_init__(self) -> None:
        check_choice("receivers[...]", self.receiver, RECEIVERS)
        if self.restart is not None:
            check_integer("restarts[...]", self.restart, 0)
        check_integer("device_steps", self.device_steps, 0)  # one number: a run has one device
        SplitPlan(self.shared_steps, self.device_steps)  # raises on counts out of range
        if self.bep is not None:
            check_number("bep", self.bep, 0, 0.5)


@dataclass(frozen=True, eq=False, kw_only=True)
class SweepRecord(Run):
    """A `Run` with what it made: latent z_0, (1, C, h, w) float32 on the CPU, and its image unless not asked for."""

    latent: torch.Tensor
    image: Image.Image | None


@dataclass(frozen=True, eq=False)
class SweepResult:
    """What a sweep made and what it cost.

    Attributes:
        records: one a combination.
        denoiser_calls: evaluations done, one latent at one timestep each; the pair of guidance counts as one.
        denoiser_calls_separate: evaluations that the runs would need one by one, the sum of t0 + t_k.
    """

    records: list[SweepRecord]
    denoiser_calls: int
    denoiser_calls_separate: int


@dataclass(frozen=True)
class _Chain:
    """A server chain (cut is None), or what becomes of it after the hand-off `cut` = (t0, bep, device prompt).

    With `start`, the receiver and the restart, the device leaves the grid there.
    """

    prompt: str
    steps: int
    seed: int
    cut: tuple[int, float | None, str] | None = None
    start: tuple[str, int | None] | None = None

    @property
    def towards(self) -> str:
        return self.prompt if self.cut is None else self.cut[2]


def _chain(run: Run) -> _Chain:
    """Return the chain whose end is the result of `run`; runs that cannot differ get the same one."""
    server = _Chain(run.server_prompt, run.shared_steps + run.device_steps, run.seed)
    receiver = run.receiver if run.bep else "paper"  # where no bit can be wrong, all receivers are alike
    stays = receiver == "paper" and run.restart is None  # on the grid
    if stays and run.bep is None and run.device_prompt == run.server_prompt:
        return server
    cut = (run.shared_steps, run.bep, run.device_prompt)
    return replace(server, cut=cut, start=None if stays else (receiver, run.restart))


def _spans(chains: Sequence[_Chain]) -> dict[_Chain, tuple[int, int]]:
    """Return the steps (first, end) that each chain walks, server chains only as far as they are needed."""
    spans: dict[_Chain, tuple[int, int]] = {}
    for chain in chains:
        server = replace(chain, cut=None, start=None)
        needed = chain.steps if chain.cut is None else chain.cut[0]
        spans[server] = (0, max(needed, spans.get(server, (0, 0))[1]))
        if chain.cut is not None:
            spans[chain] = (needed, chain.steps)
    return spans


def run_sweep(
    denoiser: Denoiser,
    runs: Sequence[Run],
    link: Any,
    guidance: float,
    output_type: str,
    batch_size: int,
    progress: bool,
) -> SweepResult:
    """Run every entry of `runs`; see `SplitDiffusion.sweep`."""
    if link is None and any(run.bep is not None for run in runs):
        raise InvalidArgument("link", link, "a Link where some bep is not None")
    chains = [_chain(run) for run in runs]
    spans = _spans(chains)
    lengths, wanted = sorted({chain.steps for chain in chains}), set(chains)
    for length in lengths:
        grid_steps(denoiser.scheduler, length)  # raises on too long a chain before any work
    before = denoiser.calls
    ends: dict[_Chain, torch.Tensor] = {}
    calls = sum(end - first for first, end in spans.values())
    with denoiser.computing(), tqdm(total=calls, disable=not progress, unit="call", desc="sweep") as bar:
        for length in lengths:
            tree = {chain: span for chain, span in spans.items() if chain.steps == length}
            latents = _walk_tree(denoiser, tree, link, guidance, batch_size, bar)
            ends |= {chain: latents[chain].float().cpu() for chain in tree if chain in wanted}
        images = _decode(denoiser, ends, batch_size) if output_type == "pil" else {}
    records = [SweepRecord(**vars(run), latent=ends[c], image=images.get(c)) for run, c in zip(runs, chains)]
    separate = sum(run.shared_steps + run.device_steps for run in runs)
    return SweepResult(records, denoiser.calls - before, separate)


def _walk_tree(
    denoiser: Denoiser, spans: dict[_Chain, tuple[int, int]], link: Any, guidance: float, batch_size: int, bar: tqdm
) -> dict[_Chain, torch.Tensor]:
    """Walk all chains of one length and return where each one ends, latents of shape (1, C, h, w)."""
    latents = {chain: denoiser.noise([chain.seed]) for chain in spans if chain.cut is None}
    received: dict[tuple, Handoff] = {}
    elsewhere: dict[int, dict[_Chain, tuple[Step, ...]]] = {}  # by device steps
    length = next(iter(spans)).steps
    for i, step in enumerate([*grid_steps(denoiser.scheduler, length), None]):
        for chain, (first, end) in spans.items():
            if chain.cut is not None and first == i:
                server, bep = replace(chain, cut=None, start=None), chain.cut[1]
                if (server, i, bep) not in received:
                    received[server, i, bep] = _hand_over(denoiser, latents[server], server, i, bep, link)
                got = received[server, i, bep]
                if chain.start is None:
                    latents[chain] = denoiser.place(got.latent)
                    continue
                start, walk = receive(
                    denoiser.scheduler, got, end - first, check_receiver(chain.start[0], got), chain.start[1],
                    lambda seed: denoiser.noise([seed]).float().cpu(),
                )  # fmt: skip
                latents[chain] = denoiser.place(start)
                elsewhere.setdefault(len(walk), {})[chain] = walk
        active = [chain for chain, (first, end) in spans.items() if chain.start is None and first <= i < end]
        for batch in _batches(active, batch_size):
            inputs = torch.cat([latents[chain] for chain in batch])
            outputs = denoiser.advance(inputs, [chain.towards for chain in batch], step, guidance)  # type: ignore[arg-type]
            latents |= zip(batch, outputs.split(1))
            bar.update(len(batch))
    for walks in elsewhere.values():
        for batch in _batches(list(walks), batch_size):
            steps = together([walks[chain] for chain in batch])
            outputs = denoiser.walk(
                torch.cat([latents[chain] for chain in batch]), [chain.towards for chain in batch], steps, guidance
            )
            latents |= zip(batch, outputs.split(1))
            bar.update(len(batch) * len(steps))
    return latents


def _hand_over(
    denoiser: Denoiser, latent: torch.Tensor, server: _Chain, shared_steps: int, bep: float | None, link: Any
) -> Handoff:
    """Return what the devices receive of a server chain after `shared_steps`, the same bits for every device."""
    plan = SplitPlan(shared_steps, server.steps - shared_steps)
    timestep = handoff_timestep(denoiser.scheduler, plan)
    sent = Handoff(latent.float().cpu(), plan, timestep, server.prompt, server.seed)
    if bep is None:
        return sent
    got = link.transmit(sent, bep=bep, seed=server.seed)
    check_handoff(got, plan, denoiser.scheduler, denoiser.latent_shape)
    return got


def _decode(denoiser: Denoiser, latents: dict[_Chain, torch.Tensor], batch_size: int) -> dict[_Chain, Image.Image]:
    images: dict[_Chain, Image.Image] = {}
    for batch in _batches(list(latents), batch_size):
        decoded = denoiser.decode(denoiser.place(torch.cat([latents[chain] for chain in batch])))
        images |= zip(batch, decoded)
    return images


def _batches(chains: list[_Chain], size: int) -> Iterator[list[_Chain]]:
    return (chains[start : start + size] for start in range(0, len(chains), size))
