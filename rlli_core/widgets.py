"""Slider panels for the notebooks: each change recomputes in the live kernel."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from PIL import Image

from . import figures
from .allocation.environment import Service
from .allocation.oracle import optimum
from .channel import MODULATIONS, FisherSnedecorF, Link, average_bep, conditional_bep, dbw_to_w
from .errors import RlliError
from .qoe import Persona, psnr, ssim
from .qoe.persona import TRAITS, people
from .records import SplitPlan
from .round import STEP_ENERGY_MWH
from .teaching import figures as pictures
from .teaching import toys

if TYPE_CHECKING:
    from .allocation.ddpg import Policy
    from .diffusion.split import SplitDiffusion
    from .embedded.judge import Judge
    from .qoe.agent import PersonaAgent

_BEPS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5)
_WIDE = {"style": {"description_width": "9em"}, "layout": widgets.Layout(width="26em")}


def split_panel(
    chain: SplitDiffusion,
    link: Link,
    judge: Judge,
    server_prompt: str,
    device_prompt: str,
    shared_steps: int,
    device_steps: int,
    bep: float = 0.0,
    seed: int = 0,
    max_steps: int = 12,
    agent: PersonaAgent | None = None,
) -> widgets.VBox:
    """Sliders for t0, t_k, BEP, seed and both prompts over the pictures of one cut chain.

    Shown are the latent as the server sends it, as it arrives, the device's image, and the image an error-free link
    would have given, with PSNR, SSIM, what the judge sees and the energy of the steps; with an agent, a choice of people
    from `data/personas.yaml` and their score.
    """
    controls = {
        "server_prompt": widgets.Text(server_prompt, description="server prompt", continuous_update=False, **_WIDE),
        "device_prompt": widgets.Text(device_prompt, description="device prompt", continuous_update=False, **_WIDE),
        "shared_steps": _slider(shared_steps, 0, max_steps, "shared steps t₀"),
        "device_steps": _slider(device_steps, 0, max_steps, "device steps tₖ"),
        "bep": widgets.SelectionSlider(
            options=[(f"{b:.1%}", b) for b in sorted({*_BEPS, bep})], value=bep,
            description="bit error prob.", continuous_update=False, **_WIDE,
        ),
        "seed": _slider(seed, 0, 99, "seed"),
    }  # fmt: skip
    if agent is not None:
        controls["person"] = widgets.Dropdown(options=list(people()), description="persona", **_WIDE)
    heads = ("sent", "received", "image", "image without bit errors")
    pictures = [widgets.Image(format="png", width=160, height=160) for _ in heads]

    def update(
        server_prompt: str, device_prompt: str, shared_steps: int, device_steps: int, bep: float, seed: int, person: str = ""
    ) -> str:
        plan = SplitPlan(shared_steps, device_steps)
        sent = chain.server_denoise(server_prompt, plan, seed)
        got = link.transmit(sent, bep=bep, seed=seed)
        now = SplitPlan(shared_steps, 0) if shared_steps else None  # decoded where it stands
        stages = [chain.device_denoise(h, "", now) if now else _blank() for h in (sent, got)]
        image, clean = (chain.device_denoise(h, device_prompt, plan) for h in (got, sent))
        for picture, shown in zip(pictures, (*stages, image, clean)):
            picture.value = _png(shown)
        seen = sorted(judge.verdict(image).objects.items(), key=lambda item: -item[1])[:3]
        low, high = (device_steps * energy for energy in STEP_ENERGY_MWH)
        return (
            f"PSNR {psnr(image, clean):.1f} dB, SSIM {ssim(image, clean):.2f} · {got.link.flipped_bits} of "
            f"{got.link.payload_bits} bits flipped · the judge sees "
            + ", ".join(f"{name} {p:.0%}" for name, p in seen)
            + f" · device energy {low:.0f}–{high:.0f} mWh"
            + (f" · {person} scores {agent.score(image, Persona.named(person), device_prompt).value:.2f}" if person else "")
        )

    return _panel(controls, [_captioned(p, h) for p, h in zip(pictures, heads)], update)


def persona_panel(
    agent: PersonaAgent, images: Sequence[Image.Image], prompts: Sequence[str], persona: Persona
) -> widgets.VBox:
    """Sliders for the five traits over pictures whose scores follow them, each for its own prompt."""
    controls = {
        trait: widgets.FloatSlider(value, min=0, max=1, step=0.05, description=trait, continuous_update=False, **_WIDE)
        for trait, value in zip(TRAITS, persona.vector)
    }
    notes = [widgets.Label() for _ in images]

    def update(**traits: float) -> str:
        scores = agent.scores(images, Persona(**traits), prompts)
        for note, score in zip(notes, scores):
            note.value = f"{score.value:.2f} {'●' * round(10 * score.value)}"
        best = max(range(len(images)), key=lambda i: scores[i].value)
        return f"This person likes best: {prompts[best]}"

    shown = [
        widgets.VBox([widgets.Image(value=_png(image), format="png", width=130, height=130), widgets.Label(text), note])
        for image, text, note in zip(images, prompts, notes)
    ]
    return _panel(controls, shown, update)


def link_panel(severity: float, shadowing: float, power_dbw: float, gain_db: float) -> widgets.VBox:
    """Sliders for fading, modulation, power and link budget over the curve of BEP against power."""
    controls = {
        "severity": widgets.FloatSlider(severity, min=0.5, max=8, step=0.1, description="fading severity m", **_WIDE),
        "shadowing": widgets.FloatSlider(shadowing, min=1.1, max=10, step=0.1, description="shadowing mₛ", **_WIDE),
        "modulation": widgets.Dropdown(options=MODULATIONS, description="modulation", **_WIDE),
        "power_dbw": widgets.FloatSlider(power_dbw, min=0, max=30, step=0.5, description="power (dBW)", **_WIDE),
        "gain_db": widgets.FloatSlider(gain_db, min=-30, max=10, step=0.5, description="link gain (dB)", **_WIDE),
    }
    picture = widgets.Image(format="png", width=520)

    def update(severity: float, shadowing: float, modulation: str, power_dbw: float, gain_db: float) -> str:
        link = Link(FisherSnedecorF(severity, shadowing), modulation, gain_db=gain_db)
        powers = np.linspace(0, 30, 31)
        bep = float(link.bep(dbw_to_w(power_dbw)))
        ax = figures.bep_by_power(powers, {modulation.upper(): link.bep(dbw_to_w(powers))}, [(power_dbw, bep)])
        picture.value = _drawn(ax)
        return f"mean SNR per bit {power_dbw + gain_db:.1f} dB, average bit error probability {bep:.2%}"

    return _panel(controls, [picture], update)


def allocation_panel(policies: Mapping[str, Policy], personas: Sequence[str]) -> widgets.VBox:
    """Sliders for budgets, fading, channel and people over what trained policies choose, beside the optimum.

    Args:
        policies: by name; the first one's service says who there is and what the sliders start from.
        personas: of the users, names from `data/personas.yaml`.
    """
    service = next(iter(policies.values())).service
    config, fading, source = service.config, service.config.link.fading, service.source
    groups = {" · ".join(source.prompts[p] for p in group): group for group in source.groups}
    controls = {
        "group": widgets.Dropdown(options=list(groups), description="prompts", **_WIDE),
        **{f"user_{k}": widgets.Dropdown(options=list(people()), value=name, description=f"user {k}", **_WIDE)
           for k, name in enumerate(personas, 1)},
        "server_budget": widgets.FloatSlider(config.server_budget, min=2, max=40, step=1, description="server budget", **_WIDE),
        "device_budget": _slider(int(config.device_budget), 1, config.max_device_steps, "device budget"),
        "severity": widgets.FloatSlider(fading.severity, min=0.5, max=8, step=0.1, description="fading severity m", **_WIDE),
        "shadowing": widgets.FloatSlider(fading.shadowing, min=1.1, max=10, step=0.1, description="shadowing mₛ", **_WIDE),
        "seed": _slider(0, 0, 99, "channel draw"),
    }  # fmt: skip
    tables = {name: widgets.HTML() for name in (*policies, "optimum")}

    def update(group: str, server_budget: float, device_budget: int, severity: float, shadowing: float, seed: int, **users) -> str:
        link = replace(config.link, fading=FisherSnedecorF(severity, shadowing))
        now = Service(replace(config, server_budget=server_budget, device_budget=float(device_budget), link=link), source)
        state = replace(
            now.draw(np.random.default_rng(seed), 1),
            prompts=np.array([[*groups[group]] * config.users])[:, : config.users],
            personas=np.array([[Persona.named(name).vector for name in users.values()]]),
        )
        chosen = {name: now.within_budget(state, policy.act(state)) for name, policy in policies.items()}
        chosen["optimum"] = optimum(now, state)
        sums = {}
        for name, allocation in chosen.items():
            made = now.outcome(state, allocation)
            sums[name] = made.qoe.sum()
            rows = {"steps": allocation.device_steps[0], "power (W)": allocation.power_w[0].round(1)}
            rows |= {"BEP": now.bep(state, allocation)[0].round(3), "QoE": made.qoe[0].round(2)}
            table = pd.DataFrame(rows, index=[f"user {k + 1}" for k in range(config.users)]).to_html(border=0)
            tables[name].value = f"<b>{name}</b>, shared steps {allocation.shared_steps[0]}{table}"
        gains = ", ".join(f"{10 * np.log10(gain):.0f} dB" for gain in state.gains[0])
        return f"channel gains {gains} · sum QoE " + ", ".join(f"{name} {value:.2f}" for name, value in sums.items())

    return _panel(controls, list(tables.values()), update)


def chain_panel(steps: int, shared: int, width: float, seed: int = 0) -> widgets.VBox:
    """Sliders over chains of one number that set out for the tiger and change over to the dog."""
    controls = {
        "steps": _slider(steps, 1, 50, "steps in all"),
        "shared": _slider(shared, 0, 50, "of them shared t₀"),
        "width": widgets.FloatSlider(width, min=0.05, max=1, step=0.05, description="left open (width)", **_WIDE),
        "seed": _slider(seed, 0, 99, "seed"),
    }
    picture = widgets.Image(format="png", width=760)

    def update(steps: int, shared: int, width: float, seed: int) -> str:
        noise = np.random.default_rng(seed).standard_normal(2000)
        ends = {
            "only tiger": toys.walk(noise, steps, steps, width)[-1],
            "only dog": toys.walk(noise, steps, 0, width)[-1],
            "changed over": toys.walk(noise, steps, shared, width)[-1],
        }
        picture.value = _drawn(pictures.chains(toys.walk(noise[:40], steps, shared, width), shared, ends)[0])
        middle = {name: found.mean() for name, found in ends.items()}
        left = (middle["only dog"] - middle["changed over"]) / (middle["only dog"] - middle["only tiger"])
        return f"shared {shared / steps:.0%} of the chain; tiger left in the dog: {left:.0%} of the way between them"

    return _panel(controls, [picture], update)


def bit_panel(snr_db: float, severity: float, shadowing: float, count: int = 400, seed: int = 0) -> widgets.VBox:
    """Sliders over single bits on a fading link, and over their error probability."""
    controls = {
        "snr_db": widgets.FloatSlider(snr_db, min=-10, max=30, step=0.5, description="mean SNR (dB)", **_WIDE),
        "severity": widgets.FloatSlider(severity, min=0.5, max=8, step=0.1, description="fading severity m", **_WIDE),
        "shadowing": widgets.FloatSlider(shadowing, min=1.1, max=10, step=0.1, description="shadowing mₛ", **_WIDE),
        "seed": _slider(seed, 0, 99, "seed"),
    }
    picture = widgets.Image(format="png", width=760)

    def update(snr_db: float, severity: float, shadowing: float, seed: int) -> str:
        fading, grid = FisherSnedecorF(severity, shadowing), np.linspace(-10, 30, 41)
        snr = 10 ** (grid / 10)
        curves = {"fading": average_bep("bpsk", fading, snr), "steady": conditional_bep("bpsk", snr)}
        picture.value = _drawn(pictures.bits(*toys.received(count, snr_db, fading, seed), grid, curves, snr_db)[0])
        faded = float(average_bep("bpsk", fading, 10 ** (snr_db / 10)))
        share = toys.share_of_errors(fading, snr_db, 0.1, 20_000)
        return f"bit error probability {faded:.2%}; the weakest tenth of the moments makes {share:.0%} of the errors"

    return _panel(controls, [picture], update)


def learning_panel(trainings: Mapping[str, Sequence[toys.Snapshot]]) -> widgets.VBox:
    """A slider over the rounds of a training of `toys.learn`, and a choice between trainings by name."""
    looks = [snapshot.rounds for snapshot in next(iter(trainings.values()))]
    controls = {
        "rounds": widgets.SelectionSlider(options=looks, value=looks[-1], description="rounds served", **_WIDE),
        "training": widgets.Dropdown(options=list(trainings), description="training", **_WIDE),
    }
    picture, true = widgets.Image(format="png", width=760), toys.reward(toys.LEADS[:, None], toys.SHARES)

    def update(rounds: int, training: str) -> str:
        snapshot = trainings[training][looks.index(rounds)]
        picture.value = _drawn(pictures.landscapes(true, snapshot)[0])
        return f"the actor's choices lose {toys.regret(snapshot.shares):.3f} against the best, on average over the states"

    return _panel(controls, [picture], update)


def _panel(controls: dict[str, widgets.Widget], shown: list[widgets.Widget], update: Callable[..., str]) -> widgets.VBox:
    """Controls over pictures over a line of text; `update` fills the pictures and returns the line."""
    line = widgets.HTML()

    def refresh(_change: object = None) -> None:
        try:
            line.value = update(**{name: control.value for name, control in controls.items()})
        except RlliError as error:  # a slider can reach a plan with no steps; say so and keep the last picture
            line.value = f"<b>{error}</b>"

    for control in controls.values():
        control.observe(refresh, names="value")
    refresh()
    grid = widgets.GridBox(list(controls.values()), layout=widgets.Layout(grid_template_columns="repeat(auto-fit, 27em)"))
    return widgets.VBox([grid, widgets.HBox(shown, layout=widgets.Layout(flex_flow="row wrap")), line])


def _slider(value: int, low: int, high: int, description: str) -> widgets.IntSlider:
    return widgets.IntSlider(value, min=low, max=high, description=description, continuous_update=False, **_WIDE)


def _captioned(picture: widgets.Image, text: str) -> widgets.VBox:
    return widgets.VBox([picture, widgets.Label(text)], layout=widgets.Layout(margin="4px"))


def _drawn(axes: Axes) -> bytes:
    buffer = io.BytesIO()
    axes.figure.savefig(buffer, format="png")
    plt.close(axes.figure)
    return buffer.getvalue()


def _blank() -> Image.Image:
    return Image.new("RGB", (128, 128), "gray")


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="png")
    return buffer.getvalue()
