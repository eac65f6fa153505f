"""How fast this machine is: seconds of an image, a denoising step, a rating, and an update of the allocator."""

import time
from collections.abc import Callable

STEPS = 10


def bench(repeats: int = 3) -> dict[str, float]:
    """Time the embedded models, after a warm-up; each number is the least of `repeats` blocks.

    Returns:
        Seconds, by what they are of: an image of ten steps, one denoising step, a rating of one picture by one agent,
        and one update of G-DDPG with the settings of `rlli train`.
    """
    from . import Persona, PersonaAgent, SplitDiffusion
    from .allocation import Service, ServiceConfig, TableQoE, Training
    from .allocation.speed import updates_by_steps

    chain, agent = SplitDiffusion.from_pretrained("embedded"), PersonaAgent.from_pretrained("embedded")
    prompt, persona = "a dog in front of a bush", Persona.named("GA1")
    image = chain.generate(prompt, STEPS, 0)
    whole = least(lambda: chain.generate(prompt, STEPS, 0), repeats)
    one = least(lambda: chain.generate(prompt, 1, 0), repeats)
    rating = least(lambda: agent.score(image, persona, prompt), repeats)
    steps = Training().denoising_steps
    update = updates_by_steps(Service(ServiceConfig(), TableQoE.load()), [steps], repeats=repeats).update_ms[steps] / 1e3
    # The difference of the two chains leaves out what an image costs once: reading the prompt, decoding.
    return {"image_s": whole, "denoising_step_s": (whole - one) / (STEPS - 1), "rating_s": rating, "allocator_update_s": update}


def least(function: Callable[[], object], repeats: int, calls: int = 1) -> float:
    """Seconds of a call: the least of `repeats` blocks of `calls`, since other work can only add; one call before does not count."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            function()
        times.append((time.perf_counter() - start) / calls)
    return min(times)
