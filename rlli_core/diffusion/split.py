"""The chain of denoising steps, cut: the server runs the first t0, each device the last t_k towards its own prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image

from ..compute import choose_device, choose_dtype
from ..errors import InvalidArgument, check_able, check_integer, check_number, check_type
from ..records import Handoff, LatentSpace, SplitPlan
from .checks import check_handoff, check_list, check_output, check_plan, check_prompt, check_prompts, check_seed, check_seeds
from .denoiser import Denoiser
from .loading import EMBEDDED, check_pipeline, load_pipeline
from .receiver import check_receiver, go_on, receive, restart_range
from .schedule import Step, grid_steps, handoff_timestep, memoryless, server_steps, start_steps, together
from .sweep import Run, SweepResult, run_sweep

GUIDANCE_SCALE = 7.5  # diffusers' default
EMBEDDED_GUIDANCE_SCALE = 1.25  # the scale at which the embedded model was evaluated


class SplitDiffusion:
    """A latent diffusion model whose chain of denoising steps can be cut between a server and its devices.

    Algorithm 1 of the paper. The same seed, prompt and steps give the same bytes, cut or not, and the same as
    diffusers' own `StableDiffusionPipeline` with `generator=torch.Generator("cpu").manual_seed(seed)`.

    Prompts are any strings; "" means no condition. What exceeds the length of the text encoder is cut off, and
    diffusers logs what was cut.

    Args:
        pipeline: any diffusers pipeline of the Stable Diffusion type (unet, vae, text_encoder, tokenizer, scheduler).
            It is moved to `device` and `dtype` in place; a safety checker is ignored.
        device: "auto" (CUDA where there is one, else CPU) or a torch device.
        dtype: "auto" (fp16 on CUDA, fp32 on the CPU), "fp32", "bf16" or, not on the CPU, "fp16". On the CPU "bf16"
            keeps fp32 weights and latents and runs the networks under autocast.
        guidance_scale: classifier-free guidance used where a call names none; at most 1 is none. Default 7.5.
        scheduler: "pipeline" takes the pipeline's, which must be DDIM; "ddim" uses DDIM with its noise schedule.

    Raises:
        UnsupportedPipeline: not of that type, or with a scheduler that keeps history.
        InvalidArgument: an unknown device, dtype or scheduler, or a negative guidance scale.
    """

    def __init__(
        self,
        pipeline: DiffusionPipeline,
        device: str | torch.device = "auto",
        dtype: str = "auto",
        guidance_scale: float | None = None,
        scheduler: str = "pipeline",
    ):
        check_pipeline(pipeline)
        self.scheduler = memoryless(pipeline.scheduler, scheduler)
        self.guidance_scale = GUIDANCE_SCALE
        self.guidance_scale = self._guidance(guidance_scale)
        device = choose_device(device)
        self.denoiser = Denoiser(pipeline, self.scheduler, device, choose_dtype(dtype, device))

    @classmethod
    def from_pretrained(
        cls,
        name: str = EMBEDDED,
        device: str | torch.device = "auto",
        dtype: str = "auto",
        scheduler: str = "pipeline",
        guidance_scale: float | None = None,
    ) -> SplitDiffusion:
        """Load "embedded", a folder in diffusers' layout, or a hub id; the other arguments are the constructor's.

        Raises:
            ModelNotFound: no such folder, an incomplete one, or a hub id that is neither cached nor reachable.
        """
        choose_dtype(dtype, choose_device(device))  # a misspelt argument should not cost a download
        if guidance_scale is None and isinstance(name, str) and name == EMBEDDED:
            guidance_scale = EMBEDDED_GUIDANCE_SCALE
        return cls(load_pipeline(name), device, dtype, guidance_scale, scheduler)

    @property
    def pipeline(self) -> DiffusionPipeline:
        """The wrapped diffusers pipeline."""
        return self.denoiser.pipeline

    @property
    def denoiser_calls(self) -> int:
        """Evaluations of the denoiser so far, one latent at one timestep each; the pair of guidance counts as one."""
        return self.denoiser.calls

    @property
    def on_step(self) -> Callable[[int, int], None] | None:
        """None, or a function called as `on_step(timestep, latents)` after every step of so many latents."""
        return self.denoiser.on_step

    @on_step.setter
    def on_step(self, hook: Callable[[int, int], None] | None) -> None:
        self.denoiser.on_step = hook

    def server_denoise(self, prompt: str, plan: SplitPlan, seed: int, guidance_scale: float | None = None) -> Handoff:
        """Run the server's t0 steps from pure noise towards `prompt`.

        Args:
            plan: t0 and t_k. With several devices the server walks the grid of the longest chain.
            seed: of the initial noise, 0 or more.

        Returns:
            The intermediate latent; with t0 = 0 the noise itself.

        Raises:
            InvalidArgument: an argument of a wrong type or range, or more steps than the schedule has.
        """
        prompt, plan, seed = check_prompt(prompt), check_plan(plan), check_seed(seed)
        steps, guidance = server_steps(self.scheduler, plan), self._guidance(guidance_scale)
        with self.denoiser.computing():
            latent = self.denoiser.walk(self.denoiser.noise([seed]), [prompt], steps, guidance)
        timestep = handoff_timestep(self.scheduler, plan)
        return Handoff(latent.float().cpu(), plan, timestep, prompt, seed, space=self.denoiser.space())

    def go_on(
        self, handoff: Handoff, prompt: str, steps: int, guidance_scale: float | None = None, receiver: str = "paper"
    ) -> Handoff:
        """Run the next `steps` steps of a chain towards `prompt` and hand it on: what a relay does, Sec. III-B.

        Args:
            handoff: as in `device_denoise`; `steps` of it, 0 or more, are taken on the grid of its plan's longest chain.
            receiver: "paper" walks on as if what arrived were error-free. "noise-aware" starts at the effective timestep and
                makes up for it by longer strides: both hand on at the timestep of the grid.

        Returns:
            The hand-off, with what is left of the chain as its device steps. Its `link` is that of the hand-off, so that the
            next link adds to it what happened before, as far as that is still in the latent: a noise-aware relay that walks has
            taken the noise out, and its hand-off is as one that has not been sent. After steps of the "paper" receiver the
            report still says what the links did, not what those steps made of it.

        Raises:
            InvalidArgument: as `device_denoise`.
        """
        prompt, guidance = check_prompt(prompt), self._guidance(guidance_scale)
        check_handoff(handoff, None, self.scheduler, self.denoiser.latent_shape, self.denoiser.space)
        receiver, plan = check_receiver(receiver, handoff), handoff.plan
        left = plan.longest - plan.shared_steps
        if check_integer("steps", steps, 0, left) == 0:
            return replace(handoff, plan=SplitPlan(plan.shared_steps, left))
        latent, walk, plan = go_on(self.scheduler, handoff, steps, receiver, self._noise)
        with self.denoiser.computing():
            latent = self.denoiser.walk(self.denoiser.place(latent), [prompt], walk, guidance)
        link = handoff.link if receiver == "paper" else None
        timestep = handoff_timestep(self.scheduler, plan)
        return Handoff(latent.float().cpu(), plan, timestep, prompt, handoff.seed, link, handoff.space)

    def device_denoise(
        self,
        handoff: Handoff,
        prompt: str,
        plan: SplitPlan | None = None,
        device: int = 0,
        guidance_scale: float | None = None,
        output_type: str = "pil",
        receiver: str = "paper",
        restart: int | None = None,
    ) -> Image.Image | torch.Tensor:
        """Run one device's t_k steps on a hand-off, towards the device's own `prompt`.

        Args:
            handoff: what `server_denoise` returned, or what a link made of it.
            plan: names t_k; by default the plan of the hand-off. A device may come with other device steps than the
                server planned for, and spreads them evenly over what is left; the shared steps must be the same.
            device: which of the plan's devices, counted from 0.
            output_type: "pil" for an image, "latent" for z_0.
            receiver: "paper" takes what arrived as if it were error-free and starts where the server stopped. "noise-aware"
                undoes the bias of the link's bit errors, rescales, and starts at the timestep that has their noise: the same
                bytes as "paper" where there are none, the device alone where nothing is left (BEP 0.5); see `receiver`.
            restart: None, or an earlier timestep to start from, within `restart_range`, after adding fresh noise of the
                hand-off's seed; where nothing was shared, the lone device's late start.

        Returns:
            The image; or the latent, shape (1, C, h, w), float32 on the CPU. With t_k = 0, of the hand-off as it is.

        Raises:
            InvalidArgument: an argument of a wrong type, shape or range, a latent that is not finite, a plan, a schedule or a
                latent space other than the server's (`LatentSpace`), more steps than are left, or a restart at a timestep that
                has less noise than the hand-off.
        """
        made = self.device_denoises(
            [handoff], [prompt], [plan], [device], guidance_scale, output_type, receiver=receiver, restarts=[restart]
        )
        return made if isinstance(made, torch.Tensor) else made[0]

    def device_denoises(
        self,
        handoffs: Sequence[Handoff],
        prompts: Sequence[str],
        plans: Sequence[SplitPlan | None] | None = None,
        devices: Sequence[int] | None = None,
        guidance_scale: float | None = None,
        output_type: str = "pil",
        batch_size: int = 8,
        receiver: str = "paper",
        restarts: Sequence[int | None] | None = None,
    ) -> list[Image.Image] | torch.Tensor:
        """Run `device_denoise` on many hand-offs; those that walk as many steps together, `batch_size` at a time.

        Args:
            plans, devices, restarts: one a hand-off; by default the plan of each hand-off, device 0, and no restart.

        Returns:
            The images; or the latents z_0, shape (B, C, h, w), float32 on the CPU.
        """
        handoffs, guidance, output_type = list(handoffs), self._guidance(guidance_scale), check_output(output_type)
        plans = [None] * len(handoffs) if plans is None else plans
        devices = [0] * len(handoffs) if devices is None else devices
        restarts = [None] * len(handoffs) if restarts is None else restarts
        if len(handoffs) == 0 or {len(prompts), len(plans), len(devices), len(restarts)} != {len(handoffs)}:
            raise InvalidArgument("handoffs", len(handoffs), "one or more, as many as the prompts, plans, devices and restarts")
        prompts = [check_prompt(prompt) for prompt in prompts]
        space_here = cache(self.denoiser.space)
        starts = [self._receive(*one, receiver, space_here) for one in zip(handoffs, plans, devices, restarts)]
        # The paper's walks stay on a few grids; from effective timesteps and restarts each latent walks its own.
        alike: dict[object, list[int]] = {}
        for i, (_, walk) in enumerate(starts):
            alike.setdefault(walk if receiver == "paper" and restarts[i] is None else len(walk), []).append(i)
        made: dict[int, Any] = {}  # number of a hand-off: image or latent
        with self.denoiser.computing():
            for members in alike.values():
                for some in (members[batch] for batch in _batches(len(members), batch_size)):
                    latents = self.denoiser.place(torch.cat([starts[i][0] for i in some]))
                    latents = self.denoiser.walk(
                        latents, [prompts[i] for i in some], together([starts[i][1] for i in some]), guidance
                    )
                    made |= zip(some, self.denoiser.finish(latents, output_type))
        ordered = [made[i] for i in range(len(handoffs))]
        return torch.stack(ordered) if output_type == "latent" else ordered

    def restart_range(self, handoff: Handoff, receiver: str = "paper") -> tuple[int, int]:
        """Return the lowest and highest timestep at which a device may restart; the lowest is the effective timestep.

        Raises:
            InvalidArgument: as `device_denoise`.
        """
        check_handoff(handoff, None, self.scheduler, self.denoiser.latent_shape, self.denoiser.space)
        return restart_range(self.scheduler, handoff, check_receiver(receiver, handoff))

    def generate(
        self,
        prompt: str,
        steps: int,
        seed: int,
        guidance_scale: float | None = None,
        output_type: str = "pil",
        start: int | None = None,
    ) -> Image.Image | torch.Tensor:
        """Run the uncut chain; arguments and result as in `server_denoise` and `device_denoise`.

        Args:
            start: None for the scheduler's own grid, or the timestep to start from, the steps spread evenly from there.
        """
        made = self.generates([prompt], steps, [seed], guidance_scale, output_type, start=start)
        return made if isinstance(made, torch.Tensor) else made[0]

    def generates(
        self,
        prompts: Sequence[str],
        steps: int,
        seeds: Sequence[int],
        guidance_scale: float | None = None,
        output_type: str = "pil",
        batch_size: int = 8,
        start: int | None = None,
    ) -> list[Image.Image] | torch.Tensor:
        """Run one uncut chain for each pair of prompt and seed, `batch_size` at a time; other arguments as in `generate`.

        Returns:
            The images; or the latents z_0, shape (S, C, h, w), float32 on the CPU.
        """
        prompts, seeds, output_type = check_prompts(prompts), check_seeds(seeds), check_output(output_type)
        if len(prompts) != len(seeds):
            raise InvalidArgument("seeds", seeds, f"as many as the prompts, {len(prompts)}")
        walk, guidance = start_steps(self.scheduler, steps, start), self._guidance(guidance_scale)
        parts: list[Any] = []
        with self.denoiser.computing():
            for some in _batches(len(seeds), batch_size):
                latents = self.denoiser.walk(self.denoiser.noise(seeds[some]), prompts[some], walk, guidance)
                parts.append(self.denoiser.finish(latents, output_type))
        return torch.cat(parts) if output_type == "latent" else sum(parts, [])

    def path(
        self,
        prompt: str,
        steps: int,
        seed: int,
        switch: tuple[int, str] | None = None,
        guidance_scale: float | None = None,
    ) -> torch.Tensor:
        """Return the denoising path P_c(t) of Sec. III-A3: every latent from the noise to z_0.

        Args:
            switch: (step, prompt) to go on towards another prompt after that many steps.

        Returns:
            Latents, shape (steps + 1, C, h, w), float32 on the CPU; the first is the noise.
        """
        return self.paths(prompt, steps, [seed], switch, guidance_scale)[0]

    def paths(
        self,
        prompt: str,
        steps: int,
        seeds: Sequence[int],
        switch: tuple[int, str] | None = None,
        guidance_scale: float | None = None,
        batch_size: int = 8,
    ) -> torch.Tensor:
        """Return the `path` of every seed, shape (S, steps + 1, C, h, w), computed `batch_size` at a time."""
        prompt, seeds, walk = check_prompt(prompt), check_seeds(seeds), grid_steps(self.scheduler, steps)
        if switch is not None and (not isinstance(switch, (tuple, list)) or len(switch) != 2):
            raise InvalidArgument("switch", switch, "a step and a prompt, or None")
        at, other = (steps, prompt) if switch is None else switch
        check_integer("switch[0]", at, 0, steps)
        towards = [prompt] * at + [check_prompt(other, "switch[1]")] * (steps - at)
        guidance, parts = self._guidance(guidance_scale), []
        with self.denoiser.computing():
            for some in _batches(len(seeds), batch_size):
                visited = [self.denoiser.noise(seeds[some])]
                for step, text in zip(walk, towards):
                    visited.append(self.denoiser.advance(visited[-1], [text] * len(visited[-1]), step, guidance))
                parts.append(torch.stack(visited, dim=1).float().cpu())
        return torch.cat(parts)

    def decode(self, latents: torch.Tensor, batch_size: int = 8) -> list[Image.Image]:
        """Return the images D(z) of latents such as ends of `paths`, eq. (18); shape (B, C, h, w).

        Raises:
            InvalidArgument: another shape, or values that are not finite.
        """
        shape = self.denoiser.latent_shape[1:]
        if not isinstance(latents, torch.Tensor) or latents.ndim != 4 or tuple(latents.shape[1:]) != shape:
            raise InvalidArgument("latents", getattr(latents, "shape", type(latents)), f"a tensor of shape (B, *{shape})")
        if not latents.is_floating_point():
            raise InvalidArgument("latents", latents.dtype, "floating-point numbers")
        if not latents.isfinite().all():
            raise InvalidArgument("latents", "values that are not finite", "finite everywhere")
        with self.denoiser.computing():
            parts = [self.denoiser.decode(self.denoiser.place(latents[s])) for s in _batches(len(latents), batch_size)]
        return sum(parts, [])

    def sweep(
        self,
        server_prompt: str,
        device_prompts: Sequence[str],
        shared_steps: Sequence[int],
        device_steps: Sequence[int],
        bep: Sequence[float | None] = (None,),
        seeds: Sequence[int] = (0,),
        link: object = None,
        guidance_scale: float | None = None,
        output_type: str = "pil",
        batch_size: int = 8,
        progress: bool = True,
        receivers: Sequence[str] = ("paper",),
        restarts: Sequence[int | None] = (None,),
    ) -> SweepResult:
        """Run every combination of a grid without computing any shared prefix twice.

        Every record holds what `server_denoise`, `link.transmit` and `device_denoise` give for a plan of one device,
        up to the rounding of larger batches (exactly the same calls with batch_size=1).

        Args:
            device_prompts: what devices may want.
            shared_steps, device_steps: values of t0 and t_k.
            bep: bit error probabilities; None hands over the latent itself, unsent.
            seeds: of the initial noise, and of the link's bit flips.
            link: anything with `transmit(handoff, bep=..., seed=...)`; needed unless every `bep` is None.
            batch_size: latents that one call of the denoiser takes at most.
            progress: show a bar that counts denoiser calls.
            receivers, restarts: as in `device_denoise`.

        Returns:
            One record a combination, in the order of nested loops over prompts, t0, t_k, bep, seeds, receivers and restarts,
            with the number of denoiser calls done and needed by separate runs.

        Raises:
            InvalidArgument: as the single calls; or no link where one is needed.
        """
        server_prompt = check_prompt(server_prompt, "server_prompt")
        if link is not None:
            check_able("link", link, "transmit", "a Link or None")
        check_type("progress", progress, bool, "True or False")
        grid = product(
            check_prompts(device_prompts, "device_prompts"),
            check_list("shared_steps", shared_steps),
            check_list("device_steps", device_steps),
            check_list("bep", bep),
            check_seeds(seeds),
            check_list("receivers", receivers),
            check_list("restarts", restarts),
        )
        runs = [Run(server_prompt, *combination) for combination in grid]
        guidance, batch_size = self._guidance(guidance_scale), check_integer("batch_size", batch_size, 1)
        return run_sweep(self.denoiser, runs, link, guidance, check_output(output_type), batch_size, progress)

    def _receive(
        self,
        handoff: Handoff,
        plan: SplitPlan | None,
        device: int,
        restart: int | None,
        receiver: str,
        space_here: Callable[[], LatentSpace],
    ) -> tuple[torch.Tensor, tuple[Step, ...]]:
        """Check one hand-off and return the latent that the device starts from, and the steps that it walks."""
        plan = check_handoff(handoff, plan, self.scheduler, self.denoiser.latent_shape, space_here)
        count = plan.steps_per_device[check_integer("device", device, 0, len(plan.steps_per_device) - 1)]
        return receive(self.scheduler, handoff, count, check_receiver(receiver, handoff), restart, self._noise)

    def _noise(self, seed: int) -> torch.Tensor:
        return self.denoiser.noise([seed]).float().cpu()

    def _guidance(self, guidance_scale: float | None) -> float:
        return self.guidance_scale if guidance_scale is None else check_number("guidance_scale", guidance_scale, 0)


def _batches(count: int, batch_size: int) -> list[slice]:
    check_integer("batch_size", batch_size, 1)
    return [slice(start, start + batch_size) for start in range(0, count, batch_size)]
