"""The explorer's screen in a browser without kernel and network: precomputed pictures first, then the model itself."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from rlli_core import Link, Persona, SplitPlan
from rlli_core.book.browser import atlas
from rlli_core.book.panels.explorer import Explorer
from rlli_core.book.panels.messages import State
from rlli_core.book.panels.widget import STYLE, module
from rlli_core.qoe.persona import people
from rlli_core.round import Scale
from rlli_core.round import serve as serve_round

from ..conftest import PAGE, PATIENCE_MS

TIGER, DOG = "a tiger in front of a bush", "a dog in front of a bush"
LITTLE_MEMORY = "Object.defineProperty(navigator, 'deviceMemory', { value: 1 });"  # so that no model starts by itself
MUCH_MEMORY = "Object.defineProperty(navigator, 'deviceMemory', { value: 8 });"
SCREEN = {"viewport": {"width": 1280, "height": 720}}


@pytest.fixture(scope="module")
def site(exported, tmp_path_factory):
    """A page with the panel, and what the built book has in _static/."""
    folder = tmp_path_factory.mktemp("panel")
    code = module("preact", "common", "sources", "play", "parts", "explorer").replace(
        "export default { render };", "const panel = { render };"
    )
    config = json.dumps(Explorer().config)
    (folder / "index.html").write_text(PAGE.format(css=STYLE, config=config, module=code))
    for name in ("engine", "onnxruntime"):
        shutil.copytree(exported / name, folder / "_static" / name)
    shutil.copytree(atlas.ATLAS, folder / "_static" / "atlas")
    (folder / "_static" / "atlas" / "atlas.js").write_text(f"globalThis.rlliAtlas = {json.dumps(atlas.read())};")
    return folder


@pytest.fixture(scope="module")
def address(site, serve):
    return f"{serve(site)}/index.html"


@pytest.fixture(scope="module")
def page(address, open_page):
    page = open_page(address, LITTLE_MEMORY, **SCREEN)
    page.set_default_timeout(PATIENCE_MS)
    settle(page)
    return page


@pytest.fixture(scope="module")
def live(address, open_page):
    """The panel with the model in the browser."""
    page = open_page(address, LITTLE_MEMORY, **SCREEN)
    page.set_default_timeout(PATIENCE_MS)
    page.get_by_role("button", name="Run the model here").click()
    page.get_by_role("button", name="The model runs here").wait_for()
    settle(page)
    return page


def settle(page):
    page.wait_for_timeout(30)  # in which the panel takes notice
    page.wait_for_function("!document.querySelector('.rlli').classList.contains('busy')", timeout=PATIENCE_MS)


def canvas(page, kind, number=0):
    """One of "server", "received", "made", "lone"; of a device, but for the server."""
    return page.locator(".server canvas" if kind == "server" else f".lane .{kind} canvas").nth(number)


def picture(page, kind, number=0):
    """Its pixels, (128, 128, 3) uint8."""
    read = "e => JSON.stringify(Array.from(e.getContext('2d').getImageData(0, 0, 128, 128).data))"
    pixels = json.loads(canvas(page, kind, number).evaluate(read))  # playwright's own way takes a second
    return np.array(pixels, np.uint8).reshape(128, 128, 4)[..., :3]


def slider(page, label, number=0):
    return page.get_by_role("slider", name=label).nth(number)


def slide(page, label, place, number=0):
    """Move a slider to a place, as dragging does."""
    slider(page, label, number).evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', { bubbles: true })); }", place
    )
    settle(page)


def value(page, label, number=0):
    return slider(page, label, number).get_attribute("aria-valuetext")


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()
    settle(page)


def write(page, label, text, number=0):
    control = page.get_by_role("combobox", name=label).nth(number)
    control.fill(text)
    control.press("Enter")
    settle(page)


def choose(page, label, option, number=0):
    page.get_by_label(label).nth(number).select_option(label=option)
    settle(page)


def note(page):
    return page.locator(".rlli .note").inner_text()


def scores(page, kind="made"):
    return [float(text) for text in page.locator(f".lane .{kind} .bar b").all_inner_texts()]


def fresh(page, address, hash_=""):
    """The panel as an address has it."""
    page.goto("about:blank")
    page.goto(f"{address}{hash_}")
    settle(page)


def cell(name, row, column):
    """Pixels of one picture of the atlas."""
    with Image.open(atlas.ATLAS / f"{name}.webp") as sheet:
        return np.asarray(sheet.convert("RGB").crop((128 * column, 128 * row, 128 * column + 128, 128 * row + 128)), int)


def near(shown, kept):
    return np.abs(shown.astype(int) - kept).mean() < 2  # browser and Python read a WebP's colours not quite alike


@pytest.mark.parametrize("count", [2, 3, 4])
def test_all_is_in_view_at_once_and_pictures_are_large(page, address, count):
    fresh(page, address)
    press(page, str(count))
    assert page.locator(".lane").count() == count and len(scores(page)) == count
    box = page.locator(".rlli").bounding_box()
    assert box["y"] >= 0 and box["y"] + box["height"] <= 720 - 50  # the book's bar takes 48 px
    assert page.evaluate("document.documentElement.scrollWidth <= 1280")
    for kind in ("server", "made") if count > 2 else ("server", "made", "received", "lone"):
        assert canvas(page, kind, 0).bounding_box()["width"] >= 160


def test_picture_score_and_power_are_those_of_the_setting(page, address):
    fresh(page, address)
    index, seed = atlas.read(), atlas.read()["seeds"][0]
    group, row = index["groups"][0], index["plans"]["3"].index([8, 4])
    column = index["beps"].index(0.03)
    assert near(picture(page, "made"), cell(f"{seed}-0-0-3", row, column))
    assert near(picture(page, "received"), cell(f"{seed}-0-sent-3", index["device_steps"].index(8), column))
    assert near(picture(page, "server"), cell(f"{seed}-0-sent-3", index["device_steps"].index(8), 0))
    assert scores(page)[0] == pytest.approx(group["scores"][f"{seed}-0-3"][row][column][0] / 1000, abs=0.0051)
    for place in (0, 5, 9):
        slide(page, "bit errors", place)
        bep = float(value(page, "bit errors").removesuffix(" %")) / 100
        watts, dbw = map(float, re.findall(r"[\d.]+", value(page, "power")))
        assert watts == pytest.approx(Link().power_for_bep(bep or atlas.LEAST_BEP, gain=1.0), rel=0.01)
        assert dbw == pytest.approx(10 * np.log10(watts), abs=0.06)
        assert near(picture(page, "made"), cell(f"{seed}-0-0-3", row, index["beps"].index(bep)))


def test_energy_and_time_have_one_scale_beside_everyone_alone(page, address):
    fresh(page, address)
    said = [re.findall(r"[\d.]+", text)[0] for text in page.locator(".sums .bar b").all_inner_texts()]
    mean, lone, energy, energy_alone, time, time_alone = map(float, said)
    assert mean == pytest.approx(np.mean(scores(page)), abs=0.011) and lone == pytest.approx(
        np.mean(scores(page, "lone")), abs=0.011
    )
    scale = Scale()
    assert energy_alone == 12 and energy == pytest.approx(12 + 3 * scale.server_step_j / 3.6, abs=0.06)  # mWh
    assert time_alone == pytest.approx(8 * scale.device_step_s) and time == pytest.approx(
        time_alone + 3 * scale.server_step_s, abs=0.006
    )
    press(page, "Everyone alone")
    assert value(page, "shared steps") == "0" and scores(page) == scores(page, "lone")
    assert (picture(page, "made", 1) == picture(page, "lone", 1)).all()


@pytest.mark.parametrize("label", ["shared steps", "own steps t₁", "bit errors", "power", "seed"])
def test_sliders_go_from_mark_to_mark_by_keyboard_and_mouse(page, address, label):
    fresh(page, address)
    control, seen = slider(page, label), []
    marks = control.locator("xpath=..").locator("i").count()
    control.focus()
    for key in ["Home"] + ["ArrowRight"] * (marks - 1):
        page.keyboard.press(key)
        settle(page)
        seen.append(value(page, label))
        assert "Worked out beforehand" in note(page) and page.locator(".rlli.old").count() == 0
    assert len(set(seen)) == marks > (1 if label != "seed" else 0)
    box = control.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 3, box["y"] + box["height"] / 2)
    settle(page)
    assert value(page, label) in seen and "Worked out beforehand" in note(page)


def test_power_sets_the_errors(page, address):
    fresh(page, address)
    before = value(page, "bit errors")
    slider(page, "power").focus()
    page.keyboard.press("ArrowLeft")
    settle(page)
    assert float(value(page, "bit errors")[:-2]) > float(before[:-2])


def test_the_whole_state_is_in_the_address(page, address, open_page):
    fresh(page, address)
    assert "#" not in page.url  # until something moves
    slide(page, "shared steps", 4)
    choose(page, "judged as", "user 3", 1)
    page.get_by_label("stays out").nth(1).check()
    press(page, "3")
    before = [value(page, "shared steps"), page.get_by_label("judged as").nth(1).input_value(), scores(page), page.url]

    def state(page):
        return [value(page, "shared steps"), page.get_by_label("judged as").nth(1).input_value(), scores(page), page.url]

    page.reload()
    settle(page)
    assert state(page) == before and page.get_by_label("stays out").nth(1).is_checked()
    page.goto(address.replace("index.html", "_static/atlas/atlas.js"))
    page.go_back()
    settle(page)
    assert state(page) == before
    other = open_page(before[-1], LITTLE_MEMORY, **SCREEN)
    settle(other)
    assert state(other) == before
    other.evaluate("location.hash = '#t0=1'")  # a link on the page
    settle(other)
    assert value(other, "shared steps") == "1" and other.locator(".lane").count() == 2


@pytest.mark.parametrize("wrong", ["#t0=99&seed=-1&steps=x&errors=7&judge=nobody", "#t0=&channel=77&receiver=&start=|"])
def test_what_an_address_says_wrongly_is_as_at_the_start(page, address, wrong):
    fresh(page, address)
    shown = [value(page, "shared steps"), value(page, "own steps t₁"), value(page, "bit errors"), scores(page)]
    fresh(page, address, wrong)
    assert [value(page, "shared steps"), value(page, "own steps t₁"), value(page, "bit errors"), scores(page)][
        : len(shown)
    ] == shown


def test_a_link_to_a_place_between_goes_to_the_nearest_and_says_so_in_the_controls(page, address):
    fresh(page, address, "#t0=5&errors=0.05|0.05")
    assert value(page, "shared steps") in ("4", "6") and value(page, "bit errors") in ("3 %", "6 %")
    assert "Worked out beforehand" in note(page) and f"t0={value(page, 'shared steps')}" in page.url


def test_policy_and_optimum_are_told_and_shown(page, address):
    index = atlas.read()
    case = "-".join(map(str, (1, 0, 1, index["gains_db"].index(0.0))))  # the second prompt, the first two people
    for who, name in (("policy", "Policy"), ("optimum", "Optimum")):
        fresh(page, address)
        press(page, name)
        t0, first, second, *powers = index["groups"][0][who][case]
        assert f"The {who} chose t₀ = {t0:g}, own steps {first:g} and {second:g}" in note(page)
        exact = t0 in index["shared_steps"] and {first, second} <= set(index["device_steps"])
        assert ("nearest place" in note(page)) or (exact and value(page, "shared steps") == f"{t0:g}")
    press(page, "3")
    assert page.get_by_role("button", name="Policy").is_disabled()
    fresh(page, address)  # with errors, which have a power of their own
    choose(page, "channel", "the paper’s fading averaged, m 2, mₛ 1.5")
    assert page.get_by_role("button", name="Policy").is_disabled()
    bep = float(value(page, "bit errors").removesuffix(" %")) / 100
    assert float(re.match(r"[\d.]+", value(page, "power"))[0]) == pytest.approx(Link().power_for_bep(bep), rel=0.02)


def test_who_stays_out_is_alone_and_the_others_share_without_them(page, address):
    index, seed = atlas.read(), atlas.read()["seeds"][0]
    fresh(page, address)
    page.get_by_label("stays out").nth(1).check()
    settle(page)
    assert near(picture(page, "made", 1), cell(f"{seed}-0-1-0", index["plans"]["0"].index([8, 8]), 0))
    assert near(picture(page, "made", 0), cell(f"{seed}-0-0-3", index["plans"]["3"].index([4, 4]), index["beps"].index(0.03)))
    assert (
        slider(page, "bit errors", 1).is_disabled() and "after 3 of 7 steps" in page.locator(".server figcaption").inner_text()
    )


def test_the_noise_aware_receiver_and_earlier_starts_were_worked_out_too(page, address):
    index, seed = atlas.read(), atlas.read()["seeds"][0]
    group, row = index["groups"][0], index["plans"]["3"].index([8, 4])
    lowest = group["effective"][str(seed)]["3"][index["device_steps"].index(8)]
    fresh(page, address)
    assert value(page, "starts at timestep") == f"{lowest[0]}"
    page.get_by_label("noise-aware devices").check()
    settle(page)
    column = index["beps"].index(0.03)
    assert near(picture(page, "made"), cell(f"{seed}-0-0-3-noise_aware", row, column - 1))
    assert value(page, "starts at timestep") == f"{lowest[column]}"
    assert slider(page, "starts at timestep").is_disabled()
    slide(page, "bit errors", 0)
    slider(page, "starts at timestep").focus()
    page.keyboard.press("End")
    settle(page)
    last = index["restarts"][-1]
    assert value(page, "starts at timestep") == f"{last}"
    assert near(picture(page, "made"), cell(f"{seed}-0-0-3-restart", row, len(index["restarts"]) - 1))
    slide(page, "bit errors", 5)  # with errors nothing was worked out but where the receiver starts
    assert value(page, "starts at timestep") != f"{last}" and "Worked out beforehand" in note(page)


def test_a_picture_enlarges_by_mouse_and_keyboard(page, address):
    fresh(page, address)
    dialog = page.locator(".rlli dialog")
    canvas(page, "made").click()
    dialog.wait_for()
    assert dialog.locator("canvas").bounding_box()["width"] > 400
    assert all(f"{name} 0." in dialog.inner_text() for name in people())
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    page.locator(".lane .lone button").first.focus()
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Close").click()
    dialog.wait_for(state="hidden")


def test_the_film_without_the_model_shows_the_ends_and_the_bits_that_flip(page, address):
    fresh(page, address)
    clean = picture(page, "received")
    press(page, "▶ Play the chain")
    page.get_by_role("button", name="Pause").click()
    film = slider(page, "moment of the chain")
    assert film.get_attribute("max") == "2"
    slide(page, "moment of the chain", 0)
    assert "The server has taken 3 shared steps" in note(page) and picture(page, "made").max() == 0
    slide(page, "moment of the chain", 1)
    flipped = int(re.search(r"device 1: (\d+) of 16384", note(page))[1])
    assert flipped == pytest.approx(0.03 * 16384, abs=5 * np.sqrt(0.03 * 16384))
    changed = (picture(page, "received") != clean).any(axis=2).reshape(16, 8, 16, 8).any(axis=(1, 3)).mean()
    assert changed == pytest.approx(1 - 0.97**64, abs=0.1)  # of the 256 places, each of eight values of eight bits
    slide(page, "moment of the chain", 2)
    assert (picture(page, "received") == clean).all() and picture(page, "made").max() > 0


def test_on_a_phone_the_pictures_stay_while_a_slider_is_held(address, open_page):
    page = open_page(address, LITTLE_MEMORY, viewport={"width": 390, "height": 844}, has_touch=True)
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth <= 390")
    for label, number in (("shared steps", 0), ("bit errors", 1), ("starts at timestep", 1)):
        slider(page, label, number).scroll_into_view_if_needed()
        page.wait_for_timeout(100)
        control = slider(page, label, number).bounding_box()
        for one in page.locator(".pocket canvas").all():
            box = one.bounding_box()
            assert 0 <= box["y"] and box["y"] + box["height"] <= 844 and box["width"] >= 80
            assert control["y"] >= box["y"] + box["height"] or control["y"] + control["height"] <= box["y"] + 844
    assert page.problems == []


def test_it_takes_the_colours_of_a_dark_page(page, address):
    fresh(page, address)
    page.evaluate("document.body.style.cssText = 'background: #121212; color: #eee'")
    for selector in (
        ".rlli",
        ".rlli legend",
        ".rlli figcaption",
        ".rlli .group button",
        ".rlli input[type=text]",
        ".rlli .bar b",
    ):
        assert page.locator(selector).first.evaluate("e => getComputedStyle(e).color") == "rgb(238, 238, 238)", selector
    page.evaluate("document.body.style.cssText = ''")


def test_names_and_prompts_are_shown_as_they_stand_and_never_run(site, serve, open_page):
    """Names come from a file that readers add to, prompts from readers; a kernel and the atlas answer with both."""
    attack = "<img src=x onerror=globalThis.hit=1>"
    folder = site / "hostile"
    shutil.copytree(site / "_static" / "atlas", folder / "_static" / "atlas")
    for name in ("index.html", "_static/atlas/atlas.js"):
        text = (site / name).read_text().replace('"GA1"', json.dumps(attack))
        (folder / name).write_text(text.replace(f'"{TIGER}"', json.dumps(f"tiger {attack}")))
    page = open_page(f"{serve(folder)}/index.html", "delete globalThis.Worker;" + LITTLE_MEMORY)
    settle(page)
    assert "Worked out beforehand" in note(page) and page.get_by_label("judged as").first.input_value() == attack
    assert f"tiger {attack}" in canvas(page, "made").get_attribute("aria-label")
    assert page.locator(".rlli img").count() == 0 and page.evaluate("globalThis.hit") is None


def test_a_kernel_gets_the_state_as_declared_and_its_pictures_are_shown(site, serve, open_page):
    """Without the page's mark the panel asks a kernel, here one that only listens, then answers once."""
    text = (site / "index.html").read_text().replace(' data-content_root="./"', "")
    fake = "get: () => globalThis.config, on: (_, f) => (globalThis.answer = f), send: (content) => (globalThis.heard ??= []).push(content)"
    (site / "kernel.html").write_text(text.replace("get: () => globalThis.config", fake))
    page = open_page(f"{serve(site)}/kernel.html")
    page.wait_for_function("globalThis.heard?.length === 1")
    heard = page.evaluate("globalThis.heard")[0]
    assert heard["kind"] == "run" and State.of(heard["state"]) == State.of(page.evaluate("globalThis.config.start"))
    assert page.get_by_role("button", name="Copy link").count() == 0  # the address is the notebook's
    page.evaluate(
        """id => {
        const tell = (more) => globalThis.answer({ id, ...more }, []);
        tell({ kind: "picture", stage: "received", device: 0, lowest: 712, flipped: 3, scores: {} });
        tell({ kind: "picture", stage: "image", device: 0, lowest: null, flipped: null, scores: { "": 0.25, GA1: 0.5 } });
        tell({ kind: "done", value: "" });
    }""",
        heard["id"],
    )
    settle(page)
    assert "Computed by the kernel" in note(page) and value(page, "starts at timestep") == "712"
    assert page.locator(".lane .made .bar b").first.inner_text() == "0.25" and page.problems == []


