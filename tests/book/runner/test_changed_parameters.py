"""Papermill runs real notebooks with other parameters than those they were committed with."""

import pytest

from rlli_core.book.runner import runs
from rlli_core.errors import RunFailed

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("own_allocator", {"seed": 5, "rounds": 1000}),
        ("learn_fading", {"snr_db": 5.0, "bits": 200}),
        ("learn_actor_critic", {"rounds": 200, "trainings": 2}),
    ],
)
def test_a_notebook_runs_with_other_parameters(name, parameters, tmp_path):
    (record,) = runs.run([name], parameters=parameters, folder=tmp_path)
    committed = runs.RunRecord.of(name, runs.read(runs.find(name)))
    assert {key: record.parameters[key] for key in parameters} == parameters
    assert record.parameters.keys() == committed.parameters.keys()
    assert record.numbers.keys() == committed.numbers.keys() and record.numbers != committed.numbers


def test_a_chain_too_short_for_the_pages_toy_is_refused_by_its_configuration(tmp_path):
    with pytest.raises(RunFailed, match=r"steps=2 .*3\.\.50") as refused:
        runs.run(["learn_diffusion"], parameters={"steps": 2}, folder=tmp_path)
    assert refused.value.bad_argument
