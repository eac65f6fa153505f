"""A panel with its frames: what a run writes, how the kernel answers, and the page without kernel and network."""

import json
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from rlli_core.book.figures.channel import bep_by_power
from rlli_core.book.panels.panel import Panel, Part, choice, drawn, slider, span
from rlli_core.book.panels.widget import STYLE, module
from rlli_core.errors import InvalidArgument
from rlli_core.files import FRAMES

from ..conftest import PATIENCE_MS

COLOURS = {"red": (200, 0, 0), "blue": (0, 0, 200), "green": (0, 200, 0)}
PAGE = """<!doctype html><html lang="en" data-content_root="./"><meta charset="utf-8"><title>panel</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width"><style>{css}</style><body><div id="here"></div>
<script>globalThis.config = {config};</script><script type="module">{module}
panel.render({{ model: {{ get: () => globalThis.config }}, el: document.getElementById("here") }});</script>"""


def paint(size, colour, tone):
    """Squares whose side follows the slider; a side of 5 cannot be painted, a tone makes no difference to the second one."""
    if size == 5:
        raise InvalidArgument("size", size, "another one")
    parts = [Part(Image.new("RGB", (size * 10, 20), COLOURS[colour]), f"<b>{colour}</b>", width=size * 10)]
    return f"{colour} of size {size}, tone {tone}", [
        *parts,
        Part(Image.new("RGB", (8, 8), "gray"), alt="a gray square", width=8),
    ]


