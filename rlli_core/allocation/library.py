"""DDPG, TD3 and SAC of stable-baselines3 on the same service; imported only where one of them is asked for."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
from stable_baselines3 import DDPG, SAC, TD3
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecEnv

from .ddpg import EARLY, Training
from .environment import ServiceEnv
from .policy import Policy, measure, validation
from .service import Service
from .states import Allocation, States

CLASSES = {"sb3-ddpg": DDPG, "td3": TD3, "sac": SAC}


class Rounds(VecEnv):
    """`Service` as a vector of environments in the form of stable-baselines3: each step is an episode."""

    def __init__(self, service: Service, count: int, seed: int):
        env = ServiceEnv(service.config, service.source)
        super().__init__(count, env.observation_space, env.action_space)
        self.service, self.rng = service, np.random.default_rng((seed, 1))

    def reset(self) -> np.ndarray:
        """Draw the first groups."""
        self.states = self.service.draw(self.rng, self.num_envs)
        return self.service.observe(self.states)

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions."""
        self.actions = actions

    def step_wait(self) -> tuple:
        """Serve, and draw the next groups."""
        seen = self.service.observe(self.states)
        reward = self.service.outcome(self.states, self.service.decode(self.actions)).reward
        infos = [{"terminal_observation": row, "TimeLimit.truncated": False} for row in seen]
        return self.reset(), reward.astype(np.float32), np.ones(self.num_envs, bool), infos

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Of every environment."""
        return [None if attr_name == "render_mode" else getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Not needed."""
        raise NotImplementedError

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Not needed."""
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Never."""
        return [False] * self.num_envs


class LibraryPolicy(Policy):
    """A trained model of stable-baselines3 in place of the actor."""

    actor: Any

    def act(self, states: States) -> Allocation:
        """Allocate, the same every time."""
        return self.service.decode(self.actor.predict(self.service.observe(states), deterministic=True)[0])


def train_library(algorithm: str, service: Service, seed: int, training: Training) -> Policy:
    """Train DDPG, TD3 or SAC of stable-baselines3 with the same sizes, batches, rounds and updates as `ddpg.train`."""
    training.check(service)
    env = Rounds(service, training.collect, seed)
    size = service.config.action_size
    options = {}
    if algorithm != "sac":
        options["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, np.mean(training.exploration)))
    model = CLASSES[algorithm](
        "MlpPolicy", env, training.lr, buffer_size=training.interactions + training.collect, batch_size=training.batch,
        learning_starts=training.warmup, train_freq=1, gradient_steps=1, tau=training.tau, seed=seed, device="cpu", gamma=0.0,
        policy_kwargs={"net_arch": [training.hidden, training.hidden]}, **options,
    )  # fmt: skip
    rows: list[dict[str, float]] = []
    states, seconds = validation(service), 0.0
    total, every = training.interactions, training.evaluate_every
    marks = sorted({*(mark for mark in EARLY if mark < total), *range(every, total, every), total})
    for mark in marks:
        if rows and mark <= model.num_timesteps:
            continue
        start = time.perf_counter()
        if mark > 0:
            model.learn(mark - model.num_timesteps, reset_num_timesteps=False)
        seconds += time.perf_counter() - start
        spent = {"interactions": model.num_timesteps, "updates": model._n_updates, "seconds": seconds}
        rows.append(spent | measure(LibraryPolicy(service, model, pd.DataFrame()), states))
    return LibraryPolicy(service, model, pd.DataFrame(rows))
