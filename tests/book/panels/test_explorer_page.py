"""The explorer's panel in a browser without kernel and network: precomputed pictures first, then the model itself."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from rlli_core import Link, Persona, SplitPlan
from rlli_core.book.browser import atlas
from rlli_core.book.panels.explorer import BEPS, RESTARTS, Explorer
from rlli_core.book.panels.messages import State
from rlli_core.book.panels.widget import STYLE, module
from rlli_core.qoe.persona import people

from ..conftest import PAGE, PATIENCE_MS


@pytest.fixture(scope="module")
def site(exported, tmp_path_factory):
    """A page with the panel, and what the built book has in _static/."""
    folder = tmp_path_factory.mktemp("panel")
    code = module("common", "sources", "explorer").replace("export default { render };", "const panel = { render };")
    config = json.dumps(Explorer().config)
    (folder / "index.html").write_text(PAGE.format(css=STYLE, config=config, module=code))
    for name in ("engine", "onnxruntime"):
        shutil.copytree(exported / name, folder / "_static" / name)
    shutil.copytree(atlas.ATLAS, folder / "_static" / "atlas")
    (folder / "_static" / "atlas" / "atlas.js").write_text(f"globalThis.rlliAtlas = {json.dumps(atlas.read())};")
    return folder


@pytest.fixture(scope="module")
def page(site, serve, open_page):
    page = open_page(f"{serve(site)}/index.html")
    page.set_default_timeout(PATIENCE_MS)
    return page


def settle(page):
    page.wait_for_function("!document.querySelector('.rlli').classList.contains('busy')", timeout=PATIENCE_MS)


def picture(page, number):
    """Pixels of one of the five pictures, (128, 128, 3) uint8."""
    read = "document.querySelectorAll('.rlli canvas')[n].getContext('2d').getImageData(0, 0, 128, 128).data"
    pixels = json.loads(
        page.evaluate(f"n => JSON.stringify(Array.from({read}))", number)
    )  # playwright's own way takes a second
    return np.array(pixels, np.uint8).reshape(128, 128, 4)[..., :3]


def slide(page, label, value, number=0):
    """Move a slider to its place `value`, as dragging does."""
    control = page.get_by_label(label, exact=False).nth(number)
    control.evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", value)
    settle(page)


def write(page, label, text, number=0):
    """Put a text in a field, or choose it in a list."""
    control = page.get_by_label(label).nth(number)
    control.evaluate("(e, text) => { e.value = text; e.dispatchEvent(new Event(e.list ? 'change' : 'input')); }", text)
    settle(page)


def same_scores(page, agent, *wishes):
    """Whether each device's caption has the agent's scores, as Python has them, of the picture that stands above it."""
    for k, (person, prompt) in enumerate(wishes):
        image = Image.fromarray(picture(page, 2 + 2 * k))
        expected = {name: agent.score(image, Persona.named(name), prompt).value for name in people()}
        said, shown, others = page.locator("figcaption").nth(2 + 2 * k).inner_text().split("\n")
        assert said == f"device {k + 1}: {prompt}" and shown.startswith(f"{person}: ")
        assert float(shown.removeprefix(f"{person}: ")) == pytest.approx(expected[person], abs=0.0051)
        assert {
            name: float(value)
            for name, value in (one.replace("\N{NO-BREAK SPACE}", " ").split(": ") for one in others.split(" · "))
        } == pytest.approx(expected, abs=0.0051)


def note(page):
    return page.locator(".rlli .note").inner_text()


def test_it_opens_with_pictures_scores_and_a_word_on_where_they_are_from(page):
    settle(page)
    assert all(np.ptp(picture(page, n)) > 100 for n in range(5))
    assert "Worked out beforehand: t₀ = 3, t₁ = 4, t₂ = 8, bit errors 3 % and 3 %" in note(page)
    index = atlas.read()
    row = index["plans"]["3"].index([8, 8])
    expected = (
        index["groups"][0]["scores"]["0-3"][row][2][index["people"].index("GA2")] / 1000
    )  # device 2 starts with the same wish
    assert f"{index['people'][1]}: " in page.locator("figcaption").nth(4).inner_text()
    page.get_by_label("wants").nth(1).fill(index["groups"][0]["prompts"][0])
    page.get_by_label("wants").nth(1).dispatch_event("change")
    settle(page)
    assert f"GA2: {expected:.2f}" in page.locator("figcaption").nth(4).inner_text()
    page.get_by_label("wants").nth(1).fill(index["groups"][0]["prompts"][1])
    page.get_by_label("wants").nth(1).dispatch_event("change")
    settle(page)


@pytest.mark.parametrize(
    ("label", "changed"), [("shared steps", {0, 1, 2, 3, 4}), ("own steps t₁", {2}), ("bit errors", {1, 2})]
)
def test_sliders_change_the_pictures_they_are_about(page, label, changed):
    slide(page, "bit errors", 4)
    before = [picture(page, n) for n in range(5)]
    slide(page, label, {"shared steps": 6, "own steps t₁": 1, "bit errors": 10}[label])
    assert {n for n in range(5) if (picture(page, n) != before[n]).any()} == changed
    slide(page, label, {"shared steps": 3, "own steps t₁": 3, "bit errors": 4}[label])
    assert all((picture(page, n) == before[n]).all() for n in range(5))


def test_the_seed_waits_for_the_model(page):
    assert page.get_by_label("seed").is_disabled()  # worked out beforehand is one seed


def test_a_point_between_is_named_as_the_nearest(page):
    slide(page, "own steps t₁", 4)  # five steps
    assert "Nearest point worked out beforehand" in note(page) and "t₁ = 4" in note(page)
    slide(page, "own steps t₁", 3)


def test_the_keyboard_moves_a_slider(page):
    control = page.get_by_label("shared steps")
    control.focus()
    page.keyboard.press("ArrowLeft")
    settle(page)
    assert control.get_attribute("aria-valuetext") == "2" and "t₀ = 2" in note(page)
    page.keyboard.press("ArrowRight")
    settle(page)


def test_policy_and_optimum_set_the_sliders(page):
    index = atlas.read()
    case = "-".join(map(str, (1, 0, 1, index["gains_db"].index(0.0))))  # the second prompt, the first two people
    for who, name in (("policy", "What the policy would choose"), ("optimum", "The optimum")):
        page.get_by_role("button", name=name).click()
        settle(page)
        for label, value in zip(("shared steps", "own steps t₁", "own steps t₂"), index["groups"][0][who][case]):
            assert page.get_by_label(label).get_attribute("aria-valuetext") == f"{value:g}"
        assert "over its budget" not in note(page)
    slide(page, "shared steps", 3)
    slide(page, "own steps t₁", 3)
    slide(page, "own steps t₂", 7)
    for number in (0, 1):
        slide(page, "bit errors", 4, number)


def test_a_users_link_sets_the_powers_and_the_atlas_link_the_choices(site, serve, open_page, embedded, agent):
    """The panel of another modulation beside the same atlas, whose choices were made for the default link."""
    link = Link(modulation="noncoherent_bfsk", gain_db=-14.0)
    text = (site / "index.html").read_text()
    config = json.dumps(Explorer(embedded, agent, link, start={"beps": [0.06, 0.0]}).config)
    start = text.index("globalThis.config = ")
    (site / "other.html").write_text(text[:start] + f"globalThis.config = {config};" + text[text.index("</script>", start) :])
    page = open_page(f"{serve(site)}/other.html")
    page.set_default_timeout(PATIENCE_MS)
    settle(page)
    for gain_db in atlas.GAINS_DB:
        slide(page, "channel gain", atlas.GAINS_DB.index(gain_db))
        watts = [link.power_for_bep(bep, gain=10 ** (gain_db / 10)) for bep in (0.06, atlas.LEAST_BEP)]
        said = [float(part) for part in re.findall(r"(\d+) W \(", note(page))]
        assert said == pytest.approx(watts, rel=3e-3, abs=0.51)
        spent = 0.5 * 3 + 0.1 * sum(watts)
        assert float(re.search(r"spends ([\d.]+) of", note(page))[1]) == pytest.approx(spent, rel=3e-3, abs=0.051)
        assert ("over its budget" in note(page)) == (spent > 20.05)
    slide(page, "channel gain", atlas.GAINS_DB.index(0.0))
    page.get_by_role("button", name="The optimum").click()
    page.wait_for_function("document.querySelector('.rlli .note').innerText.startsWith('Chosen are')")
    settle(page)
    *_, first, second = atlas.read()["groups"][0]["optimum"]["1-0-1-1"]
    for k, power in enumerate((first, second)):
        bep = float(Link().bep(power, gain=1.0))
        near = min(BEPS, key=lambda one: abs(one - bep))
        shown = page.get_by_label("bit errors").nth(k).get_attribute("aria-valuetext")
        assert float(shown.removesuffix(" %")) / 100 == pytest.approx(near)
    assert page.problems == []


def test_names_and_prompts_are_shown_as_they_stand_and_never_run(site, serve, open_page):
    """Names come from a file that readers add to, prompts from readers; a kernel and the atlas answer with both."""
    attack = "<img src=x onerror=globalThis.hit=1>"
    folder = site / "hostile"
    shutil.copytree(site / "_static" / "atlas", folder / "_static" / "atlas")
    for name, file in (("index.html", "index.html"), ("_static/atlas/atlas.js",) * 2):
        text = (site / file).read_text().replace('"GA1"', json.dumps(attack))
        (folder / name).write_text(text.replace('"a tiger in front of a bush"', json.dumps(f"tiger {attack}")))
    page = open_page(f"{serve(folder)}/index.html")
    settle(page)
    assert "Worked out beforehand" in note(page)
    shown = page.locator("figcaption").nth(2).inner_text()
    assert f"device 1: tiger {attack}" in shown and f"{attack}: 0." in shown
    assert f"tiger {attack} {attack}:" in " ".join(page.locator("canvas").nth(2).get_attribute("aria-label").split())
    answering = """get: () => globalThis.config, heard: [], on: (_, f) => (globalThis.answer = f),
        send: (content) => setTimeout(() => [{ kind: "picture", stage: "image", device: 0, scores: { [NAME]: 0.5 } }, { kind: "done", value: NAME }]
            .forEach((one) => globalThis.answer({ id: content.id, ...one }, [])))"""
    text = (folder / "index.html").read_text().replace(' data-content_root="./"', "")
    (folder / "kernel.html").write_text(
        text.replace("get: () => globalThis.config", answering.replace("NAME", json.dumps(attack)))
    )
    live = open_page(f"{serve(folder)}/kernel.html")
    live.get_by_text(f"{attack}: 0.50", exact=True).wait_for(timeout=PATIENCE_MS)
    live.wait_for_function("name => document.querySelector('.rlli .note').innerText.endsWith(name)", arg=attack)
    for one in (page, live):
        assert one.locator(".rlli img").count() == 0 and one.evaluate("globalThis.hit") is None and one.problems == []


def cell(name, row, column):
    """Pixels of one picture of the atlas."""
    with Image.open(atlas.ATLAS / f"{name}.webp") as sheet:
        return np.asarray(sheet.convert("RGB").crop((128 * column, 128 * row, 128 * column + 128, 128 * row + 128)), int)


def switch(page, on):
    page.get_by_label("noise-aware devices").set_checked(on)
    settle(page)


def start(page, value, number=0):
    """Move a device's start to the place with that timestep, or where the receiver leaves it; others are not there."""
    slide(page, "start", 0 if value is None else places(page, number).index(value), number)


