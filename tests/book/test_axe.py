"""axe (axe-core, MPL-2.0, in the package axe-playwright-python) finds nothing serious on the book's pages, in either theme."""

import pytest

from rlli_core.files import DATA

pytestmark = [pytest.mark.browser, pytest.mark.slow]

BUILT = DATA.parent / "build" / "html"
PAGES = (
    "book/intro",
    "book/findings",
    "book/status",
    "notebooks/explorer",
    "notebooks/fig09_steps",
    "notebooks/learn_diffusion",
)
# What axe preloads it looks for in the wrong folder; the plain slider of ipywidgets is on no page but that of the small site.
SCRIPT = "axe.run({exclude: ['.noUi-handle']}, {resultTypes: ['violations'], preload: false})"


def serious(browser, address, theme):
    """Rule, element and what is wrong with it, for each serious or critical finding on a page."""
    sync = pytest.importorskip("axe_playwright_python.base", reason="pip install axe-playwright-python")
    context = browser.new_context(color_scheme=theme, viewport={"width": 1280, "height": 720})
    try:
        page = context.new_page()
        missing = []
        page.on("response", lambda answer: answer.status >= 400 and missing.append(answer.url))
        page.goto(address, timeout=120_000)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        page.evaluate(sync.AXE_SCRIPT)
        found = page.evaluate(SCRIPT)["violations"]
        assert missing == []
    finally:
        context.close()
    return [
        (rule["id"], node["html"][:120], node["failureSummary"])
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["book/intro", "book/claims", "notebooks/slider", "notebooks/other"])
def test_pages_under_the_real_configuration(browser, serve, site, name, theme):
    assert serious(browser, f"{serve(site)}/{name}.html", theme) == []


@pytest.mark.skipif(not BUILT.exists(), reason="the book is not built here")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_pages_of_the_built_book(browser, serve, name, theme):
    assert serious(browser, f"{serve(BUILT)}/{name}.html", theme) == []


def test_a_panel_acts_on_another_page_than_its_own(open_page, serve, site):
    page = open_page(f"{serve(site)}/book/intro.html")
    slider, note = page.get_by_role("slider", name="own </steps>"), page.locator(".panel-here .note")
    page.wait_for_function("document.querySelector('.panel-here .note').textContent === 'told one'")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('.panel-here .note').textContent === 'told two'")
    assert note.inner_text() == "told two" and page.problems == []


def test_axe_sees_a_button_without_a_name(browser, serve, tmp_path):
    (tmp_path / "bad.html").write_text(
        '<!doctype html><html lang="en" data-theme="light"><link rel="icon" href="data:,"><title>x</title><button></button></html>'
    )
    assert [rule for rule, *_ in serious(browser, f"{serve(tmp_path)}/bad.html", "light")] == ["button-name"]


def test_the_switch_shows_the_code_of_all_pages_and_the_keyboard_reaches_the_sliders(browser, serve, site):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{serve(site)}/notebooks/slider.html")
    boxes, switch = page.locator("details.above-input"), page.locator(".code-switch")
    states = lambda: boxes.evaluate_all("all => all.map(box => box.open)")  # noqa: E731
    assert states() == [False, False]
    switch.click()
    assert states() == [True, True] and switch.get_attribute("aria-pressed") == "true"
    page.reload()
    assert states() == [True, True]
    switch.click()
    page.reload()
    assert states() == [False, False]
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the sliders"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "sliders"
    context.close()
