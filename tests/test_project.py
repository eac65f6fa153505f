"""The files at the root agree with each other and with what is in the checkout."""

import re
import tomllib
from hashlib import sha256

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from rlli_core.book.runner import checksums
from rlli_core.files import DATA

ROOT = DATA.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pinned():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in (line.split("==") for line in lines)}


def test_environment_yml_installs_what_pyproject_says():
    conda, pip = {}, None
    for entry in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]:
        if isinstance(entry, dict):
            pip = entry["pip"]
        else:
            name, _, version = entry.partition("=")
            conda[name] = version
    # Every dependency comes from pyproject through the editable install, so there is no second list to disagree.
    assert set(conda) == {"python", "pip"}
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(conda["python"])
    assert pip[0] == "--constraint constraints.txt"
    extras = re.fullmatch(r"--editable \.\[(.+)\]", pip[1])[1].split(",")
    assert set(extras) == set(PROJECT["optional-dependencies"]) and len(pip) == 2


def test_makefile_installs_the_same():
    makefile = (ROOT / "Makefile").read_text()
    assert '--constraint constraints.txt --editable ".[book,test,train,coding,cluster,dev]"' in makefile
    assert set(PROJECT["optional-dependencies"]) == {"book", "test", "train", "coding", "dev"}


def test_every_dependency_is_pinned_within_its_bounds():
    versions = pinned()
    for line in [*PROJECT["dependencies"], *sum(PROJECT["optional-dependencies"].values(), [])]:
        requirement = Requirement(line)
        version = versions[re.sub(r"[-_.]+", "-", requirement.name).lower()]
        assert requirement.specifier.contains(Version(version), prereleases=True), line
    assert versions["torch"] == "2.13.0" and versions["jupyter-book"] == "1.0.4.post1"


def test_the_two_license_statements_agree():
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["license"] == "Apache-2.0"
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == PROJECT["version"]


def test_data_is_as_its_checksums_say_and_described():
    assert checksums.recorded(), "data/checksums.txt is empty; run `make checksums`"
    assert checksums.changed() == [], "run `make checksums` if these changes are meant"
    described = (DATA / "README.md").read_text()
    for place in {"/".join(name.split("/")[:2]) for name in checksums.recorded()}:
        assert f"`{place}`" in described, f"data/README.md does not say where {place} comes from"


@pytest.mark.parametrize("name", ["Makefile", "constraints.txt", "environment.yml", "pyproject.toml", ".ci/run"])
def test_nothing_is_tied_to_one_package_index(name):
    assert not re.search(r"index-url|find-links|file:|https?://", (ROOT / name).read_text())


def test_the_scripts_of_the_book_are_the_recorded_ones():
    vendor = ROOT / "book" / "assets" / "vendor"
    lines = (vendor / "checksums.txt").read_text().splitlines()
    recorded = {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
    there = [path for path in vendor.rglob("*") if path.is_file() and path.name != "checksums.txt"]
    assert {p.relative_to(vendor).as_posix(): sha256(p.read_bytes()).hexdigest() for p in there} == recorded
