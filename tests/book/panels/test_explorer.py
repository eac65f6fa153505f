"""The explorer's kernel side: pictures come as they are made, newer requests drop older ones, errors reach the panel."""

import io
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rlli_core import Link, Persona, SplitPlan
from rlli_core.book.panels.explorer import Explorer
from rlli_core.book.panels.messages import State
from rlli_core.book.panels.widget import module
from rlli_core.errors import InvalidArgument
from rlli_core.qoe.persona import people
from rlli_core.round import serve

TIGER, DOG = "a tiger in front of a bush", "a dog in front of a bush"
CALM = 1  # the channel whose gain is 0 dB


def state(**changes):
    users = [
        {"prompt": TIGER, "deviceSteps": 2, "bep": 0.03, "restart": None, "person": "GA1", "alone": False},
        {"prompt": DOG, "deviceSteps": 3, "bep": 0.1, "restart": None, "person": "GA2", "alone": False},
    ]
    told = {"serverPrompt": TIGER, "sharedSteps": 2, "channel": CALM, "seed": 4, "receiver": "paper", "users": users}
    return told | changes


def starting(*restarts):
    return [user | {"restart": restart} for user, restart in zip(state()["users"], restarts)]


def place(content):
    return content["stage"] if content["device"] is None else f"{content['stage']}-{content['device']}"


@pytest.fixture(scope="module")
def explorer(embedded):
    return Explorer(embedded)


@pytest.fixture
def heard(explorer, monkeypatch):
    """What the panel hears, and a wait for the answer to one number."""
    sent = []
    monkeypatch.setattr(explorer, "send", lambda content, buffers=(): sent.append((content, list(buffers))))

    def wait(number):
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if any(content["id"] == number and content["kind"] in ("done", "error") for content, _ in sent):
                return [pair for pair in sent if pair[0]["id"] == number]
            time.sleep(0.02)
        raise TimeoutError(number)

    return wait, sent


def test_it_makes_what_a_round_makes(explorer, heard):
    wait, _ = heard
    explorer.ask({"kind": "run", "id": 1, "state": state()})
    answers = wait(1)
    places = [place(content) for content, _ in answers if content["kind"] == "picture"]
    made = ["sent", "received-0", "image-0", "received-1", "image-1"]
    assert places == [*made, "lone-0", "lone-1", "image-0", "image-1", "lone-0", "lone-1"]  # at the end everybody's scores
    pictures = {place(content): (content, buffers) for content, buffers in answers if content["kind"] == "picture"}
    links = [Link(), Link()]
    powers = [link.power_for_bep(bep) for link, bep in zip(links, (0.03, 0.1))]
    judges = [Persona.named("GA1"), Persona.named("GA2")]
    made = serve(
        explorer.chain,
        links,
        explorer.agent,
        TIGER,
        [TIGER, DOG],
        judges,
        SplitPlan(2, (2, 3)),
        powers,
        seed=4,
        flip_seeds=[4, 4],
    )
    for k in (0, 1):
        content, buffers = pictures[f"image-{k}"]
        assert Image.open(io.BytesIO(buffers[0])).tobytes() == made.images[k].tobytes()
        assert list(content["scores"]) == ["", *people()]
        assert content["scores"][""] == content["scores"][f"GA{k + 1}"] == pytest.approx(made.scores[k].value, abs=1e-5)
        flipped = pictures[f"received-{k}"][0]["flipped"]
        assert flipped == made.received[k].link.flipped_bits
        lone = explorer.chain.generate((TIGER, DOG)[k], k + 2, seed=4, start=explorer.best_start(k + 2))
        assert Image.open(io.BytesIO(pictures[f"lone-{k}"][1][0])).tobytes() == lone.tobytes()
    assert explorer.chain.on_step is None
    steps = [content["value"] for content, _ in answers if content["kind"] == "progress"]
    assert steps == pytest.approx([(i + 1) / 12 for i in range(12)])  # with those of the devices alone


