"""The form in a browser without kernel and network: filled in, saved, and read by `rlli people`."""

import json
import re

import numpy as np
import pytest

from rlli_core.book import ratings
from rlli_core.book.panels.rate import RateYourself
from rlli_core.book.panels.widget import STYLE, module

from ..conftest import PAGE, PATIENCE_MS


@pytest.fixture(scope="module")
def address(tmp_path_factory, serve):
    folder = tmp_path_factory.mktemp("rate")
    code = module("common", "rate").replace("export default { render };", "const panel = { render };")
    config = json.dumps(RateYourself().config)
    (folder / "index.html").write_text(PAGE.format(css=STYLE, config=config, module=code))
    return f"{serve(folder)}/index.html"


@pytest.fixture(scope="module")
def page(address, open_page):
    page = open_page(address)
    page.set_default_timeout(PATIENCE_MS)
    return page


def note(page):
    return page.locator(".rlli .note").inner_text()


def test_every_control_has_a_name_and_nothing_is_chosen_at_first(page):
    assert note(page) == "Answered 0 of 10 statements, rated 0 of 24 pictures."
    for _, _, words in ratings.STATEMENTS:
        assert page.get_by_role("combobox", name=words, exact=True).count() == 1
    for number, picture in enumerate(ratings.pictures(), 1):
        scale = page.get_by_role("group", name=f"{number}. asked for: {picture.prompt}", exact=True)
        assert scale.get_by_role("radio").count() == 11
        assert scale.get_by_role("img").get_attribute("alt") == f"picture {number}"
    assert page.get_by_role("radio", name="10", exact=True).count() == 24
    page.wait_for_function("[...document.querySelectorAll('.rlli img')].every((e) => e.naturalWidth === 128)")


def test_what_is_open_is_told_and_gets_the_focus(page):
    page.get_by_role("button", name="Save").click()
    assert "needs all statements and 12 pictures" in note(page)
    assert page.evaluate("document.activeElement.tagName") == "SELECT"


def test_it_fits_a_phone_with_targets_for_a_thumb_and_takes_the_colours_of_a_dark_page(page):
    page.set_viewport_size({"width": 375, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= 375")
    sizes = page.evaluate(
        "[...document.querySelectorAll('.rlli .scale label, .rlli select')].map((e) => e.getBoundingClientRect()).map((r) => [r.width, r.height])"
    )
    assert np.min(sizes) >= 24  # WCAG 2.2, 2.5.8
    page.evaluate("document.body.style.cssText = 'background: #121212; color: #eee'")
    for selector in (".rlli legend", ".rlli .rated legend", ".rlli .scale span", ".rlli select", ".rlli button", ".rlli .note"):
        assert page.locator(selector).first.evaluate("e => getComputedStyle(e).color") == "rgb(238, 238, 238)", selector
    page.evaluate("document.body.style.cssText = ''")
    page.set_viewport_size({"width": 1100, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth <= 1100")


def test_it_is_filled_in_by_keyboard_and_the_file_is_what_rlli_people_reads(page, tmp_path):
    answers = (5, 4, 3, 2, 1, 1, 3, 3, 2, 5)
    for (_, _, words), answer in zip(ratings.STATEMENTS, answers):
        page.get_by_role("combobox", name=words, exact=True).focus()
        for _ in range(answer):
            page.keyboard.press("ArrowDown")
    given = np.full(24, np.nan)
    for number in range(1, 15):
        page.get_by_role("group", name=re.compile(rf"^{number}\. asked for")).get_by_role("radio", name="0", exact=True).focus()
        page.keyboard.press("Space")
        for _ in range(number % 11):
            page.keyboard.press("ArrowRight")
        given[number - 1] = number % 11
    assert note(page) == "Answered 10 of 10 statements, rated 14 of 24 pictures."
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save").press("Enter")
    assert re.fullmatch(r"ratings-[0-9a-z]+\.csv", saved.value.suggested_filename) and saved.value.suggested_filename in note(
        page
    )
    saved.value.save_as(tmp_path / saved.value.suggested_filename)
    (person,), refused = ratings.read_all(tmp_path)
    assert refused == {} and person.answers == answers and not person.made_up
    np.testing.assert_array_equal(person.ratings, given)
    assert (tmp_path / saved.value.suggested_filename).read_text() == person.text()
    assert page.problems == []  # and nothing was asked of any server but the page
