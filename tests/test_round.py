import pytest

from rlli_core import SplitPlan
from rlli_core.channel import PAPER_LINKS
from rlli_core.errors import InvalidArgument
from rlli_core.qoe import Persona, PersonaAgent
from rlli_core.round import serve

from .qoe import models

PEOPLE = [Persona.named("GA1"), Persona.named("GA2")]


@pytest.fixture(scope="module")
def agent():
    return PersonaAgent(*models.llava(), device="cpu", least_mass=0)


def test_a_round_is_the_single_calls_in_order(chain, agent):
    plan, powers, prompts = SplitPlan(2, (1, 3)), [50.0, 120.0], ["a b", "c"]
    made = serve(chain, PAPER_LINKS, agent, "a", prompts, PEOPLE, plan, powers, seed=5)
    sent = chain.server_denoise("a", plan, 5)
    for k, prompt in enumerate(prompts):
        got = PAPER_LINKS[k].transmit(sent, power_w=powers[k], seed=5 + k)
        assert made.received[k].latent.equal(got.latent) and made.received[k].link == got.link
        assert made.images[k].tobytes() == chain.device_denoise(got, prompt, plan, device=k).tobytes()
        assert made.scores[k].value == pytest.approx(agent.score(made.images[k], PEOPLE[k], prompt).value, rel=1e-4)


def test_devices_must_agree_in_number(chain, agent):
    with pytest.raises(InvalidArgument, match="devices"):
        serve(chain, PAPER_LINKS, agent, "a", ["a"], PEOPLE, SplitPlan(2, (1, 3)), [50.0, 120.0], seed=5)