@pytest.mark.parametrize(
    ("receiver", "shared", "restarts"),
    [("noise-aware", 2, (None, None)), ("noise-aware", 2, (None, 900)), ("paper", 2, (850, None)), ("paper", 0, (700, None))],
)
def test_receiver_and_starts_are_those_of_a_round(explorer, heard, receiver, shared, restarts):
    wait, _ = heard
    explorer.ask({"kind": "run", "id": 5, "state": state(receiver=receiver, sharedSteps=shared, users=starting(*restarts))})
    pictures = {place(content): (content, buffers) for content, buffers in wait(5) if content["kind"] == "picture"}
    plan, links = SplitPlan(shared, (2, 3)), [Link(), Link()]

    def made(receiver="paper", restarts=None):
        return serve(explorer.chain, links, None, TIGER, [TIGER, DOG], (), plan, None, 4, beps=[0.03, 0.1], receiver=receiver,
                     restarts=restarts, flip_seeds=[4, 4])  # fmt: skip

    ours, papers = made(receiver, restarts), made()
    for k in (0, 1):
        image = Image.open(io.BytesIO(pictures[f"image-{k}"][1][0])).tobytes()
        assert image == ours.images[k].tobytes()
        assert (image != papers.images[k].tobytes()) == (receiver == "noise-aware" or restarts[k] is not None)
        lowest = explorer.chain.restart_range(ours.received[k], receiver)[0] if shared else 0
        assert pictures[f"received-{k}"][0]["lowest"] == lowest
        assert pictures[f"image-{k}"][0]["lowest"] is None
    assert pictures["sent"][0]["lowest"] is None


def test_a_start_below_what_arrived_is_lifted_to_it(explorer, heard):
    wait, _ = heard
    images = []
    for number, restart in ((6, 100), (7, None)):
        told = state(receiver="noise-aware", users=starting(restart, None))
        explorer.ask({"kind": "run", "id": number, "state": told})
        pictures = {place(content): (content, buffers) for content, buffers in wait(number) if content["kind"] == "picture"}
        assert pictures["received-0"][0]["lowest"] > 600
        images.append(np.asarray(Image.open(io.BytesIO(pictures["image-0"][1][0])), int))
    assert np.abs(images[0] - images[1]).mean() < 3  # the same start, but for the rounding of the steps


def test_who_stays_out_is_sent_nothing_and_own_traits_judge(explorer, heard):
    wait, _ = heard
    users = [user | {"alone": k == 0, "person": [0.1, 0.9, 0.5, 0.5, 0.5]} for k, user in enumerate(state()["users"])]
    explorer.ask({"kind": "run", "id": 8, "state": state(users=users)})
    pictures = {place(content): (content, buffers) for content, buffers in wait(8) if content["kind"] == "picture"}
    assert not pictures["received-0"][1] and pictures["received-1"][1]
    image = Image.open(io.BytesIO(pictures["image-1"][1][0])).convert("RGB")
    rated = explorer.agent.score(image, Persona.of([0.1, 0.9, 0.5, 0.5, 0.5]), DOG).value
    assert pictures["image-1"][0]["scores"][""] == pytest.approx(rated, abs=1e-5)


def test_a_newer_request_drops_the_older_ones(explorer, heard):
    wait, sent = heard
    for number in range(10, 16):
        explorer.ask({"kind": "run", "id": number, "state": state(sharedSteps=number - 9)})
    wait(15)
    assert {content["id"] for content, _ in sent if content["kind"] == "done"} == {15}
    assert not any(content["id"] < 15 and content["kind"] == "picture" and place(content) == "lone-1" for content, _ in sent)


def test_without_sharing_nothing_is_sent(explorer, heard):
    wait, _ = heard
    explorer.ask({"kind": "run", "id": 20, "state": state(sharedSteps=0)})
    answers = wait(20)
    empty = {place(content) for content, buffers in answers if content["kind"] == "picture" and not buffers}
    assert empty == {"sent", "received-0", "received-1"}


