"""The atlas holds what the chain makes and the agent says, and its index fits its sheets."""

import numpy as np
import pytest
from PIL import Image

from rlli_core import Link, Persona, SplitPlan
from rlli_core.allocation import Policy, Service, ServiceConfig, TableQoE
from rlli_core.allocation.prompts import groups
from rlli_core.book.browser import atlas
from rlli_core.channel import MODULATIONS

SHEETS_MB = 24  # what the pictures may take


@pytest.fixture(scope="module")
def index():
    return atlas.read()


def test_sheets_and_scores_have_a_place_for_every_plan_and_error_rate(index):
    assert [group["number"] for group in index["groups"]] == list(atlas.GROUPS)
    for group in index["groups"]:
        assert tuple(group["prompts"]) == groups()[group["number"]]
        for name, scores in group["scores"].items():
            seed, place, shared = map(int, name.split("-"))
            assert np.shape(scores) == (len(atlas.plans(shared)), len(atlas.beps(shared)), len(index["people"]))
            with Image.open(atlas.ATLAS / f"{seed}-{group['number']}-{place}-{shared}.webp") as sheet:
                assert sheet.size == (128 * len(atlas.beps(shared)), 128 * len(atlas.plans(shared)))
    size = sum(path.stat().st_size for path in atlas.ATLAS.glob("*.webp")) / 1e6
    assert size < SHEETS_MB


def test_a_picture_of_it_is_drawn_again(index, embedded, agent):
    """A short chain beside a long one, on a noisy link: the hardest place to get right."""
    group, plan, bep = index["groups"][1], SplitPlan(2, (8, 4)), 0.06
    server, wanted = group["prompts"][:2]
    got = Link().transmit(embedded.server_denoise(server, plan, atlas.SEEDS[1]), bep=bep, seed=atlas.SEEDS[1])
    image = embedded.device_denoise(got, wanted, plan, device=1)
    row, column = index["plans"]["2"].index([8, 4]), index["beps"].index(bep)
    with Image.open(atlas.ATLAS / f"{atlas.SEEDS[1]}-{group['number']}-1-2.webp") as sheet:
        kept = sheet.crop((128 * column, 128 * row, 128 * column + 128, 128 * row + 128)).convert("RGB")
    assert np.abs(np.asarray(kept, int) - np.asarray(image, int)).mean() < 6  # of 255: what the compression may cost
    for k in (0, 4):
        score = agent.score(image, Persona.named(index["people"][k]), wanted).value
        assert group["scores"][f"{atlas.SEEDS[1]}-1-2"][row][column][k] / 1000 == pytest.approx(score, abs=0.005)


def cell(name, row, column):
    with Image.open(atlas.ATLAS / f"{name}.webp") as sheet:
        return np.asarray(sheet.convert("RGB").crop((128 * column, 128 * row, 128 * column + 128, 128 * row + 128)), int)


def test_sheets_of_receiver_and_starts_have_a_place_for_all_that_can_be(index):
    for group in index["groups"]:
        for kind, columns in (("noise_aware", len(atlas.BEPS) - 1), ("restart", len(atlas.RESTARTS))):
            there = {name for name in group["scores"] if kind in atlas.kinds(group["number"], int(name.split("-")[2]))}
            assert group[kind].keys() == there
            for name, scores in group[kind].items():
                (seed, place, shared), scores = map(int, name.split("-")), np.array(scores)
                assert scores.shape == (len(atlas.plans(shared)), columns, len(index["people"])) and scores.max() <= 1000
                with Image.open(atlas.ATLAS / f"{seed}-{group['number']}-{place}-{shared}-{kind}.webp") as sheet:
                    assert sheet.size == (128 * columns, 128 * len(scores))
                for row, (longest, _) in enumerate(atlas.plans(shared)):
                    steps = atlas.DEVICE_STEPS.index(longest)
                    lowest = group["effective"][str(seed)][str(shared)][steps][0] if shared else 0
                    can_be = [restart >= lowest for restart in atlas.RESTARTS] if kind == "restart" else [True] * columns
                    assert (scores[row] >= 0).all(axis=1).tolist() == can_be
                    assert (scores[row] == -1).all(axis=1).tolist() == [not one for one in can_be]


def test_the_best_start_is_that_of_the_highest_mean_over_everything(index):
    """Worked out again from the table of all scores and the sheets of late starts."""
    table = atlas.scores()
    alone = table[table.shared_steps == 0].groupby("device_steps").score.mean()
    assert set(index["best_starts"]) == {str(steps) for steps in atlas.DEVICE_STEPS}
    for row, steps in enumerate(atlas.DEVICE_STEPS):
        sheets = [scores for g in index["groups"] for name, scores in g["restart"].items() if name.endswith("-0")]
        late = np.mean([scores[row] for scores in sheets], axis=(0, 2)) / 1000
        means = dict(zip((None, *atlas.RESTARTS), (alone[steps], *late)))
        assert means[index["best_starts"][str(steps)]] == pytest.approx(max(means.values()), abs=1e-9)


