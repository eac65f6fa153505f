"""Joules and seconds by hand, and the paper's unit beside them."""

import numpy as np
import pytest

from rlli_core import Link
from rlli_core.allocation import Service, ServiceConfig
from rlli_core.allocation.energy import Scale, cost
from rlli_core.allocation.states import Allocation
from rlli_core.errors import InvalidArgument


def test_a_round_by_hand(source):
    link = Link(bits=8, bit_rate_bps=1e6)
    service = Service(ServiceConfig(actions="choice", device_step_energy=2.0, server_step_energy=0.25, link=link), source)
    states = service.draw(np.random.default_rng(0), 2)
    out = np.array([[False, True, False], [True, True, True]])
    made = Allocation(np.array([4, 4]), np.array([[1, 2, 3]] * 2), np.full((2, 3), 50.0), out)
    scale = Scale(device_step_j=3.0, device_step_s=0.5, server_step_j=20.0, server_step_s=0.1, latent_values=1000)
    found, airtime_s = cost(service, states, made, scale), 0.008
    assert found.server == pytest.approx([0.25 * 4 + 0.1 * 100, 0]) and found.device[0].tolist() == [2, 4, 6]
    assert found.server_j == pytest.approx([4 * 10, 0])  # at half the paper's delta half the joules
    assert found.radio_j[0] == pytest.approx([0.4, 0, 0.4]) and found.device_j[1] == pytest.approx([6, 12, 18])
    assert found.total_j == pytest.approx([40 + 0.8 + 36, 36])
    assert found.latency_s[0] == pytest.approx([0.5 + 0.4 + airtime_s, 1.0, 1.5 + 0.4 + airtime_s])


def test_the_scale_is_the_phones_of_the_paper_and_refuses_what_is_none(source):
    assert Scale().device_step_j == pytest.approx(1.0 * 3.6)  # 1 mWh
    with pytest.raises(InvalidArgument, match="server_step_j"):
        Scale(server_step_j=-1.0)
    with pytest.raises(InvalidArgument, match="scale"):
        cost(
            Service(ServiceConfig(), type("S", (), {"qoe": print, "embeddings": np.eye(2), "groups": [(0, 1)]})()),
            None,
            None,
            3,
        )