def controls():
    return {
        "size": slider("size", range(1, 10), 3, (1, 3, 5, 8)),
        "colour": choice("colour", COLOURS, "blue", ("red",)),
        "tone": slider("tone", range(4), 2),
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(FRAMES, str(tmp_path / "page"))
    return tmp_path / "page"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A page with the panel and its frames, as in the built book, and one without frames."""
    root = tmp_path_factory.mktemp("frames")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FRAMES, str(root / "_static" / "panels" / "page"))
        panel = Panel(controls(), paint)
    code = module("common", "panel").replace("export default { render };", "const panel = { render };")
    for name, config in (("index", panel.config), ("bare", panel.config | {"name": ""})):
        (root / f"{name}.html").write_text(PAGE.format(css=STYLE, config=json.dumps(config), module=code))
    return root


@pytest.fixture(scope="module")
def page(site, serve, open_page):
    page = open_page(f"{serve(site)}/index.html")
    page.set_default_timeout(PATIENCE_MS)
    return page


def index_of(folder):
    head, _, rest = (folder / "1" / "index.js").read_text().partition("] = ")
    assert head == '(globalThis.rlliPanels ??= {})["page/1"'
    return json.loads(rest.rstrip().removesuffix(";"))


def test_a_lattice_is_written_whole_and_each_thing_once(folder):
    panel = Panel(controls(), paint)
    assert panel.config["name"] == "page/1"
    assert [(c["start"], c["stops"]) for c in panel.config["controls"]] == [(2, [0, 2, 4, 7]), (1, [0, 1]), (2, [2])]
    index = index_of(folder)
    assert len(index["frames"]) == len(panel.settings()) == 8
    for values, (line, *parts) in zip(panel.settings(), index["frames"], strict=True):
        if values["size"] == 5:
            assert "another one" in index["texts"][line] and parts == []
            continue
        told, expected = paint(**values)
        assert index["texts"][line] == told
        for place, part in zip(parts, expected, strict=True):
            number, width, text, alt = index["parts"][place]
            assert (width, index["texts"][text], index["texts"][alt]) == (part.width, part.text, part.alt)
            stored = Image.open(folder / "1" / f"{number}.webp").convert("RGB")
            assert stored.tobytes() == part.picture.tobytes()  # not a bit is lost
    assert len(list((folder / "1").glob("*.webp"))) == 7  # six squares of colour and the gray one


def test_panels_of_one_notebook_get_folders_of_their_own(folder):
    first, second = (
        Panel(controls(), paint),
        Panel({"size": slider("size", range(3), 1)}, lambda size: (f"{size}", [Part(text="x")])),
    )
    assert (first.config["name"], second.config["name"]) == ("page/1", "page/2")
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]


def test_without_a_run_nothing_is_worked_out(monkeypatch):
    monkeypatch.delenv(FRAMES, raising=False)
    assert Panel(controls(), None).config["name"] == ""


def test_a_drawn_figure_keeps_white_and_twice_the_pixels_and_its_axes_stand_still():
    layout, x = [], np.linspace(0, 30, 31)
    first, second = (
        np.asarray(drawn(bep_by_power(x, {"x": np.geomspace(0.5, low, 31)}, []), layout, 400).convert("RGB"))
        for low in (1e-1, 1e-7)
    )
    assert first.shape[1] == second.shape[1] == 800 and (first[1, 1] == 255).all()
    frames = [np.flatnonzero((picture < 240).all(2).mean(0) > 0.6) for picture in (first, second)]  # the axes' upright lines
    assert len(frames[0]) and frames[0].tolist() == frames[1].tolist()
    assert (first != second).any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: slider("size", range(3), 1, (7,)),
        lambda: slider("width", span(0, 1, 0.1), 0.5, (0.25,)),
        lambda: choice("colour", COLOURS, "pink"),
        lambda: choice("colour", COLOURS, stops=("red", "pink")),
        lambda: Panel({}, paint),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(InvalidArgument):
        make()


def test_where_a_slider_begins_is_a_stop_and_the_lattice_keeps_its_size():
    assert slider("x", span(0, 1, 0.1), 0.33, (0, 0.5, 1)).stops == (0, 0.33, 1)
    assert slider("x", span(0, 1, 0.1), 0.33).stops == (0.33,) and 0.33 in slider("x", span(0, 1, 0.1), 0.33).values
    assert slider("x", range(5), 2, range(5)).stops == (0, 1, 2, 3, 4)
    assert span(0.5, 0.8, 0.1) == [0.5, 0.6, 0.7, 0.8]


def hear(panel, monkeypatch):
    """What the panel hears, and a wait for the answer to one number."""
    sent = []
    monkeypatch.setattr(panel, "send", lambda content, buffers=(): sent.append((content, list(buffers))))

    def wait(number):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if any(content["id"] == number and content["kind"] in ("done", "error") for content, _ in sent):
                return [pair for pair in sent if pair[0]["id"] == number]
            time.sleep(0.01)
        raise TimeoutError(number)

    return wait, sent


def test_the_kernel_answers_with_pictures_and_a_line(monkeypatch):
    panel = Panel(controls(), paint)
    wait, _ = hear(panel, monkeypatch)
    panel.ask({"kind": "run", "id": 1, "state": [6, 2, 3]})  # any value, not only a stop
    (shown, buffers), (done, _) = wait(1)
    assert done["value"] == "green of size 7, tone 3"
    assert shown["parts"] == [
        {"width": 70, "text": "<b>green</b>", "alt": "", "picture": 0}, {"width": 8, "text": "", "alt": "a gray square", "picture": 1},
    ]  # fmt: skip
    assert all(buffer.startswith(b"\x89PNG") for buffer in buffers)


def test_what_cannot_be_is_told_and_the_next_request_works(monkeypatch):
    panel = Panel(controls(), paint)
    wait, _ = hear(panel, monkeypatch)
    panel.ask({"kind": "run", "id": 1, "state": [4, 0, 0]})
    assert wait(1)[-1][0] == {"id": 1, "kind": "error", "value": "size=5 is not allowed: size must be another one"}
    panel.ask({"kind": "run", "id": 2, "state": [0, 0, 0]})
    assert wait(2)[-1][0]["kind"] == "done"


def test_a_newer_request_drops_the_older_ones(monkeypatch):
    asked = []

    def slow(size):
        asked.append(size)
        time.sleep(0.2)
        return str(size), [Part(text="x")]

    panel = Panel({"size": slider("size", range(9), 0)}, slow)
    wait, sent = hear(panel, monkeypatch)
    for number in range(1, 8):
        panel.ask({"kind": "run", "id": number, "state": [number]})
    wait(7)
    assert {content["id"] for content, _ in sent} == {7}
    assert asked[-1] == 7 and len(asked) <= 2  # the one under way at most, which nobody hears of


def test_a_notebook_shows_the_same_text_every_time():
    assert repr(Panel(controls(), paint)) == "Panel(size, colour, tone)"


def settle(page):
    page.wait_for_function("!document.querySelector('.rlli').classList.contains('busy')", timeout=PATIENCE_MS)


def note(page):
    settle(page)
    return page.locator(".rlli .note").inner_text()


def colour(page):
    """Colour in the middle of the first picture."""
    settle(page)
    return tuple(page.evaluate("""() => {
        const image = document.querySelector(".rlli img"), canvas = document.createElement("canvas");
        canvas.getContext("2d").drawImage(image, 0, 0);
        return Array.from(canvas.getContext("2d").getImageData(2, 2, 1, 1).data).slice(0, 3);
    }"""))  # fmt: skip


def test_the_page_opens_where_the_panel_begins(page):
    assert note(page) == "blue of size 3, tone 2" and colour(page) == COLOURS["blue"]
    images = page.locator(".rlli img")
    assert [images.nth(i).get_attribute("alt") for i in (0, 1)] == ["blue blue of size 3, tone 2", "a gray square"]
    assert page.locator(".rlli .note").get_attribute("aria-live") == "polite"


def test_the_keyboard_moves_the_slider_from_stop_to_stop_and_picture_and_text_follow(page):
    control = page.get_by_label("size")
    control.focus()
    page.keyboard.press("ArrowLeft")
    assert note(page) == "blue of size 1, tone 2" and control.get_attribute("aria-valuetext") == "1"
    assert page.locator(".rlli img").first.evaluate("e => e.naturalWidth") == 10
    page.keyboard.press("End")
    assert note(page) == "blue of size 8, tone 2"
    page.keyboard.press("ArrowLeft")  # five: the line says why not, the last picture stays
    assert "another one" in note(page) and page.locator(".rlli img").first.evaluate("e => e.naturalWidth") == 80
    page.keyboard.press("ArrowLeft")
    assert note(page) == "blue of size 3, tone 2"


def test_a_choice_has_its_stops_only(page):
    select = page.get_by_label("colour")
    assert select.locator("option").all_inner_texts() == ["red", "blue"]
    select.select_option("red")
    assert note(page) == "red of size 3, tone 2" and colour(page) == COLOURS["red"]
    select.select_option("blue")
    assert colour(page) == COLOURS["blue"]


def test_a_control_with_one_stop_is_grey_and_says_where_it_moves(page):
    tone = page.get_by_label("tone")
    assert tone.is_disabled() and tone.get_attribute("aria-valuetext") == "2"
    hint = page.locator(f"#{tone.get_attribute('aria-describedby')}")
    assert hint.is_visible() and "live notebook" in hint.inner_text()
    assert page.get_by_label("size").is_enabled()


def test_it_fits_a_phone(page):
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.set_viewport_size({"width": 1100, "height": 900})


def test_it_works_on_a_page_opened_as_a_file(site, open_page):
    page = open_page(f"file://{site}/index.html")
    page.get_by_label("size").press("ArrowLeft")
    assert note(page) == "blue of size 1, tone 2"
    assert page.problems == []


def test_a_page_without_frames_says_so_and_asks_for_nothing(site, open_page):
    page = open_page(f"file://{site}/bare.html")
    assert "make book" in note(page) and page.locator(".rlli img").count() == 0
    assert page.problems == []


def test_frames_that_got_lost_are_told_of(site, tmp_path, open_page):
    shutil.copy(site / "index.html", tmp_path)
    page = open_page(f"file://{tmp_path}/index.html")
    assert "panels/page/1/index.js did not load" in note(page)