def places(page, number=0):
    """Timesteps at which a device may start, as the slider has them."""
    control = page.get_by_label("start").nth(number)
    found = [None]
    for place in range(1, int(control.get_attribute("max")) + 1):
        control.evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", place)
        found.append(int(re.search(r"\d+", page.locator(".rlli .start output").nth(number).inner_text())[0]))
    slide(page, "start", 0, number)
    return found


def started(page, number=0):
    return page.locator(".rlli .start output").nth(number).inner_text()


def near(shown, kept):
    return np.abs(shown.astype(int) - kept).mean() < 2  # browser and Python read a WebP's colours not quite alike


def test_the_noise_aware_receiver_was_worked_out_too(page):
    group, row = atlas.read()["groups"][0], atlas.read()["plans"]["3"].index([8, 4])
    slide(page, "bit errors", 10)
    paper, got = picture(page, 2), picture(page, 1)
    assert near(paper, cell("0-0-3", row, 5)) and "noise-aware" not in note(page)
    lowest = group["effective"]["3"][3]
    assert started(page) == f"where the server stopped: timestep {lowest[0]}"
    switch(page, True)
    assert (picture(page, 1) == got).all() and near(picture(page, 2), cell("0-0-3-noise_aware", row, 4))
    assert not near(paper, cell("0-0-3-noise_aware", row, 4))
    assert "Worked out beforehand: t₀ = 3, t₁ = 4, t₂ = 8, bit errors 15 % and 3 %, noise-aware, seed 0" in note(page)
    assert started(page) == f"where the noise puts it: timestep {lowest[5]}" and lowest[5] > lowest[0]
    score = group["noise_aware"]["0-3"][row][4][0] / 1000
    assert f"GA1: {score:.2f}" in page.locator("figcaption").nth(2).inner_text()
    slide(page, "bit errors", 0)
    slide(page, "bit errors", 0, 1)
    clean = picture(page, 2)
    assert started(page) == f"where the server stopped: timestep {lowest[0]}" and "noise-aware" not in note(page)
    switch(page, False)
    assert (picture(page, 2) == clean).all()
    for number in (0, 1):
        slide(page, "bit errors", 4, number)


