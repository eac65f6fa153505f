"""Finds digits that are typed into prose: a number that speaks of a result comes from a run, not from a keyboard.

    python -m rlli_core.book.ledger.prose [FILE ...]

prints every sentence of notebooks (`.ipynb`), pages (`.md`) or the ledger's reasons (`.yaml`) that has such digits; without
files, of all of them. What remains exempt:

- by rule: code and code blocks, mathematics, roles and citations, targets of links, labels, options of directives, the
  generated part of a page, placeholders in braces, a notebook's title (`data/claims.yaml` ties it to checks), numbers of
  lists and headings, words with a digit in them (GA1, C6, Apache-2.0), and references such as Fig. 9, (27), [4] or user 2;
- by mark: settings, equations and the paper's own numbers, in a paragraph, a list item or a table with `<!-- given -->` in it.
  On a line of its own after an empty line the mark belongs to the paragraph, table or directive before it.
"""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat

from ...files import read_yaml
from ..runner import notebooks
from .entries import LEDGER
from .pages import BEGIN, BOOK, END

GIVEN = "<!-- given -->"
_LITERAL = ("code", "code-block", "code-cell", "math", "bibliography", "toctree")

_FENCE = re.compile(r"\s*(`{3,}|~{3,}|:{3,})\s*(?:\{([\w:-]+)\})?(.*)$")
_ITEM = re.compile(r"\s*(?:[*+-]|\d+[.)])\s")
_OPTION = re.compile(r"\s*:[\w-]+:(\s|$)")
# What has a number for a name, one or more of them: Figs. 13 and 14, eqs. (14) to (17), users 1, 2 and 3.
_NAMED = r"\b(?:Figs?\.|[Ee]qs?\.|Secs?\.|Tables?|Algorithms?|[Ee]quations?|[Ee]xercises?|[Dd]evices?|[Uu]sers?|[Pp]aths?|[Pp]rompts?)"
_NUMBER = r"\s*\(?\d+(?![.,]?\d|\s?%)\)?(?:\([a-z]\))?"
_EXEMPT = re.compile(
    "|".join(
        [
            r"<!--.*?-->",
            r"\$\$.*?\$\$|\$[^$]+\$|\\begin\{(\w+\*?)\}.*?\\end\{\1\}",  # mathematics
            r"\{[\w:.-]+\}(`+)[^`]+\2|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)",  # roles, code
            r"\]\([^)]*\)|https?://\S+|</?\w[^>]*>",  # targets of links, tags
            r"^\s*\([\w-]+\)=",  # labels
            r"^\s*(?:#+\s+|\*\*)?\d+[.)](?=\s|\*\*)",  # numbers of lists, headings and exercises
            rf"{_NAMED}{_NUMBER}(?:\s*(?:,|/|and|or|to|–|-){_NUMBER})*",
            r"\((?:[1-9]|[12]\d)\)|\[\d+\]",  # equations and references of the paper
            r"[^\W\d½⅓⅔¼¾]\w*(?:[.-]\w*\d\w*)*",  # words, names
        ]
    ),
    re.S | re.M,
)
_DIGITS = re.compile(r"[−-]?[\d½⅓⅔¼¾](?:[\d.,]*\d)?(?:\s?%)?")
_SENTENCE_END = re.compile(r"[.!?][)*_\"]*\s+|\s\|\s")


@dataclass(frozen=True)
class Typed:
    """The numbers that somebody typed into a sentence of a file, as one text; `cell` counts from 0, None in a page."""

    file: str
    cell: int | None
    sentence: str
    digits: str

    def __str__(self) -> str:
        return f"{self.file}{'' if self.cell is None else f'[{self.cell}]'}: {self.digits}: {self.sentence}"


def typed(text: str, file: str = "", cell: int | None = None, *, fields: bool = False) -> list[Typed]:
    """The sentences of Markdown with digits that were typed.

    Args:
        fields: whether what stands in braces is filled in later, as in the text of `say` and in the ledger's reasons.

    >>> [found.digits for found in typed("All lose 0.05 up to 3 %, see Fig. 8 and (18). `BEP` is $p = 0.03$ for GA1.")]
    ['0.05, 3 %']
    """
    found = []
    for block in _blocks(text):
        hidden = re.sub(r"\{[^{}`]*\}", _blank, block) if fields else block
        hidden = _EXEMPT.sub(_blank, hidden)
        ends = [0, *(end.end() for end in _SENTENCE_END.finditer(hidden)), len(block)]
        for start, end in zip(ends, ends[1:]):
            if digits := _DIGITS.findall(hidden[start:end]):
                found.append(Typed(file, cell, " ".join(block[start:end].split()), ", ".join(digits)))
    return found