def test_words_that_were_not_worked_out_dim_the_pictures(page, address):
    fresh(page, address)
    write(page, "wants", "a zebra")
    assert "not worked out beforehand" in note(page) and page.locator(".rlli.failed").count() == 1
    assert picture(page, "made").max() == 0
    write(page, "wants", TIGER)
    assert "Worked out beforehand" in note(page) and page.locator(".rlli.failed").count() == 0


def test_a_page_opened_as_a_file_has_the_pictures_and_says_how_to_get_the_model(site, open_page):
    page = open_page(f"file://{site}/index.html", MUCH_MEMORY)
    settle(page)
    slide(page, "shared steps", 4)
    assert "Worked out beforehand" in note(page) and value(page, "shared steps") == "4" and "t0=4" in page.url
    page.get_by_role("button", name="Run the model here").click()
    page.get_by_text("http.server").wait_for(timeout=PATIENCE_MS)
    assert page.problems == []


def test_where_memory_allows_the_model_starts_with_the_first_move_and_says_its_size(site, address, open_page):
    page = open_page(address, MUCH_MEMORY, **SCREEN)
    settle(page)
    size = sum(
        path.stat().st_size for path in [*(site / "_static" / "engine").glob("*.onnx"), *(site / "_static").glob("*/*.wasm")]
    )
    button = page.get_by_role("button", name="Run the model here")
    button.wait_for()
    page.wait_for_function("size => document.body.innerText.includes(`(${size} MB)`)", arg=round(size / 1e6))
    slide(page, "shared steps", 4)
    page.get_by_role("button", name="The model runs here").wait_for(timeout=PATIENCE_MS)
    slide(page, "shared steps", 5)  # between the marks
    assert value(page, "shared steps") == "5" and "Computed in this browser" in note(page) and page.problems == []