def test_earlier_starts_were_worked_out_from_the_lowest_on(page):
    index = atlas.read()
    row = index["plans"]["3"].index([8, 4])
    assert places(page) == [None, *(t for t in index["restarts"] if t >= index["groups"][0]["effective"]["3"][3][0])]
    start(page, 800)
    assert near(picture(page, 2), cell("0-0-3-restart", row, index["restarts"].index(800)))
    assert near(picture(page, 1), cell("0-sent-3", 3, 0))  # worked out without bit errors, which is told
    assert "Nearest point" in note(page) and "bit errors 0 % and 3 %, device 1 starts at 800" in note(page)
    assert started(page).startswith("earlier: fresh noise to 800, lowest 7")
    score = index["groups"][0]["restart"]["0-3"][row][index["restarts"].index(800)][0] / 1000
    assert f"GA1: {score:.2f}" in page.locator("figcaption").nth(2).inner_text()
    slide(page, "shared steps", 1)  # a latent with more noise: the start gives way to the nearest that is possible
    assert "device 1 starts at 900" in note(page) and places(page) == [None, 900]
    slide(page, "shared steps", 0)
    assert places(page) == [None, *index["restarts"]] and started(page) == "at full noise: nothing is shared"
    start(page, 700)
    assert started(page) == "late: bare noise taken as of timestep 700" and "Worked out beforehand: t₀ = 0" in note(page)
    assert near(picture(page, 2), cell("0-0-0-restart", index["plans"]["0"].index([4, 4]), 0))
    slide(page, "shared steps", 3)
    start(page, None)
    assert "Worked out beforehand: t₀ = 3" in note(page) and "starts" not in note(page)


