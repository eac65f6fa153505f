import numpy as np
import pytest

from rlli_core.allocation import Service, ServiceConfig

from . import madeup


class FormulaQoE:
    """A QoE source that is a formula: rises with device steps, falls with bit errors, has its best share of t0 by the prompt."""

    prompts = ("a", "b", "c", "d")
    embeddings = np.array([[-1.0, 0], [1, 0], [0, 1], [2, -2]])
    groups = ((0, 1, 2), (3, 1, 2))

    def qoe(self, states, allocation, bep, longest=None):
        longest = np.where(allocation.alone, 1, allocation.device_steps).max(1) if longest is None else longest
        shared = allocation.shared_steps[:, None] * allocation.device_steps / longest[:, None]
        steps = np.exp(-(((shared - 1 - 2 * states.prompts) / 6) ** 2)) * (allocation.device_steps / 8) ** 0.3
        alone = 0.55 * (allocation.device_steps / 8) ** 0.6
        return np.where(allocation.alone, alone, steps * (1 - 2 * bep)) * (0.7 + 0.3 * states.personas.mean(2))


@pytest.fixture(scope="session")
def source():
    return FormulaQoE()


@pytest.fixture(scope="session")
def service(source):
    return Service(ServiceConfig(), source)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return madeup.write(tmp_path_factory.mktemp("table") / "t.npz")