def expected(embedded, state, **how):
    """What Python makes of it, with the panel's one seed for all bit flips."""
    users = state["users"]
    plan = SplitPlan(state["sharedSteps"], [u["deviceSteps"] for u in users])
    return serve_round(
        embedded, [Link()] * len(users), None, state["serverPrompt"], [u["prompt"] for u in users], (), plan, None, state["seed"],
        beps=[None if u["alone"] else u["bep"] for u in users], flip_seeds=[state["seed"]] * len(users), lift_restarts=True, **how,
    )  # fmt: skip


def test_the_model_draws_and_scores_what_python_does(live, address, embedded, agent):
    live.evaluate("location.hash = '#t0=3&seed=5&steps=3|5&errors=0.04|0.12&alone=0|0'")
    settle(live)
    assert "Computed in this browser" in note(live)
    users = [{"prompt": p, "deviceSteps": t, "bep": bep, "alone": False} for p, t, bep in ((TIGER, 3, 0.04), (DOG, 5, 0.12))]
    state = {"sharedSteps": 3, "serverPrompt": TIGER, "seed": 5, "users": users}
    made = expected(embedded, state)
    for k, (who, prompt) in enumerate((("GA1", TIGER), ("GA2", DOG))):
        # a value that lies on the edge between two levels may be sent as the other: hence the mean
        assert np.abs(picture(live, "made", k).astype(int) - np.asarray(made.images[k])).mean() < 1
        rated = agent.score(Image.fromarray(picture(live, "made", k)), Persona.named(who), prompt).value
        assert scores(live)[k] == pytest.approx(rated, abs=0.0051)
    live.get_by_label("noise-aware devices").check()
    live.get_by_label("stays out").first.check()
    settle(live)
    users[0]["alone"] = True
    made = expected(embedded, state, receiver="noise-aware")
    for k in (0, 1):
        assert np.abs(picture(live, "made", k).astype(int) - np.asarray(made.images[k])).mean() < 1
    assert value(live, "starts at timestep", 1) == f"{embedded.restart_range(made.received[1], 'noise-aware')[0]}"
    slide(live, "starts at timestep", 1, 1)  # below what arrived: lifted to it
    assert (picture(live, "made", 1) != 0).any() and "(lowest)" in value(live, "starts at timestep", 1)