def test_where_the_other_receiver_was_not_worked_out_the_panel_says_so(page):
    groups = atlas.read()["groups"]
    start(page, 900)
    switch(page, True)
    write(page, "prompts", " · ".join(groups[1]["prompts"]))
    assert page.get_by_label("start").nth(0).is_disabled() and started(page) == "where the noise puts it"
    assert "Nearest point" in note(page) and "as the paper receives" in note(page) and "here run the model" in note(page)
    row = atlas.read()["plans"]["3"].index([8, 4])
    assert near(picture(page, 2), cell(f"{groups[1]['number']}-0-3", row, 2))
    write(page, "prompts", " · ".join(groups[0]["prompts"]))
    assert page.get_by_label("start").nth(0).is_enabled() and "here run the model" not in note(page)
    switch(page, False)


KERNEL = """get: () => globalThis.config, on: (_, hear) => (globalThis.hear = hear), send: (content) => {
  (globalThis.heard ??= []).push(content);
  const told = (more) => setTimeout(() => globalThis.hear({ id: content.id, ...more }, []));
  if (content.kind !== "run") return;
  const restart = content.state.users[1].restart;
  told({ kind: "picture", stage: "received", device: 1, lowest: 712, scores: {} });
  told(restart !== null && restart < 712 ? { kind: "error", value: "refused" } : { kind: "done", value: "made" });
}"""


def test_a_start_that_a_kernel_would_refuse_gives_way(site, serve, open_page):
    """What arrived has more noise than the slider's start: it is moved up and asked for again, and no error is shown."""
    text = (site / "index.html").read_text().replace(' data-content_root="./"', "")
    (site / "starts.html").write_text(text.replace("get: () => globalThis.config", KERNEL))
    page = open_page(f"{serve(site)}/starts.html")
    settle(page)
    assert started(page, 1) == "where the server stopped: timestep 712" and note(page).endswith("made")
    assert int(page.get_by_label("start").nth(1).get_attribute("max")) == len([t for t in RESTARTS if t >= 712])
    page.evaluate("globalThis.heard.length = 0")
    slide(page, "start", 1, 1)  # the lowest that is offered
    slide(page, "start", 4, 0)  # of device 1 nothing was told: all are offered
    asked = [[user["restart"] for user in content["state"]["users"]] for content in page.evaluate("globalThis.heard")]
    assert asked == [[None, 725], [100, 725]] and started(page, 1) == "earlier: fresh noise to 725, lowest 712"
    (site / "starts.html").write_text(
        (site / "starts.html").read_text().replace("712", "900").replace('"restart": null', '"restart": 300')
    )
    page = open_page(f"{serve(site)}/starts.html")
    page.wait_for_function("globalThis.heard.length === 2")
    settle(page)
    assert page.evaluate("globalThis.heard.map((content) => content.state.users[1].restart)") == [300, 900]
    assert note(page).endswith("made") and page.problems == []


