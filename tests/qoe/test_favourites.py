import numpy as np
import pytest
from PIL import Image

from rlli_core.errors import InvalidArgument
from rlli_core.qoe.favourites import choose_favourites, cross_scores, matrix_agreement, read_favourites

HEAD = "person,openness,conscientiousness,extraversion,agreeableness,neuroticism\n"


def test_people_and_their_pictures_are_read(tmp_path):
    (tmp_path / "traits.csv").write_text(HEAD + "12,0.1,0.2,0.3,0.4,0.5\nann,1,0,1,0,1\n")
    for person, colours in {"12": ["red", "blue"], "ann": ["green"]}.items():
        (tmp_path / person).mkdir()
        for i, colour in enumerate(colours):
            Image.new("RGB", (4, 4), colour).save(tmp_path / person / f"{i}.PNG")
    (tmp_path / "ann" / "notes.txt").write_text("not a picture")
    found = read_favourites(tmp_path)
    assert list(found) == ["12", "ann"] and found["12"][0].vector == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert [image.getpixel((0, 0)) for image in found["12"][1]] == [(255, 0, 0), (0, 0, 255)]
    assert len(found["ann"][1]) == 1


@pytest.mark.parametrize(
    "table, wrong",
    [
        (None, "traits.csv"),
        ("person,openness\nann,1\n", "conscientiousness"),
        (HEAD + "ann,1,0,1,0,1\n", "no pictures"),
        (HEAD + "bob,1,0,1,0,2\n", "neuroticism"),
        (HEAD + "bob,1,0,1,0,\n", "neuroticism"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(tmp_path, table, wrong):
    (tmp_path / "bob").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "bob" / "a.jpg")
    if table:
        (tmp_path / "traits.csv").write_text(table)
    with pytest.raises(InvalidArgument, match=wrong):
        read_favourites(tmp_path)


def test_favourites_stand_out_against_what_everybody_likes():
    ratings = np.array([[0.9, 0.9], [0.5, 0.1], [0.2, 0.6], [0.5, 0.45]])  # the first is everybody's, nobody's favourite
    assert choose_favourites(ratings, ["a", "b"], 1) == {"a": [1], "b": [2]}
    assert choose_favourites(ratings, ["a", "b"], 2) == {"a": [1, 3], "b": [2, 0]}
    with pytest.raises(InvalidArgument, match="count"):
        choose_favourites(ratings, ["a", "b"], 5)


def test_rows_are_agents_and_columns_whose_favourites():
    scores = np.array([[0.9, 0.2], [0.7, 0.4], [0.1, 0.8]])
    table = cross_scores(scores, {"a": [0, 1], "b": [2]})
    assert table.loc["a", "a"] == pytest.approx(0.8) and table.loc["a", "b"] == pytest.approx(0.1)
    assert table.loc["b", "a"] == pytest.approx(0.3) and table.loc["b", "b"] == pytest.approx(0.8)


def test_equal_matrices_agree_and_chance_is_counted_over_all_orders():
    rng = np.random.default_rng(0)
    one = np.corrcoef(rng.random((5, 8)))
    assert matrix_agreement(one, one) == (pytest.approx(1), 1 / 120)
    order = [1, 2, 3, 4, 0]
    found, chance = matrix_agreement(one, one[np.ix_(order, order)])
    assert found < 0.9 and chance > 1 / 120


def test_pictures_are_read_as_a_viewer_shows_them_and_na_is_a_name(tmp_path):
    (tmp_path / "traits.csv").write_text(HEAD + "NA,1,0,1,0,1\n")
    (tmp_path / "NA").mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (6, 4), "red").save(tmp_path / "NA" / "a.jpg", exif=turned)
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "NA" / "b.webp", lossless=True)
    (person,) = read_favourites(tmp_path)
    first, second = read_favourites(tmp_path)[person][1]
    assert person == "NA" and first.size == (4, 6) and second.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("table", "picture", "wrong"),
    [
        (HEAD + "bob,1,0,1,0,1\nbob,0,0,0,0,0\n", None, "bob in more than one row"),
        (HEAD + "bob,1,0,1,0,much\n", None, "neuroticism of bob='much'"),
        (HEAD + "bob,1,0,1,0,1\n", b"no picture at all", "a.jpg.*unreadable"),
        (b"\xff\xfe\x00bad", None, "unreadable"),
        ("", None, "unreadable"),
    ],
)
def test_damaged_and_foreign_files_are_named(tmp_path, table, picture, wrong):
    (tmp_path / "bob").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "bob" / "a.jpg")
    if picture:
        (tmp_path / "bob" / "a.jpg").write_bytes(picture)
    (tmp_path / "traits.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    with pytest.raises(InvalidArgument, match=wrong) as refused:
        read_favourites(tmp_path)
    assert "\n" not in str(refused.value)