def test_ones_own_traits_are_asked_for(live, agent):
    live.evaluate("location.hash = '#t0=3&steps=4|8&errors=0.03|0.03&judge=GA1|0.1_0.9_0.3_0.7_0.5'")
    settle(live)
    rated = agent.score(Image.fromarray(picture(live, "made", 1)), Persona.of([0.1, 0.9, 0.3, 0.7, 0.5]), DOG).value
    assert scores(live)[1] == pytest.approx(rated, abs=0.0051)
    slide(live, "openness", 20)
    rated = agent.score(Image.fromarray(picture(live, "made", 1)), Persona.of([1.0, 0.9, 0.3, 0.7, 0.5]), DOG).value
    assert scores(live)[1] == pytest.approx(rated, abs=0.0051) and "judge=GA1%7C1_0.9" in live.url


def test_own_words_run_and_unknown_ones_are_told_in_one_short_line(live):
    live.evaluate("location.hash = '#t0=3'")
    settle(live)
    write(live, "draws", "two pigeons")
    assert re.search(r"does not know “two”; it knows \d+ words", note(live)) and len(note(live)) < 120
    write(live, "draws", "an owl in the snow")
    write(live, "wants", "a horse and an owl in the snow, drawing style", 1)
    assert "Computed in this browser" in note(live) and min(scores(live)) >= 0


