"""The explorer: one panel over the whole service, live in JupyterLab and Voila, and without a kernel on the built page."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
import traitlets
from PIL import Image

from ...allocation import Policy, Service, ServiceConfig, TableQoE, optimum
from ...allocation.prompts import groups
from ...channel import Link, encode
from ...diffusion.split import SplitDiffusion
from ...errors import InvalidArgument, check_choice, check_integer
from ...qoe.agent import PersonaAgent
from ...qoe.persona import Persona, people
from ...records import RECEIVERS, Handoff, SplitPlan
from ...round import Stage, serve
from ..browser import atlas
from .messages import Choice, Config, Picture, State, User
from .widget import STYLE, Answering, module

BEPS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3)
RESTARTS = (*range(25, 1000, 25), 999)
START = {
    "group": 0, "wants": (0, 1), "shared_steps": 3, "device_steps": (4, 8), "beps": (0.03, 0.03), "receiver": "paper",
    "restarts": (None, None),
}  # fmt: skip


class Explorer(Answering):
    """Controls for prompts, steps, bit errors, receiver, starts, people, seed, over the pictures of each stage and their scores.

    A newer request drops an older one between two denoising steps, and pictures are shown as they come.

    Args:
        chain, agent: who makes and who scores the pictures; by default the embedded ones.
        link: to both devices.
        policy: for two users, beside the optimum; by default the one that ships.
        start: where the controls stand at first, a part of `START`: number of the group, and of each device's prompt in it; t0;
            the receiver; and for each device t_k, bit error probability, and None or the timestep at which it starts.

    Raises:
        InvalidArgument: `start` names something else, or a group or prompt that there is not.
    """

    _esm = module("common", "sources", "explorer")
    _css = STYLE
    config = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        chain: SplitDiffusion | None = None,
        agent: PersonaAgent | None = None,
        link: Link | None = None,
        policy: Policy | None = None,
        start: dict | None = None,
    ):
        for name in set(start or {}) - set(START):
            raise InvalidArgument("start", name, f"one of {', '.join(START)}")
        self.chain, self.agent = (
            chain or SplitDiffusion.from_pretrained("embedded"),
            agent or PersonaAgent.from_pretrained("embedded"),
        )
        self.link = link or Link()
        self.service = policy.service if policy else Service(ServiceConfig(users=2, link=self.link), TableQoE.load())
        self.policy = policy or Policy.from_pretrained("g-ddpg-2-users", self.service)
        c, made_of = self.service.config, [groups()[number] for number in atlas.GROUPS]
        blank = encode(
            torch.zeros(self.chain.denoiser.latent_shape), bits=self.link.bits, number_format=self.link.number_format
        )
        config = Config(
            groups=tuple(made_of), people=tuple(people()), beps=BEPS, gains_db=atlas.GAINS_DB,
            restarts=RESTARTS, receivers=RECEIVERS,
            max_shared_steps=c.most_shared_steps, max_device_steps=c.max_device_steps, start=_start(made_of, **START | (start or {})),
            server_step_energy=float(np.min(c.server_step_energy)), power_weight=c.power_weight, server_budget=float(np.max(c.server_budget)),
            airtime_s=blank.payload_bits / self.link.bit_rate_bps, bep_by_power=atlas.bep_by_power(self.link),
        )  # fmt: skip
        super().__init__(config=config.told())

    def _respond(self, number: int, content: dict) -> object:
        state = State.of(content["state"])
        return self._run(number, state) if content["kind"] == "run" else self.choice(content["who"], state).told()

    def _run(self, number: int, state: State) -> str:
        plan = SplitPlan(state.shared_steps, tuple(user.device_steps for user in state.users))
        total, done, before = plan.shared_steps + sum(plan.steps_per_device), 0, self.chain.on_step

        def on_step(_timestep: int, _latents: int) -> None:
            nonlocal done
            done += 1
            self._check(number)
            self.send({"id": number, "kind": "progress", "value": done / total})

        def show(picture: Picture, image: Image.Image | None) -> None:
            self._check(number)
            buffer = io.BytesIO()
            if image is not None:
                image.save(buffer, "png")
            told = picture.told()
            self.send({"id": number, "kind": "picture"} | told, [buffer.getvalue()] if image is not None else [])

        def on_stage(stage: Stage) -> None:
            made, device, scores, image, lowest = stage.result, stage.device, {}, None, None
            if isinstance(made, Handoff):
                image = self.chain.decode(made.latent)[0]
            elif isinstance(made, Image.Image) and device is not None:
                image, user = made, state.users[device]
                scores = self._scores(made, [user.person], user.prompt)
            if stage.name == "received":  # bare noise, where nothing was sent, may be taken as a latent of any timestep
                lowest = self.chain.restart_range(made, state.receiver)[0] if isinstance(made, Handoff) else 0
            show(Picture(stage.name, device, lowest, scores), image)

        self.chain.on_step = on_step
        try:
            made = serve(
                self.chain, [self.link] * len(state.users), None, state.server_prompt, [user.prompt for user in state.users], (),
                plan, None, state.seed, beps=[user.bep for user in state.users], on_stage=on_stage,
                receiver=state.receiver, restarts=[user.restart for user in state.users],
            )  # fmt: skip
            for k, image in enumerate(made.images):  # who judges came first
                show(Picture("image", k, None, self._scores(image, list(people()), state.users[k].prompt)), image)
        finally:
            self.chain.on_step = before
        flips = [f"{got.link.flipped_bits} of {got.link.payload_bits}" for got in made.received if got and got.link]
        return f"Bits that arrived wrong: {', '.join(flips)}." if flips else ""

    def _scores(self, image: Image.Image, names: list[str], prompt: str) -> dict[str, float]:
        scores = self.agent.scores([image] * len(names), [Persona.named(name) for name in names], prompt)
        return {name: score.value for name, score in zip(names, scores)}

    def choice(self, who: str, state: State) -> Choice:
        """What "policy" or "optimum" chooses for the people, prompts and channel of a state.

        Raises:
            InvalidArgument: prompts that the service does not know, or device 1 does not want what the server draws.
        """
        users, gain = state.users, 10 ** (state.gain_db / 10)
        if users[0].prompt != state.server_prompt:
            raise InvalidArgument("prompts", users[0].prompt, "the server's for device 1, as policy and optimum have it")
        found = self.service.state(
            [user.prompt for user in users], [Persona.named(user.person) for user in users], [gain] * len(users)
        )
        made = optimum(self.service, found) if who == "optimum" else self.service.within_budget(found, self.policy.act(found))
        powers = made.power_w[0].round(1)
        beps = np.asarray(self.link.bep(powers, gain))
        return Choice(
            int(made.shared_steps[0]), tuple(made.device_steps[0].tolist()), tuple(powers.tolist()), tuple(beps.tolist())
        )


def _start(
    groups: Sequence[tuple[str, ...]],
    group: int,
    wants: Sequence[int],
    shared_steps: int,
    device_steps: Sequence[int],
    beps: Sequence[float],
    receiver: str,
    restarts: Sequence[int | None],
) -> State:
    """The state in which the panel begins: the first people of all judge, at a channel gain of 0 dB."""
    prompts = groups[check_integer("start['group']", group, 0, len(groups) - 1)]
    wanted = [prompts[check_integer("start['wants']", i, 0, len(prompts) - 1)] for i in wants]
    users = tuple(User(*user) for user in zip(wanted, device_steps, beps, restarts, people()))
    receiver = check_choice("start['receiver']", receiver, RECEIVERS)
    return State(group, prompts[0], shared_steps, 0.0, atlas.SEED, receiver, users)
