import math

import numpy as np
import pytest
from PIL import Image

from rlli_core import Link
from rlli_core.embedded.judge import build
from rlli_core.errors import InvalidArgument
from rlli_core.qoe import Persona, PersonaAgent, agent_table, psnr, score_table, ssim
from rlli_core.qoe.judge import Judge

from . import models


@pytest.fixture(scope="module")
def judge():
    return Judge(build())


def test_a_row_holds_the_scores_of_its_record(chain, judge):
    records = chain.sweep("a", ["b"], [1, 2], [2], bep=[None, 0.1], seeds=[0, 1], link=Link(), progress=False).records
    table = score_table(records, judge, ["tiger", "dog"])
    assert len(table) == len(records) == 8
    for record, (_, row) in zip(records, table.iterrows()):
        verdict = judge.verdict(record.image)
        assert row.p_tiger == pytest.approx(verdict.objects["tiger"], rel=1e-4)
        assert row.shared_fraction == record.shared_steps / (record.shared_steps + 2)
        if record.bep is None:
            assert math.isnan(row.bep) and math.isnan(row.psnr_db)
            clean = record.image
        else:  # its unsent twin
            clean = next(
                r.image for r in records if (r.bep, r.seed, r.shared_steps) == (None, record.seed, record.shared_steps)
            )
            assert row.psnr_db == psnr(record.image, clean) and row.ssim == ssim(record.image, clean)


def test_an_unknown_object_is_refused(chain, judge):
    records = chain.sweep("a", ["b"], [1], [1], progress=False).records
    with pytest.raises(InvalidArgument, match="zebra"):
        score_table(records, judge, ["zebra"])


def test_records_without_images_are_refused(chain, judge):
    records = chain.sweep("a", ["b"], [1], [1], output_type="latent", progress=False).records
    with pytest.raises(InvalidArgument, match="without images"):
        score_table(records, judge, ["tiger"])


def test_agents_score_every_picture_for_the_wish_of_its_device(chain):
    agent, everyone = PersonaAgent(*models.llava(), device="cpu", least_mass=0), {n: Persona.named(n) for n in ("GA1", "GA2")}
    records = chain.sweep("a", ["b", "c"], [1], [2], bep=[0.1], seeds=[0, 1], link=Link(), progress=False).records
    table = agent_table(records, agent, everyone)
    assert len(table) == 2 * len(records) and set(table.person) == {"GA1", "GA2"}
    for name, persona in everyone.items():
        for record, (_, row) in zip(records, table[table.person == name].iterrows()):
            assert row.score == pytest.approx(agent.score(record.image, persona, record.device_prompt).value, rel=1e-4)
            assert (row.device_prompt, row.seed, row.bep) == (record.device_prompt, record.seed, 0.1)
    unseen = chain.sweep("a", ["b"], [1], [1], output_type="latent", progress=False).records
    with pytest.raises(InvalidArgument, match="without images"):
        agent_table(unseen, agent, everyone)


def test_the_judge_measures_distances_by_what_it_decides_from(judge):
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)) for _ in range(2)]
    images.append(Image.new("RGB", (128, 128), "red"))
    features = judge.features(images)
    assert np.allclose(judge.model.classifier(features).detach()[:, : len(judge.objects)], judge.logits(images)[0], atol=1e-4)
    same, other = judge.distances([images[0], images[0]], [images[0], images[2]])
    cosine = float(features[0] @ features[2] / features[0].norm() / features[2].norm())
    assert same == pytest.approx(0, abs=1e-5) and other == pytest.approx(1 - cosine, abs=1e-5) and other > 0.001
    with pytest.raises(InvalidArgument, match="as many as the images"):
        judge.distances(images, images[:1])
