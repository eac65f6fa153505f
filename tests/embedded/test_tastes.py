import numpy as np
import pytest
from PIL import Image, ImageFilter

from rlli_core.embedded import scenes, tastes
from rlli_core.files import DATA
from rlli_core.qoe import Persona
from rlli_core.qoe.judge import Verdict
from rlli_core.qoe.persona import TRAITS

AVERAGE = Persona(0.5, 0.5, 0.5, 0.5, 0.5)
SCALE = {"mean": np.full(8, 0.5), "std": np.full(8, 0.25), "edge": 0.1, "calm": 0.01}


@pytest.fixture(autouse=True)
def scale(monkeypatch):
    monkeypatch.setattr(tastes, "scale", lambda: SCALE)


def verdict(place="bush", **objects):
    rest = (1 - sum(objects.values())) / (len(scenes.NAMES) - len(objects))
    return Verdict({n: objects.get(n, rest) for n in scenes.NAMES}, {p: float(p == place) for p in scenes.PLACES})


def plain(colour):
    return Image.new("RGB", (128, 128), colour)


def feature(name, image, seen=None):
    return tastes.features(image, seen or verdict(dog=0.9))[tastes.FEATURES.index(name)]


def test_features_measure_what_their_names_say():
    assert feature("saturation", plain("red")) == 1 and feature("saturation", plain("grey")) == 0
    assert feature("orange", plain((255, 128, 0))) == 1 and feature("orange", plain((0, 128, 255))) == 0
    assert feature("brightness", plain("white")) == 1 and feature("brightness", plain("black")) == 0
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (128, 128, 3), dtype=np.uint8))
    assert (
        feature("detail", noise)
        > feature("detail", noise.filter(ImageFilter.GaussianBlur(3)))
        > feature("detail", plain("red"))
    )
    bars = Image.fromarray(np.tile(np.where(np.arange(128) % 16 < 8, 0, 255).astype(np.uint8), (128, 1)))
    assert (
        feature("order", bars) > 0.99 > 0.6 > feature("order", noise) > feature("order", bars.rotate(45).crop((32, 32, 96, 96)))
    )
    assert feature("people", plain("red"), verdict(man=0.7)) == 0.7
    assert feature("threat", plain("red"), verdict(tiger=0.5, crocodile=0.25)) > 0.74
    assert feature("novelty", plain("red"), verdict(tiger=0.5, dog=0.5)) == 1
    assert feature("novelty", plain("red"), verdict(tiger=1.0)) == pytest.approx(0, abs=1e-6)
    assert feature("novelty", plain("red"), verdict()) < 0.01  # neither this nor that is not a hybrid


@pytest.mark.parametrize("link", tastes.EFFECTS, ids=lambda link: f"{link.trait}-{link.feature}")
def test_each_link_acts_with_its_sign_and_size(link):
    found = SCALE["mean"].copy()
    found[tastes.FEATURES.index(link.feature)] += SCALE["std"][0]  # one standard deviation more
    more = Persona(**(dict(zip(TRAITS, AVERAGE.vector)) | {link.trait: 0.9}))
    assert tastes.preference(found, more.vector) - tastes.preference(found, AVERAGE.vector) == pytest.approx(
        np.clip(0.75 + tastes.GAIN * 0.8 * link.weight, 0.3, 1) - 0.75
    )


def test_links_are_known_names_used_once_and_have_a_source():
    pairs = [(link.trait, link.feature) for link in tastes.EFFECTS]
    assert len(set(pairs)) == len(pairs) and {f for _, f in pairs} == set(tastes.FEATURES)
    assert {link.evidence for link in tastes.EFFECTS} == {"attributed", "self", "sign"}
    assert all(abs(link.weight) == 0.3 for link in tastes.EFFECTS if link.evidence == "sign")
    known = (DATA.parent / "book" / "references.bib").read_text()
    assert all(f"{{{link.source}," in known for link in tastes.EFFECTS)


def test_quality_is_fidelity_to_the_prompt_times_workmanship():
    seen = verdict("bush", tiger=0.81)
    assert tastes.quality(seen, 1.0, "A tiger sits in front of a bush") == pytest.approx(0.9)
    assert tastes.quality(seen, 0.5, "A tiger sits in front of a bush") == pytest.approx(0.45)
    assert tastes.quality(seen, 1.0, "a tiger on the beach") == 0
    assert tastes.quality(seen, 1.0, "a dog in front of a bush") < 0.1
    assert tastes.quality(verdict("bush", tiger=0.3, dog=0.51), 1.0, "a dog and a tiger by a bush") == pytest.approx(0.9)
    assert tastes.quality(seen, 1.0, "something nice") == pytest.approx(0.9)  # it names nothing that could be missing


def test_workmanship_falls_with_blur_and_with_noise():
    rng = np.random.default_rng(0)
    drawn = np.full((128, 128, 3), 60, np.uint8)
    drawn[32:96, 32:96] = 200
    sharp = Image.fromarray(drawn)
    noisy = [Image.fromarray(np.clip(drawn + rng.normal(0, s, drawn.shape), 0, 255).astype(np.uint8)) for s in (4, 12, 40)]
    assert tastes.sharpness(sharp) == 1 and tastes.noise(sharp) == 0 and tastes.workmanship(sharp) == 1
    assert 0 < tastes.noise(noisy[0]) < tastes.noise(noisy[1]) < tastes.noise(noisy[2]) == 1
    blurred = [tastes.workmanship(sharp.filter(ImageFilter.GaussianBlur(r))) for r in (0, 4, 8)]
    assert blurred[0] > blurred[1] > blurred[2] >= 0.5
    assert tastes.workmanship(noisy[2]) == pytest.approx(0.5)  # noise has sharp edges: it halves, no more
    assert tastes.workmanship(plain("grey")) == pytest.approx(0.5)


@pytest.mark.parametrize("index", range(40))
def test_what_a_caption_asks_for_is_read_back(index):
    drawn = scenes.scene(8, index)
    assert tastes.asked_for(drawn.caption) == (tuple(filter(None, (drawn.object, drawn.second))), drawn.place)


def test_ratings_are_quality_times_preference():
    class Seer:
        def verdicts(self, images):
            return [verdict("bush", tiger=0.81) for _ in images]

    people = [AVERAGE, Persona.named("GA1"), Persona.named("GA2")]
    image = plain((200, 100, 30))
    table = tastes.ratings([image, image], ["a tiger in front of a bush", "a tiger"], people, Seer())
    found = tastes.features(image, verdict("bush", tiger=0.81))
    assert table.shape == (2, 3) and len(set(table[0])) == 3
    assert table[0] == pytest.approx([0.45 * tastes.preference(found, person.vector) for person in people])
