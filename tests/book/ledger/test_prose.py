"""The scanner for typed digits, and the book's notebooks, pages and reasons under it."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from rlli_core.book.ledger import prose


def digits(text, **given):
    return [found.digits for found in prose.typed(text, **given)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Loses 0.05 at 3 %.", ["0.05, 3 %"]),
        ("It gains −0.2% to +1,5 or 8,000.", ["−0.2%, 1,5, 8,000"]),
        ("First one 1. Then two 2!", ["1", "2"]),
        ("About ½ of .97", ["½, 97"]),
        ("No digit at all, three of eight.", []),
        ("From 0.4–0.5 on", ["0.4, 0.5"]),
        ("Split in\ntwo lines of 5 words.", ["5"]),
        ("# Title with 15 %\n\nText.", ["15 %"]),
        ("| a | 0.5 |\n| --- | --- |\n| b | 7 |", ["0.5", "7"]),
        ("- one\n- two 2\n- three", ["2"]),
        ("A [gain of 12](page1.md).", ["12"]),
    ],
)
def test_a_typed_number_is_found(text, found):
    assert digits(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "`p = 0.03` and ``a `1` b`` and $x_1 = 0.5$.",
        "$$ z = 0.5 $$ (label)\n\n$$\ny = 1\n$$",
        "\\begin{align}\n x &= 1 \\\\\n\\end{align}",
        "{cite}`du2025rlli`, {numref}`Fig. {number} <fig-1>`, {eq}`eq-2`, {rec}`fig08:1 - lost_bep_0.06:.0%`",
        "[their page](https://a.b/2025/11) and https://a.b/2025 and <a href='x2'>here</a>",
        "```python\nx = 0.5\n```\n\n~~~\n7\n~~~",
        "```{code-block} python\nx = 0.5\n```\n\n```{math}\n:label: eq-1\n2\n```",
        "````{dropdown} Solution\n```python\nx = 0.5\n```\nSo it is.\n````",
        "```{figure} a1.svg\n:name: fig-1\n:width: 100%\n:alt: One\n\nA caption.\n```",
        "(sec-1)=\n# Title",
        "Fig. 9, Figs. 13/14, Figs. 13 and 14, Fig. 10(b) to (d), eqs. (14) to (17), eq. (27), (7), Table 2, Algorithm 1, [58]",
        "Sec. V-B1, Sec. III-A3, GA1, claims C6 and C1.2, Apache-2.0, t0, float16, user 2, users 1, 2 and 3, device 1, path 4",
        "## 1. The start\n\n1. First\n2) Second\n\n**3.** Third",
        "A <!-- 7 --> comment.",
        f"It takes 8 bits. {prose.GIVEN}",
        f"It takes\n8 bits.\n{prose.GIVEN}",
        f"| a | 0.5 |\n| --- | --- |\n\n{prose.GIVEN}",
        f"```{{list-table}}\n* - a\n  - 1\n* - b\n  - 2\n```\n\n{prose.GIVEN}",
        f"## With 8 bits\n{prose.GIVEN}\n\nText.",
    ],
)
def test_what_is_exempt_is_not(text):
    assert digits(text) == []


def test_a_mark_is_for_its_own_paragraph_item_or_table():
    assert digits(f"Before 1.\n\nGiven 2.\n\n{prose.GIVEN}\n\nAfter 3.") == ["1", "3"]
    assert digits(f"- a 1\n- b 2 {prose.GIVEN}\n- c 3") == ["1", "3"]
    assert digits(f"```{{list-table}}\n* - a 1 {prose.GIVEN}\n  - b 2\n```") == ["2"]
    assert digits(f"```{{note}} On 1\n:class: x2\nA 2.\n\nB 3. {prose.GIVEN}\n```\nC 4.") == ["1", "2", "4"]
    assert digits("Fig. 3 has 0.5, user 2 has 3 %, users 1 and 2.5.") == ["0.5, 3 %, 2.5"]


def test_fields_are_exempt_where_they_are_filled_in():
    text = "All {lost:.2f} lose {x:.0%}, at 3 %."
    assert digits(text, fields=True) == ["3 %"] and digits(text) == ["2, 0%, 3 %"]


def test_in_a_notebook_text_and_what_is_said_are_read(tmp_path):
    code = 'x = 0.5\nsay("Loses {x:.2f} "\n    "at 3 %.", x=0.7)\nsay("up 1" if x > 2 else "down 4")'
    cells = [new_markdown_cell("(a1)=\n# Title of 5\n\nText 6."), new_code_cell(code), new_code_cell("%matplotlib 5")]
    nbformat.write(new_notebook(cells=[*cells, new_markdown_cell("# Later 7")]), tmp_path / "a.ipynb")
    found = prose.in_file(tmp_path / "a.ipynb")
    assert [(f.cell, f.digits) for f in found] == [(0, "6"), (1, "3 %"), (1, "1"), (1, "4"), (3, "7")]
    assert str(found[1]) == "a.ipynb[1]: 3 %: Loses {x:.2f} at 3 %."


def test_the_generated_part_of_a_page_is_left_out(tmp_path, capsys):
    (tmp_path / "a.md").write_text(f"One 1.\n\n{prose.BEGIN}\n\nTwo 2.\n\n{prose.END}\n\nThree 3.\n")
    assert [f.digits for f in prose.in_file(tmp_path / "a.md")] == ["1", "3"]
    assert prose.main([str(tmp_path / "a.md")]) == 1 and "a.md: 3: Three 3." in capsys.readouterr().out
    (tmp_path / "a.md").write_text("Nothing.\n")
    assert prose.main([str(tmp_path / "a.md")]) == 0


def test_reasons_are_read(tmp_path):
    (tmp_path / "claims.yaml").write_text("claims:\n- {id: C1, reason: 'Up {a:.2f} at 3 %.'}\n- {id: C2}\n")
    assert [(f.file, f.digits) for f in prose.in_file(tmp_path / "claims.yaml")] == [("C1", "3 %")]
