import os
import subprocess
import sys
import time

import pytest
import torch

from rlli_core.embedded import training

pytestmark = pytest.mark.training


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "WORK", tmp_path)


def regression(name, steps, stop_after=None, ema=0.0, muon=False):
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    target = torch.arange(4.0)
    seen = []

    def loss(step):
        if stop_after is not None and step == stop_after:
            raise KeyboardInterrupt
        seen.append(step)
        x = torch.randn(32, 4)
        return (model(x).squeeze(1) - x @ target).square().mean()

    fitted, done = training.fit(name, model, loss, steps=steps, lr=0.1, warmup=5, ema=ema, muon=muon, save_every=10)
    return fitted, done, seen


def test_fit_learns():
    model, done, _ = regression("learns", 200)
    assert done == 200
    assert torch.allclose(model.weight.flatten(), torch.arange(4.0), atol=0.1)


@pytest.mark.parametrize("options", [{}, {"ema": 0.9}, {"muon": True}])
def test_an_interrupted_fit_resumes_to_the_same_weights(options):
    whole, _, _ = regression("whole", 60, **options)
    with pytest.raises(KeyboardInterrupt):
        regression("cut", 60, stop_after=37, **options)
    resumed, done, seen = regression("cut", 60, **options)
    assert seen == list(range(30, 60)) and done == 60  # from the last checkpoint on
    assert torch.equal(resumed.weight, whole.weight)


def test_a_schedule_can_end_at_a_time_however_many_steps_that_is():
    rates, model = [], torch.nn.Linear(4, 1)
    began = time.time()

    def loss(step):
        time.sleep(0.01)
        return model(torch.randn(32, 4)).square().mean()

    seen = torch.optim.AdamW.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", lambda self: rates.append(self.param_groups[0]["lr"]) or seen(self))
        _, done = training.fit("in_time", model, loss, steps=10**6, lr=0.1, warmup=1, ends_at=began + 1)
    assert 5 < done < 200 and time.time() - began < 5
    assert training.fit("late", torch.nn.Linear(4, 1), loss, steps=10, lr=0.1, ends_at=began)[1] == 0  # over before it began
    assert rates[1] > 0.09 and rates[-1] < 0.01 and rates[1:] == sorted(rates[1:], reverse=True)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint():
    regression("finite", 10)
    model = torch.nn.Linear(4, 1)
    with pytest.raises(RuntimeError, match="the loss is nan"):
        training.fit("finite", model, lambda step: model.weight.sum() * float("nan"), steps=20, lr=0.1)
    _, done, seen = regression("finite", 12)
    assert seen == [10, 11] and done == 12


def test_muon_moves_a_convolution_by_an_orthogonal_matrix():
    torch.manual_seed(0)
    model = torch.nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
    before = model.weight.detach().clone()
    *_, muon = training.new_optimizers(model, lr=0.1, weight_decay=0.0, muon=True)
    model(torch.randn(2, 4, 6, 6)).square().sum().backward()
    muon.step()
    moved = (model.weight.detach() - before).flatten(1)
    values = torch.linalg.svdvals(moved)
    assert values.min() > 0.5 * values.max() > 0  # Newton-Schulz makes them nearly equal
    assert (moved.square().mean().sqrt() / 0.1).item() == pytest.approx(0.2, rel=0.3)  # the root mean square of AdamW's steps


TWO_WORKERS = """
import sys
import torch
from pathlib import Path
from rlli_core.embedded import training

training.WORK, x = Path(sys.argv[1]), torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(1))
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(64, 1)).to(memory_format=torch.channels_last)
team = training.workers()
mine = x[team.process_index :: team.num_processes]
assert len(mine) == training.share(len(x))
training.fit("fit", model, lambda step: (model(mine) - 1).square().mean(), steps=20, lr=0.01, warmup=2, ema=0.9)
if team.is_main_process:
    torch.save([team.num_processes, *model.parameters()], sys.argv[1] + "/weights.pt")
"""


def test_two_workers_with_half_a_batch_each_are_one_with_the_whole(tmp_path):
    (tmp_path / "two_workers.py").write_text(TWO_WORKERS)
    weights = []
    for launcher in ([], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]):
        command = [sys.executable, *launcher, str(tmp_path / "two_workers.py"), str(tmp_path)]
        done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (tmp_path / "fit.safetensors").unlink()
        weights.append(torch.load(tmp_path / "weights.pt", weights_only=False))
    (one, *alone), (two, *together) = weights
    assert (one, two) == (1, 2)
    for a, b in zip(alone, together):
        assert torch.allclose(a, b, atol=1e-5)