def test_a_kernel_gets_the_state_as_declared(site, serve, open_page):
    """Without the page's mark the panel asks a kernel, here one that only listens."""
    text = (site / "index.html").read_text().replace(' data-content_root="./"', "")
    fake = "get: () => globalThis.config, on: () => {}, send: (content) => (globalThis.heard ??= []).push(content)"
    (site / "kernel.html").write_text(text.replace("get: () => globalThis.config", fake))
    page = open_page(f"{serve(site)}/kernel.html")
    heard = page.evaluate("globalThis.heard")
    assert [content["kind"] for content in heard] == ["run"]
    assert State.of(heard[0]["state"]) == State.of(page.evaluate("globalThis.config.start"))


def test_words_that_were_not_worked_out_are_explained(page):
    page.get_by_label("wants").first.fill("a zebra")
    page.get_by_label("wants").first.dispatch_event("change")
    settle(page)
    assert "press “Run the model here”" in note(page)
    page.get_by_label("wants").first.fill("a tiger in front of a bush")
    page.get_by_label("wants").first.dispatch_event("change")
    settle(page)


def test_it_fits_a_phone_and_takes_the_colours_of_a_dark_page(page):
    page.set_viewport_size({"width": 375, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= 375")
    page.evaluate("document.body.style.cssText = 'background: #121212; color: #eee'")
    for selector in (".rlli", ".rlli legend", ".rlli figcaption", ".rlli button", ".rlli input[type=text]"):
        assert page.locator(selector).first.evaluate("e => getComputedStyle(e).color") == "rgb(238, 238, 238)", selector
    page.evaluate("document.body.style.cssText = ''")
    page.set_viewport_size({"width": 1100, "height": 900})


def test_the_model_itself_runs_on_a_button_and_draws_what_python_draws(page, embedded, agent):
    page.get_by_role("button", name="Run the model here").click()
    page.get_by_role("button", name="The model runs here").wait_for(timeout=PATIENCE_MS)
    assert page.get_by_label("seed").is_enabled()
    slide(page, "seed", 5)
    assert "Computed in this browser" in note(page) and "of 16384 bits arrived wrong" in note(page)
    plan = SplitPlan(3, (4, 8))
    sent = embedded.server_denoise("a tiger in front of a bush", plan, 5)
    got = Link().transmit(sent, bep=0.03, seed=5)
    expected = np.asarray(embedded.device_denoise(got, "a tiger in front of a bush", plan, device=0))
    # a value that lies on the edge between two levels may be sent as the other: hence the mean
    assert np.abs(picture(page, 2).astype(int) - expected).mean() < 1
    same_scores(page, agent, ("GA1", "a tiger in front of a bush"), ("GA2", "a dog in front of a bush"))


def test_the_model_here_has_receiver_and_starts(page, embedded):
    """As Python has them; a start that bit errors have overtaken moves up instead of failing."""
    tiger, plan = "a tiger in front of a bush", SplitPlan(3, (4, 8))
    sent = embedded.server_denoise(tiger, plan, 5)

    def drawn(receiver, restart, bep=0.03):
        return np.asarray(
            embedded.device_denoise(Link().transmit(sent, bep=bep, seed=5), tiger, plan, receiver=receiver, restart=restart),
            int,
        )

    switch(page, True)
    assert (
        np.abs(picture(page, 2) - drawn("noise-aware", None)).mean()
        < 1
        < np.abs(picture(page, 2) - drawn("paper", None)).mean()
    )
    lowest = embedded.restart_range(Link().transmit(sent, bep=0.03, seed=5), "noise-aware")[0]
    offered = [t for t in RESTARTS if t >= lowest]
    assert started(page) == f"where the noise puts it: timestep {lowest}"
    assert int(page.get_by_label("start").first.get_attribute("max")) == len(offered)
    slide(page, "start", 1)
    assert started(page) == f"earlier: fresh noise to {offered[0]}, lowest {lowest}"
    assert np.abs(picture(page, 2) - drawn("noise-aware", offered[0])).mean() < 1 and "Computed in this browser" in note(page)
    slide(page, "bit errors", 10)
    higher = embedded.restart_range(Link().transmit(sent, bep=0.15, seed=5), "noise-aware")[0]
    moved = next(t for t in RESTARTS if t >= higher)
    assert moved > offered[0] and started(page) == f"earlier: fresh noise to {moved}, lowest {higher}"
    assert np.abs(picture(page, 2) - drawn("noise-aware", moved, 0.15)).mean() < 1 and "Computed in this browser" in note(page)
    switch(page, False)
    slide(page, "bit errors", 4)
    slide(page, "start", 0)


def test_another_person_is_asked_about_the_same_picture_at_once(page, agent):
    before, seen = picture(page, 4), set()
    for person in people():
        taken = (
            page.get_by_label("judged as")
            .nth(1)
            .evaluate(
                """async (e, person) => {
                const caption = document.querySelectorAll("figcaption")[4], started = performance.now();
                e.value = person;
                e.dispatchEvent(new Event("input"));
                while (!new RegExp(`${person}: [01]`).test(caption.querySelector(".score")?.textContent)) await new Promise((r) => setTimeout(r, 5));
                return performance.now() - started;
            }""",
                person,
            )
        )
        settle(page)
        assert taken < 500 and "Computed in this browser in 0.0 s" in note(page)  # the chain alone takes a second
        assert (picture(page, 4) == before).all()
        same_scores(page, agent, ("GA1", "a tiger in front of a bush"), (person, "a dog in front of a bush"))
        seen.add(page.locator("figcaption").nth(4).inner_text())
    assert len(seen) == len(people())


def test_own_words_and_any_seed_have_scores_too(page, agent):
    write(page, "server draws", "two pigeons")
    assert "does not know “two”" in note(page)
    write(page, "wants", "a horse and an owl in the snow, drawing style", 1)
    slide(page, "seed", 77)
    write(page, "server draws", "an owl beside a cake")
    assert "Computed in this browser" in note(page)
    same_scores(
        page,
        agent,
        ("GA1", "a tiger in front of a bush"),
        (list(people())[-1], "a horse and an owl in the snow, drawing style"),
    )


def test_wild_dragging_ends_with_the_last_place(page):
    control = page.get_by_label("shared steps")
    for place in (1, 6, 2, 5, 0, 4):
        control.evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", place)
    settle(page)
    assert "after 4 steps" in page.locator("figcaption").first.inner_text() and "Computed in this browser" in note(page)


def test_a_page_opened_as_a_file_has_the_pictures_and_says_how_to_get_the_model(site, open_page):
    page = open_page(f"file://{site}/index.html")
    settle(page)
    assert "Worked out beforehand" in note(page)
    page.get_by_role("button", name="Run the model here").click()
    page.get_by_text("http.server").wait_for(timeout=PATIENCE_MS)
    assert page.problems == []


def test_without_the_agent_there_are_pictures_and_without_a_rating_no_number(site, serve, open_page, settings):
    """The agent comes after the first picture; if it does not come that is told, and tried again when there is a reason."""
    page = open_page(f"{serve(site)}/index.html")
    unsure = settings | {"agent": settings["agent"] | {"least_mass": 1.01}}
    page.context.route("**/engine.json", lambda route: route.fulfill(json=unsure))
    page.context.route("**/agent_eye.onnx", lambda route: route.fulfill(status=404))
    settle(page)
    page.get_by_role("button", name="Run the model here").click()
    page.get_by_text("agent_eye.onnx cannot be loaded: the server answers 404").wait_for(timeout=PATIENCE_MS)
    assert all(np.ptp(picture(page, n)) > 100 for n in range(5))
    assert [page.locator("figcaption").nth(n).inner_text().split("\n")[1] for n in (2, 4)] == [
        "GA1: no score yet",
        "GA2: no score yet",
    ]
    page.context.unroute("**/agent_eye.onnx")
    write(page, "judged as", "user 1", 1)
    assert "Computed in this browser in 0.0 s" in note(page)
    assert [page.locator("figcaption").nth(n).inner_text().split("\n")[1] for n in (2, 4)] == [
        "GA1: no rating",
        "user 1: no rating",
    ]
    assert {problem for problem in page.problems if "404" not in problem} == set()
