"""Logs: seeded ones by their law, and a made-up file with the columns of DiffusionDB's."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rlli_core.allocation.request_log import read_log, zipf_log
from rlli_core.errors import InvalidArgument, ModelNotFound, UnusableFile

PROMPTS = [f"prompt {i}" for i in range(20)]


def test_arrivals_are_poisson_and_prompts_zipf():
    log = zipf_log(PROMPTS, 5_000, 4.0, exponent=1.0, users=7, seed=1)
    gaps = np.diff([0.0, *(request.time_s for request in log)])
    assert stats.kstest(gaps, "expon", args=(0, 1 / 4)).pvalue > 0.01
    counts = np.sort(np.unique([request.prompt for request in log], return_counts=True)[1])[::-1]
    expected = 1 / np.arange(1, 21) / (1 / np.arange(1, 21)).sum() * 5_000
    assert stats.chisquare(counts, expected).pvalue > 0.001
    assert len({request.user for request in log}) == 7
    assert log == zipf_log(PROMPTS, 5_000, 4.0, users=7, seed=1) != zipf_log(PROMPTS, 5_000, 4.0, users=7, seed=2)


def test_exponent_zero_asks_for_all_alike():
    counts = np.unique([request.prompt for request in zipf_log(PROMPTS, 4_000, 1.0, exponent=0.0)], return_counts=True)[1]
    assert stats.chisquare(counts).pvalue > 0.001


def diffusiondb(folder, rows=200):
    """A file of the columns of DiffusionDB's metadata.parquet, made up."""
    pytest.importorskip("pyarrow", reason="pyarrow, which a reader installs, is not here")
    rng = np.random.default_rng(0)
    minutes = pd.Timestamp("2022-08-06", tz="UTC") + pd.to_timedelta(rng.integers(0, 300, rows), unit="min")
    table = pd.DataFrame(
        {
            "image_name": [f"{i}.png" for i in range(rows)], "prompt": rng.choice(PROMPTS, rows), "part_id": 1, "seed": 0, "step": 50,
            "cfg": 7.0, "sampler": 8, "width": 512, "height": 512, "user_name": rng.choice(["3f", "a0"], rows), "timestamp": minutes,
            "image_nsfw": 0.0, "prompt_nsfw": 0.0,
        }
    )  # fmt: skip
    table.to_parquet(folder / "metadata.parquet")
    return table


def test_a_readers_log_comes_in_its_order_at_the_rate_asked_for(tmp_path):
    table = diffusiondb(tmp_path)
    log = read_log(tmp_path, rate_hz=2.0)
    once = table.drop_duplicates(["prompt", "user_name", "timestamp"])
    assert len(log) == len(once) and log[0].time_s == 0 and (len(log) - 1) / log[-1].time_s == pytest.approx(2.0)
    assert np.all(np.diff([request.time_s for request in log]) >= 0)
    first = once.sort_values("timestamp", kind="stable").iloc[0]
    assert (log[0].prompt, log[0].user) == (first.prompt, first.user_name)
    assert read_log(str(tmp_path), 1.0, count=10)[-1].prompt == log[9].prompt


def test_a_grid_of_pictures_counts_once_and_empty_prompts_not_at_all(tmp_path):
    table = diffusiondb(tmp_path, 10)
    table.loc[2, "prompt"], table.loc[3, "prompt"] = " ", None
    pd.concat([table, table]).to_parquet(tmp_path / "metadata.parquet")
    assert len(read_log(tmp_path, 1.0)) == 8


def test_files_that_are_none_are_told_in_one_line(tmp_path):
    with pytest.raises(ModelNotFound, match="no log at .*metadata.parquet: download"):
        read_log(tmp_path, 1.0)
    table = diffusiondb(tmp_path)
    table.drop(columns="timestamp").to_parquet(tmp_path / "metadata.parquet")
    with pytest.raises(UnusableFile, match="damaged or has no columns prompt, user_name, timestamp") as told:
        read_log(tmp_path, 1.0)
    assert "\n" not in str(told.value)
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    with pytest.raises(UnusableFile, match="damaged"):
        read_log(tmp_path, 1.0)


@pytest.mark.parametrize(
    "bad", [{"count": 0}, {"rate_hz": 0.0}, {"exponent": -1.0}, {"users": 0}, {"seed": -1}, {"prompts": []}]
)
def test_bad_arguments(bad):
    with pytest.raises(InvalidArgument, match=f"^{next(iter(bad))}="):
        zipf_log(**{"prompts": PROMPTS, "count": 3, "rate_hz": 1.0} | bad)