def in_notebook(path: Path) -> list[Typed]:
    """The digits typed into the Markdown cells of a notebook and into the texts that its code passes to `say`."""
    found = []
    for k, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type == "markdown":
            text = re.sub(r"^# .*$", "", cell.source, count=1, flags=re.M) if k == 0 else cell.source
            found += typed(text, path.name, k)
        elif cell.cell_type == "code":
            found += [digits for text in _said(cell.source) for digits in typed(text, path.name, k, fields=True)]
    return found


def in_page(path: Path) -> list[Typed]:
    """The digits typed into a page of Markdown, its generated part left out."""
    return typed(re.sub(f"{BEGIN}.*?{END}", "", path.read_text(encoding="utf-8"), flags=re.S), path.name)


def in_reasons(path: Path) -> list[Typed]:
    """The digits typed into the reasons that the ledger gives for its verdicts, and into why checks are not testable."""
    found = []
    content = read_yaml(path, "claims")
    for claim in [*content["claims"], *content.get("own", ())]:
        untestable = [entry["untestable"]["says"] for entry in (claim, *claim.get("checks", ())) if "untestable" in entry]
        found += [digits for text in (claim.get("reason", ""), *untestable) for digits in typed(text, claim["id"], fields=True)]
    return found


def in_file(path: Path) -> list[Typed]:
    """The digits typed into a notebook, a page or the ledger, told apart by the ending of the file."""
    return {".ipynb": in_notebook, ".md": in_page}.get(path.suffix, in_reasons)(path)


def _blocks(text: str) -> Iterator[str]:
    """The paragraphs, list items, headings and tables of Markdown that are prose and not marked as given."""
    groups: list[list[list[str]]] = [[[]]]  # of blocks, of lines; a directive with all that is in it is one group
    fences: list[str] = []
    literal, options = "", False

    def part() -> None:
        groups[-1].append([]) if fences else groups.append([[]])

    for line in text.splitlines():
        if literal:
            if line.strip().startswith(literal) and not line.strip().strip(literal[0]):
                literal = ""
            continue
        fence = _FENCE.match(line)
        if fence and fences and not fence[2] and not fence[3].strip() and fence[1] == fences[-1]:
            fences.pop()
            part()
        elif fence and (fence[2] in _LITERAL or not fence[2]):
            literal = fence[1]
        elif fence:
            part()
            fences.append(fence[1])
            if re.search(r"[^\W\d]", fence[3]):  # a title, and not the columns of a grid
                groups[-1][-1].append(fence[3])
            groups[-1].append([])
            options = True
        elif options and _OPTION.match(line):
            continue
        else:
            options = False
            if not line.strip() or _ITEM.match(line) or line.startswith("#"):
                part()
            groups[-1][-1].append(line)

    kept: list[list[str]] = []
    for group in groups:
        blocks = ["\n".join(lines) for lines in group if any(line.strip() for line in lines)]
        if [block.strip() for block in blocks] == [GIVEN]:
            kept[-1:] = []
        elif blocks:
            kept.append([block for block in blocks if GIVEN not in block])
    return (block for blocks in kept for block in blocks)


def _said(source: str) -> Iterator[str]:
    """The texts that code passes to `say`."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a cell with a magic
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "say" and node.args:
            strings = (part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant))
            yield from (text for text in strings if isinstance(text, str))


def _blank(found: re.Match) -> str:
    """As many characters that stand for nothing, so that places in the text stay the same; ends of lines are kept."""
    return re.sub(r"[^\n]", "\N{MIDDLE DOT}", found[0])


def main(given: Sequence[str]) -> int:
    """Print what is typed; 1 if there is any."""
    everything = [*map(notebooks.find, notebooks.names()), *sorted(BOOK.glob("*.md")), LEDGER]
    found = [digits for path in (map(Path, given) if given else everything) for digits in in_file(path)]
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{len(found)} sentences with typed digits" if found else "nothing typed", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
