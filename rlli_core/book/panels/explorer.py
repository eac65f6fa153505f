"""The explorer: one panel over the whole service, live in JupyterLab and Voila, and without a kernel on the built page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import torch
import traitlets
from PIL import Image

from ...allocation import Policy, Service, ServiceConfig, TableQoE, optimum
from ...allocation.prompts import groups
from ...channel import FisherSnedecorF, Link, encode
from ...channel.codec import FLIP_STREAM
from ...diffusion.split import SplitDiffusion
from ...errors import InvalidArgument, check_choice, check_integer
from ...qoe.agent import PersonaAgent
from ...qoe.persona import TRAITS, Persona, people
from ...records import RECEIVERS, Handoff, SplitPlan
from ...round import JOULES_PER_MWH, Scale, Stage, serve
from ..browser import atlas
from .messages import Channel, Choice, Config, Picture, State, User
from .widget import STYLE, Answering, module

BEPS = (0.0, 0.001, 0.003, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3)
RESTARTS = (*range(25, 1000, 25), 999)
FADINGS = {"mild": (5.0, 5.0), "severe": (1.0, 1.2)}  # severity m and shadowing m_s of channels beside the link's own
START = {
    "group": 0, "wants": (0, 1), "shared_steps": 3, "device_steps": (4, 8), "beps": (0.03, 0.03), "receiver": "paper",
    "restarts": (None, None),
}  # fmt: skip


class Explorer(Answering):
    """Controls for prompts, steps, bit errors, receiver, starts, people, seed, over the pictures of each stage and their scores.

    A newer request drops an older one between two denoising steps, and pictures are shown as they come.

    Args:
        chain, agent: who makes and who scores the pictures; by default the embedded ones.
        link: to all devices.
        policy: for two users, beside the optimum; by default the one that ships.
        start: where the controls stand at first, a part of `START`: number of the group, and of each device's prompt in it; t0;
            the receiver; and for each device t_k, bit error probability, and None or the timestep at which it starts.
        whole_page: on the built page, put the sidebars away for it.

    Raises:
        InvalidArgument: `start` names something else, or a group or prompt that there is not.
        ModelNotFound: there is no atlas.
    """

    _esm = module("preact", "common", "sources", "play", "parts", "explorer")
    _css = STYLE
    config = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        chain: SplitDiffusion | None = None,
        agent: PersonaAgent | None = None,
        link: Link | None = None,
        policy: Policy | None = None,
        start: dict | None = None,
        whole_page: bool = False,
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
        c, made_of, self.channels = self.service.config, [groups()[number] for number in atlas.GROUPS], channels(self.link)
        self.best_starts = {int(steps): start for steps, start in atlas.read()["best_starts"].items()}
        blank = encode(
            torch.zeros(self.chain.denoiser.latent_shape), bits=self.link.bits, number_format=self.link.number_format
        )
        scale = Scale()
        config = Config(
            groups=tuple(made_of), prompts=tuple(p for group in groups() for p in group), people=people(), traits=TRAITS,
            beps=BEPS, restarts=RESTARTS,
            channels=self.channels, receivers=RECEIVERS, max_shared_steps=c.most_shared_steps, max_device_steps=c.max_device_steps,
            start=_start(made_of, self.channels, **START | (start or {})), whole_page=whole_page, best_starts=tuple(self.best_starts.items()),
            step_energy_mwh=scale.device_step_j / JOULES_PER_MWH, step_s=scale.device_step_s,
            server_step_energy_mwh=scale.server_step_j / JOULES_PER_MWH, server_step_s=scale.server_step_s,
            airtime_s=blank.payload_bits / self.link.bit_rate_bps, payload_bits=blank.payload_bits,
            latent_shape=self.chain.denoiser.latent_shape, flip_stream=FLIP_STREAM,
        )  # fmt: skip
        super().__init__(config=config.told())

    def _respond(self, number: int, content: dict) -> object:
        state = State.of(content["state"])
        return self._run(number, state) if content["kind"] == "run" else self.choice(content["who"], state).told()

    def _run(self, number: int, state: State) -> str:
        before = self.chain.on_step
        done, total = 0, state.shared_steps + 2 * sum(user.device_steps for user in state.users)

        def on_step(_timestep: int, _latents: int) -> None:
            nonlocal done
            done += 1
            self._check(number)
            self.send({"id": number, "kind": "progress", "value": min(1, done / total)})

        def show(picture: Picture, image: Image.Image | None) -> None:
            self._check(number)
            buffer = io.BytesIO()
            if image is not None:
                image.save(buffer, "png")
            told = picture.told()
            self.send({"id": number, "kind": "picture"} | told, [buffer.getvalue()] if image is not None else [])

        def on_stage(stage: Stage) -> None:
            made, device, scores, image, lowest, flipped = stage.result, stage.device, {}, None, None, None
            if isinstance(made, Handoff):
                image = self.chain.decode(made.latent)[0]
            elif isinstance(made, Image.Image) and device is not None:
                image, scores = made, self._scores(made, state.users[device])
            if stage.name == "received":  # bare noise, where nothing was sent, may be taken as a latent of any timestep
                lowest = self.chain.restart_range(made, state.receiver)[0] if isinstance(made, Handoff) else 0
                flipped = made.link.flipped_bits if isinstance(made, Handoff) and made.link else 0
            show(Picture(stage.name, device, lowest, flipped, scores), image)

        self.chain.on_step = on_step
        try:
            images = self._serve(state, on_stage=on_stage, lift_restarts=True)
            alone = replace(state, shared_steps=0, users=tuple(
                replace(user, restart=self.best_start(user.device_steps)) for user in state.users
            ))  # fmt: skip
            lone = self._serve(alone)
            for everybody, (stage, made) in product((False, True), (("image", images), ("lone", lone))):  # who judges first
                for k, (image, user) in enumerate(zip(made, state.users)):
                    if everybody or stage == "lone":
                        others = list(people()) if everybody else ()
                        show(Picture(stage, k, None, None, self._scores(image, user, others)), image)
        finally:
            self.chain.on_step = before
        return ""

    def _serve(self, state: State, **how: Any) -> Sequence[Image.Image]:
        users = state.users
        plan = SplitPlan(state.shared_steps, tuple(user.device_steps for user in users))
        made = serve(
            self.chain, [self.link] * len(users), None, state.server_prompt, [user.prompt for user in users], (),
            plan, None, state.seed, beps=[None if user.alone else user.bep for user in users],
            receiver=state.receiver, restarts=[user.restart for user in users], flip_seeds=[state.seed] * len(users), **how,
        )  # fmt: skip
        return made.images

    def best_start(self, steps: int) -> int | None:
        """Where a device alone with so many steps had best start: as with the most that the atlas has up to there."""
        return self.best_starts[max(known for known in self.best_starts if known <= max(steps, min(self.best_starts)))]

    def _scores(self, image: Image.Image, user: User, others: Sequence[str] = ()) -> dict[str, float]:
        judges = {"": _persona(user.person)} | {name: Persona.named(name) for name in others}
        scores = self.agent.scores([image] * len(judges), list(judges.values()), user.prompt)
        return {name: score.value for name, score in zip(judges, scores)}

    def choice(self, who: str, state: State) -> Choice:
        """What "policy" or "optimum" chooses for the people, prompts and channel of a state.

        Raises:
            InvalidArgument: prompts that the service does not know, device 1 does not want what the server draws, or a channel
                whose gain is not known.
        """
        users, gain_db = state.users, self.channels[check_integer("channel", state.channel, 0, len(self.channels) - 1)].gain_db
        if users[0].prompt != state.server_prompt:
            raise InvalidArgument("prompts", users[0].prompt, "the server's for device 1, as policy and optimum have it")
        if gain_db is None:
            raise InvalidArgument("channel", self.channels[state.channel].name, "one of a known gain for policy and optimum")
        gain = 10 ** (gain_db / 10)
        found = self.service.state(
            [user.prompt for user in users], [_persona(user.person) for user in users], [gain] * len(users)
        )
        made = optimum(self.service, found) if who == "optimum" else self.service.within_budget(found, self.policy.act(found))
        powers = made.power_w[0].round(1)
        beps = np.asarray(self.link.bep(powers, gain))
        return Choice(
            int(made.shared_steps[0]), tuple(made.device_steps[0].tolist()), tuple(powers.tolist()), tuple(beps.tolist())
        )


def channels(link: Link) -> tuple[Channel, ...]:
    """The channels that the panel offers: known gains during the packet, the link's own fading averaged, and other fadings."""
    known = np.array(atlas.bep_by_power(link))
    gains = {-6.0: "deep fade, gain −6 dB", 0.0: "no fade, gain 0 dB", 3.0: "lucky, gain +3 dB"}
    made = [Channel(gains.get(g, f"gain {g:+.0f} dB"), g, (known / [10 ** (g / 10), 1]).tolist()) for g in atlas.GAINS_DB]
    own = (link.fading.severity, link.fading.shadowing)
    for name, (severity, shadowing) in ({"the paper’s" if own == (2.0, 1.5) else "own": own} | FADINGS).items():
        some = replace(link, fading=FisherSnedecorF(severity, shadowing))
        said = f"{name} fading averaged, m {severity:g}, mₛ {shadowing:g}"
        made.append(Channel(said, None, atlas.bep_by_power(some, gain=None)))
    return tuple(made)


def _persona(person: str | Sequence[float]) -> Persona:
    return Persona.named(person) if isinstance(person, str) else Persona.of(person)


def _start(
    groups: Sequence[tuple[str, ...]],
    channels: Sequence[Channel],
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
    users = tuple(User(*user, False) for user in zip(wanted, device_steps, beps, restarts, people()))
    receiver = check_choice("start['receiver']", receiver, RECEIVERS)
    calm = [channel.gain_db for channel in channels].index(0.0)
    return State(prompts[0], shared_steps, calm, atlas.SEEDS[0], receiver, users)