@pytest.mark.parametrize(
    ("kind", "shared", "plan", "bep", "restart"),
    [("noise_aware", 3, (8, 4), 0.15, None), ("restart", 2, (8, 2), 0.0, 870), ("restart", 0, (4, 4), 0.0, 700)],
)
def test_a_picture_of_receiver_and_starts_is_drawn_again(index, embedded, agent, kind, shared, plan, bep, restart):
    group, wanted = index["groups"][0], index["groups"][0]["prompts"][1]
    row = index["plans"][str(shared)].index(list(plan))
    column = atlas.RESTARTS.index(restart) if restart else atlas.BEPS.index(bep) - 1
    if shared:
        sent = embedded.server_denoise(group["prompts"][0], SplitPlan(shared, plan), atlas.SEEDS[1])
        got = Link().transmit(sent, bep=bep, seed=atlas.SEEDS[1])
        image = embedded.device_denoise(got, wanted, device=1, receiver="noise-aware", restart=restart)
        lowest = embedded.restart_range(got, "noise-aware")[0]
        assert (
            group["effective"][str(atlas.SEEDS[1])][str(shared)][atlas.DEVICE_STEPS.index(plan[0])][atlas.BEPS.index(bep)]
            == lowest
        )
        paper = embedded.device_denoise(got, wanted, device=1)
    else:
        image = embedded.generate(wanted, plan[1], atlas.SEEDS[1], start=restart)
        paper = embedded.generate(wanted, plan[1], atlas.SEEDS[1])
    kept = cell(f"{atlas.SEEDS[1]}-{group['number']}-1-{shared}-{kind}", row, column)
    assert np.abs(kept - np.asarray(image, int)).mean() < 6 < np.abs(kept - np.asarray(paper, int)).mean()
    for k in (0, 4):
        score = agent.score(image, Persona.named(index["people"][k]), wanted).value
        assert group[kind][f"{atlas.SEEDS[1]}-1-{shared}"][row][column][k] / 1000 == pytest.approx(score, abs=0.005)


def test_starts_below_the_hand_off_have_no_picture(embedded, index):
    """Of a chain of nine steps only the last of `RESTARTS` lies above the level after one of them."""
    server, wanted = index["groups"][0]["prompts"][:2]
    rows = atlas.restarted(embedded, server, wanted, 1)
    there = {plan: [image is not None for image in row] for plan, row in zip(atlas.plans(1), rows, strict=True)}
    assert there[(1, 1)] == [True] * 4 and there[(4, 2)] == there[(4, 4)] == [False, True, True, True]
    assert all(there[(8, t)] == [False, False, False, True] for t in atlas.DEVICE_STEPS)


def test_a_row_is_batched_and_gets_the_flips_of_one_seed(embedded, index):
    """What the atlas takes from a round is what the single calls give, up to the rounding of batches."""
    server, wanted = index["groups"][0]["prompts"][:2]
    made = atlas.rounds(embedded, server, wanted, 6)
    rows, plan = atlas.pictures(made, 6), SplitPlan(6, (8, 2))
    assert [len(row) for row in rows] == [len(atlas.BEPS)] * len(atlas.plans(6))
    sent = embedded.server_denoise(server, plan, atlas.SEEDS[0])
    assert made[-1].sent.latent.equal(sent.latent)
    for column in (1, 5):
        got = Link().transmit(sent, bep=atlas.BEPS[column], seed=atlas.SEEDS[0])
        assert made[-1].received[column].latent.equal(got.latent)
        one = embedded.device_denoise(got, wanted, plan, device=1)
        row = atlas.plans(6).index((8, 2))
        assert np.abs(np.asarray(rows[row][column], int) - np.asarray(one, int)).max() <= 1


@pytest.mark.parametrize("modulation", MODULATIONS)
def test_the_table_of_a_link_is_monotone_and_near_the_link(modulation):
    link = Link(modulation=modulation, gain_db=3.0)
    power, bep = np.transpose(atlas.bep_by_power(link))
    assert power[0] == 0 and bep[0] == 0.5 and (np.diff(power) > 0).all() and (np.diff(bep) < 0).all()
    for asked in np.geomspace(atlas.LEAST_BEP, 0.3, 200):
        assert np.interp(-np.log(asked), -np.log(bep), power) == pytest.approx(link.power_for_bep(asked, gain=1.0), rel=3e-3)
    for watts in np.linspace(0, power[-1], 200):
        assert np.exp(np.interp(watts, power, np.log(bep))) == pytest.approx(link.bep(watts, gain=1.0), rel=2e-2)
    assert atlas.bep_by_power(Link()) == atlas.read()["bep_by_power"]


def test_choices_are_those_of_the_policy(index):
    group, people = index["groups"][0], index["people"]
    service = Service(ServiceConfig(users=2), TableQoE.load())
    state = service.state(
        [group["prompts"][0], group["prompts"][1]], [Persona.named(people[0]), Persona.named(people[1])], [1.0, 1.0]
    )
    made = service.within_budget(state, Policy.from_pretrained("g-ddpg-2-users", service).act(state))
    kept = group["policy"][f"1-0-1-{index['gains_db'].index(0.0)}"]
    assert kept[:3] == [made.shared_steps[0], *made.device_steps[0]] and kept[3:] == pytest.approx(made.power_w[0], abs=0.06)
    for who in ("policy", "optimum"):
        spent = [0.5 * t0 + 0.1 * (p1 + p2) for t0, _, _, p1, p2 in group[who].values()]
        assert len(spent) == 3 * len(people) ** 2 * len(index["gains_db"]) and max(spent) <= 20.02


def test_effects_compare_the_ends_of_each_slider():
    table = atlas.scores()
    assert set(table.person) == set(atlas.people()) and table.score.between(0, 1).all()
    made = atlas.effects(table)
    some = table[(table.person == "GA1") & (table.shared_steps > 0) & (table.longest == 8)].groupby("bep").score.mean()
    assert made.loc["GA1", "bit_errors"] == pytest.approx(some[0.15] - some[0.0])
    assert (made.bit_errors < 0).all()
