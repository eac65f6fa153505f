"""The explorer: one panel over the whole service, live in JupyterLab and Voila, and without a kernel on the built page."""

from __future__ import annotations

import io
import math

import numpy as np
import traitlets
from PIL import Image

from ...allocation import Policy, Service, ServiceConfig, TableQoE, optimum
from ...allocation.prompts import groups
from ...channel import Link
from ...diffusion.split import SplitDiffusion
from ...errors import InvalidArgument
from ...qoe.agent import PersonaAgent
from ...qoe.persona import Persona, people
from ...records import Handoff, SplitPlan
from ..browser import atlas
from .widget import STYLE, Answering, module

BEPS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3)
START = {"group": 0, "wants": [0, 1], "shared": 3, "steps": [4, 8], "beps": [0.03, 0.03]}


class Explorer(Answering):
    """Sliders for prompts, steps, bit errors, people and seed over the pictures of each stage and their scores.

    A newer request drops an older one between two denoising steps, and pictures are shown as they come.

    Args:
        chain, agent: who makes and who scores the pictures; by default the embedded ones.
        link: to both devices.
        policy: for two users, beside the optimum; by default the one that ships.
        start: where the sliders stand at first, a part of `START`: number of the group, and of each device's prompt in it; t0;
            and for each device t_k and bit error probability.

    Raises:
        InvalidArgument: `start` names something else.
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
        c, made_of = self.service.config, groups()
        bits = math.prod(self.chain.denoiser.latent_shape) * self.link.bits
        super().__init__(
            config={
                "groups": [list(made_of[number]) for number in atlas.GROUPS], "people": list(people()), "beps": list(BEPS),
                "gainsDb": list(atlas.GAINS_DB), "seed": atlas.SEED, "start": START | (start or {}), "maxShared": c.max_shared_steps,
                "maxDevice": c.max_device_steps, "serverStep": c.server_step_energy, "powerWeight": c.power_weight,
                "serverBudget": c.server_budget, "maxPower": c.max_power_w, "snrPerWatt": float(self.link.mean_snr(1.0)),
                "airtime": bits / self.link.bit_rate_bps,
            }
        )  # fmt: skip

    def _respond(self, number: int, content: dict) -> object:
        if content["kind"] == "run":
            return self._run(number, content["state"])
        return self.choice(content["who"], content["state"])

    def _run(self, number: int, state: dict) -> str:
        shared, seed, users = state["shared"], state["seed"], state["users"]
        plan = SplitPlan(shared, tuple(user["steps"] for user in users))
        total, done, before = shared + sum(plan.steps_per_device), 0, self.chain.on_step

        def hook(_timestep: int, _latents: int) -> None:
            nonlocal done
            done += 1
            self._check(number)
            self.send({"id": number, "kind": "progress", "value": done / total})

        def show(place: str, image: Image.Image | None, **more: dict) -> None:
            self._check(number)
            buffer = io.BytesIO()
            if image is not None:
                image.save(buffer, "png")
            self.send(
                {"id": number, "kind": "picture", "place": place} | more, [buffer.getvalue()] if image is not None else []
            )

        self.chain.on_step, flips, images = hook, [], []
        try:
            sent = self.chain.server_denoise(state["server"], plan, seed) if shared else None
            show("sent", self._look(sent))
            for k, user in enumerate(users):
                if sent is None:
                    show(f"received-{k}", None)
                    image = self.chain.generate(user["prompt"], user["steps"], seed)
                else:
                    got = self.link.transmit(sent, bep=user["bep"], seed=seed + k)
                    show(f"received-{k}", self._look(got))
                    flips.append(f"{got.link.flipped_bits} of {got.link.payload_bits}")
                    image = self.chain.device_denoise(got, user["prompt"], plan, device=k)
                images.append(image)
                show(f"image-{k}", image, scores=self._scores(image, [user["person"]], user["prompt"]))
            for k, user in enumerate(users):  # who judges came first
                show(f"image-{k}", images[k], scores=self._scores(images[k], list(people()), user["prompt"]))
        finally:
            self.chain.on_step = before
        return f"Bits that arrived wrong: {', '.join(flips)}." if flips else ""

    def _scores(self, image: Image.Image, names: list[str], prompt: str) -> dict[str, float]:
        scores = self.agent.scores([image] * len(names), [Persona.named(name) for name in names], prompt)
        return {name: score.value for name, score in zip(names, scores)}

    def _look(self, handoff: Handoff | None) -> Image.Image | None:
        return None if handoff is None else self.chain.decode(handoff.latent)[0]

    def choice(self, who: str, state: dict) -> list[float]:
        """What "policy" or "optimum" chooses for the people, prompts and channel of a state: [t0, t1, t2, P1, P2 in watts]."""
        users = state["users"]
        if users[0]["prompt"] != state["server"]:
            raise InvalidArgument("prompts", users[0]["prompt"], "the server's for device 1, as policy and optimum have it")
        found = self.service.state(
            [user["prompt"] for user in users],
            [Persona.named(user["person"]) for user in users],
            [10 ** (state["gain"] / 10)] * len(users),
        )
        made = optimum(self.service, found) if who == "optimum" else self.service.within_budget(found, self.policy.act(found))
        return np.concatenate([made.shared_steps, made.device_steps[0], made.power_w[0].round(1)]).tolist()