def test_what_cannot_be_is_told_and_the_next_request_works(explorer, heard):
    wait, _ = heard
    explorer.ask({"kind": "run", "id": 30, "state": state(seed=-1)})
    assert "seed=-1" in wait(30)[-1][0]["value"]
    explorer.ask(
        {"kind": "choice", "id": 31, "who": "policy", "state": state(users=[{**u, "prompt": "x"} for u in state()["users"]])}
    )
    assert "prompts='x' is not allowed" in wait(31)[-1][0]["value"]
    explorer.ask({"kind": "choice", "id": 32, "who": "optimum", "state": state()})
    found = wait(32)[-1][0]["value"]
    assert len(found["deviceSteps"]) == len(found["powersW"]) == 2 and 1 <= found["sharedSteps"] <= 10
    assert 0.5 * found["sharedSteps"] + 0.1 * sum(found["powersW"]) <= 20.05
    assert found["beps"] == pytest.approx(Link().bep(np.array(found["powersW"]), gain=1.0))
    explorer.ask({"kind": "run", "id": 33, "state": state(shared=2)})
    assert "the fields serverPrompt, sharedSteps" in wait(33)[-1][0]["value"]


def test_a_users_link_sets_powers_and_time_on_air(embedded, agent):
    link = Link(modulation="noncoherent_bfsk", gain_db=-4.0, number_format="float16", bit_rate_bps=1e6)
    explorer = Explorer(
        embedded,
        agent,
        link,
        start={"group": 1, "wants": [1, 0], "beps": [0.0, 0.1], "receiver": "noise-aware", "restarts": [None, 850]},
    )
    channels = explorer.config["channels"]
    assert [channel["gainDb"] for channel in channels] == [-6.0, 0.0, 3.0, None, None, None]
    power, bep = np.transpose(channels[CALM]["bepByPower"])
    deep, _ = np.transpose(channels[0]["bepByPower"])
    assert deep[1:] == pytest.approx(power[1:] * 10**0.6)
    averaged, levels = np.transpose(channels[3]["bepByPower"])
    assert averaged[40] == pytest.approx(link.power_for_bep(levels[40]), rel=1e-4)
    for asked in (1e-5, 0.001, 0.0317, 0.3):
        taken = np.interp(-np.log(asked), -np.log(bep), power)
        assert taken == pytest.approx(link.power_for_bep(asked, gain=1.0), rel=3e-3)
        assert taken != pytest.approx(Link(gain_db=-4.0).power_for_bep(asked, gain=1.0), rel=0.1)
    assert explorer.config["airtimeS"] == pytest.approx(2048 * 16 / 1e6)
    begun, (first, second) = State.of(explorer.config["start"]), explorer.config["groups"][1][:2]
    assert (begun.server_prompt, begun.users[0].prompt, begun.users[1].prompt) == (first, second, first)
    assert [user.bep for user in begun.users] == [0.0, 0.1] and begun.shared_steps == 3
    assert begun.receiver == "noise-aware" and [user.restart for user in begun.users] == [None, 850]
    found = explorer.choice("optimum", replace(begun, channel=0, users=(begun.users[1], begun.users[0])))
    assert found.beps == pytest.approx([float(link.bep(p, gain=10**-0.6)) for p in found.powers_w])


@pytest.mark.parametrize(
    ("start", "match"),
    [
        ({"shared": 2}, "start='shared'"),
        ({"group": 3}, "group"),
        ({"wants": [0, 9]}, "wants"),
        ({"receiver": "modern"}, r"start\['receiver'\]='modern'.*paper.*noise-aware"),
    ],
)
def test_a_start_that_cannot_be_is_refused(embedded, agent, start, match):
    with pytest.raises(InvalidArgument, match=match):
        Explorer(embedded, agent, start=start)


def test_the_panel_is_one_module():
    text = module("preact", "common", "sources", "play", "parts", "explorer")
    assert not any(line.startswith("import") for line in text.splitlines())
    assert text.count("export default") == 1 and "function kernelSource" in text


def test_a_notebook_shows_the_same_text_every_time(explorer):
    assert repr(explorer) == "Explorer()"