def test_wild_dragging_ends_with_the_last_place_and_dims_what_is_old(live):
    live.evaluate("location.hash = '#t0=3&seed=9'")
    settle(live)
    control = slider(live, "shared steps")
    for place in (1, 6, 2, 5, 0, 7):
        control.evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input', { bubbles: true })); }", place)
    live.wait_for_timeout(100)
    assert live.locator(".rlli.busy.old").count() == 1
    assert float(live.locator(".strip").first.evaluate("e => getComputedStyle(e).opacity")) < 0.7
    settle(live)
    assert value(live, "shared steps") == "7" and "after 7 of" in live.locator(".server figcaption").inner_text()
    assert "Computed in this browser" in note(live) and live.locator(".rlli.old").count() == 0


def test_the_film_has_every_step_and_can_be_scrubbed(live):
    live.evaluate("location.hash = '#t0=2&steps=1|3&errors=0.1|0&receiver=noise-aware'")
    settle(live)
    live.get_by_role("button", name="▶ Play the chain").click()
    live.get_by_role("button", name="Pause").wait_for()
    live.get_by_role("button", name="Pause").click()
    settle(live)
    told = []
    for place in range(int(slider(live, "moment of the chain").get_attribute("max")) + 1):
        slide(live, "moment of the chain", place)
        told.append(note(live))
    kinds = [re.match(r"Server|Hand-off|Device|Own step|The pictures", line)[0] for line in told]
    assert kinds == ["Server"] * 2 + ["Hand-off", "Device"] + ["Own step"] * 3 + ["The pictures"]
    assert re.search(r"Device 1 jumps to timestep \d+", told[3]) and "device 1 done" in told[5]
    slide(live, "moment of the chain", 6)
    last = picture(live, "made", 1)
    slide(live, "moment of the chain", 7)
    assert (picture(live, "made", 1) == last).all()


def test_without_the_agent_there_are_pictures_and_without_a_rating_no_number(address, open_page, settings):
    """The agent comes after the first picture; if it does not come that is told, and tried again when there is a reason."""
    page = open_page(f"{address}#seed=11", LITTLE_MEMORY, **SCREEN)
    unsure = settings | {"agent": settings["agent"] | {"least_mass": 1.01}}
    page.context.route("**/engine.json", lambda route: route.fulfill(json=unsure))
    page.context.route("**/agent_eye.onnx", lambda route: route.fulfill(status=404))
    settle(page)
    page.get_by_role("button", name="Run the model here").click()
    page.get_by_role("button", name="The model runs here").wait_for(timeout=PATIENCE_MS)
    slide(page, "seed", 11)
    page.get_by_text("agent_eye.onnx cannot be loaded: the server answers 404").wait_for(timeout=PATIENCE_MS)
    page.context.unroute("**/agent_eye.onnx")
    slide(page, "seed", 12)
    assert page.locator(".lane .made .bar b").all_inner_texts() == ["no rating", "no rating"]
    assert {problem for problem in page.problems if "404" not in problem} == set()
