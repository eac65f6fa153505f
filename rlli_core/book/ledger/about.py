"""Files about the book as a whole, made of the ledger and two settings: codecheck.yml, Containerfile, citations, the address.

The address of the repository stands in `_config.yml` (`repository: url:`) and nowhere else; where it is empty, no page has a link
to it. Title, authors, version and the paper's reference are those of `CITATION.cff`.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import yaml

from ...errors import UnusableFile
from ...files import DATA, FROM_GIT, read_yaml
from .claims import SYMBOLS, Source
from .entries import Ledger

ROOT = DATA.parent
CONFIG, CITATION = ROOT / "_config.yml", ROOT / "CITATION.cff"
_CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
_SEVERAL = {"holds": "hold", "holds in part": "hold in part", "does not hold": "do not hold"}
_HEAD = """\
---
# Made by `rlli claims --write` from data/claims.yaml and CITATION.cff. `rlli reproduce` makes the files of the manifest and a
# certificate beside them; a codechecker adds codechecker, check_time, report and certificate to a copy.
"""


def about() -> dict[str, Any]:
    """`title`, `authors`, `version`, `year`, the `paper`, and the `url` of the repository, which may be empty.

    Raises:
        UnusableFile: a setting that is damaged or no address.
    """
    config, citation = read_yaml(CONFIG, "copyright"), read_yaml(CITATION, "title", "authors", "version", "references")
    url = str((config.get("repository") or {}).get("url") or "").rstrip("/")
    if url and not re.fullmatch(r"https://[^\s/]+/\S+", url):
        raise UnusableFile(
            f"{CONFIG} is damaged, {FROM_GIT}: repository: url: {url} is no address such as https://github.com/OWNER/NAME"
        )
    names = [" ".join(filter(None, (a.get("given-names"), a.get("family-names"), a.get("name")))) for a in citation["authors"]]
    about = {key: str(citation[key]) for key in ("title", "version")}
    return about | {"authors": names, "year": str(config["copyright"]), "paper": citation["references"][0], "url": url}


def codecheck(ledger: Ledger) -> str:
    """codecheck.yml (https://codecheck.org.uk/spec/config/1.0/): the notebooks that have the paper's figures and claims."""
    known = about()
    shown: dict[str, list[str]] = {}
    for figure in ledger.figures:
        for name in figure.pages:
            shown.setdefault(name, []).append(figure.paper)
    for claim in (*ledger.claims, *ledger.own):
        for name in dict.fromkeys(check.notebook for check in claim.checks):
            shown.setdefault(name, []).append(claim.id)
    paper = known["paper"]
    content = {
        "version": "https://codecheck.org.uk/spec/config/1.0/",
        "paper": {
            "title": paper["title"],
            "authors": [{"name": author["name"]} for author in paper["authors"]],
            "reference": f"https://doi.org/{paper['doi']}",
        },
        "manifest": [
            {"file": f"build/reproduce/smoke/{name}.ipynb", "comment": ", ".join(what)} for name, what in sorted(shown.items())
        ],
    } | ({"repository": known["url"]} if known["url"] else {})
    return _HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def setup(sources: Mapping[str, Source]) -> dict[str, str]:
    """For a container: the `python` (3.11) that most of the runs had, and the `wheels`, an index where these had torch for CPUs."""
    versions = [source.versions for source in sources.values() if source.versions]
    python = Counter(found["python"].rpartition(".")[0] for found in versions).most_common(1)
    cpu = bool(versions) and all(found["torch"].endswith("+cpu") for found in versions)
    return {"python": python[0][0] if python else "3.11", "wheels": _CPU_WHEELS if cpu else ""}


def cited(text: str) -> str:
    """CITATION.cff with the repository's address, or with none."""
    url = about()["url"]
    text = re.sub(r"^repository-code:.*\n", "", text, flags=re.M)
    return re.sub(
        r"^license:.*\n", lambda found: f'{found[0]}repository-code: "{url}"\n' if url else found[0], text, count=1, flags=re.M
    )


def tally(claims: list[Mapping]) -> str:
    """How many claims have which verdict, such as `✓ 4 reproduced · ✗ 2 do not hold`, in the order of `SYMBOLS`."""
    counted = Counter((claim["symbol"], claim["verdict"]) for claim in claims)
    order = list(SYMBOLS.values())
    return " · ".join(
        f"{symbol} {n} {word if n == 1 else _SEVERAL.get(word, word)}"
        for (symbol, word), n in sorted(counted.items(), key=lambda c: order.index(c[0][0]))
    )
