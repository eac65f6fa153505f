"""Times of the machine are there, positive, and in order; sizes agree with the published files."""

import pytest

from rlli_core.book import bench
from rlli_core.errors import InvalidArgument

pytestmark = pytest.mark.slow


def test_bench_times_the_embedded_models():
    times = bench.bench(repeats=1)
    assert list(times) == ["image_s", "denoising_step_s", "rating_s", "allocator_update_s"]
    assert all(0 < seconds < 60 for seconds in times.values())
    assert times["denoising_step_s"] < times["image_s"]


def test_stable_diffusion_has_as_many_weights_as_its_published_files():
    # UNet 859.52 M, autoencoder 83.65 M, text encoder 123.06 M in the safetensors files of v1.5.
    assert bench.stable_diffusion().weights == 859_520_964 + 83_653_863 + 123_060_480


def test_llava_has_seven_billion():
    assert bench.llava().weights == pytest.approx(7.06e9, rel=0.01)
    assert bench.llava().memory_gb == pytest.approx(14.1, rel=0.01)


def test_a_loaded_pipeline_is_counted_whole(tiny_pipeline):
    pipeline = tiny_pipeline()
    size = bench.of_pipeline(pipeline)
    parts = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    assert size.weights == sum(p.numel() for part in parts for p in part.parameters())
    assert size.step_flops > 0 and size.decode_flops > 0
    assert next(pipeline.unet.parameters()).device.type != "meta"


def test_seconds_follow_from_operations():
    size = bench.Size(weights=10**9, step_flops=2e12, decode_flops=1e12)
    assert size.memory_gb == 2 and size.seconds(10, tflops=7.0) == 3
    with pytest.raises(InvalidArgument):
        size.seconds(0, tflops=7.0)


def test_a_larger_product_takes_its_operations_at_about_the_same_rate():
    rates = [bench.matrix_tflops("cpu", "fp32", side) for side in (512, 1024)]
    assert 0.05 < rates[0] / rates[1] < 20 and min(rates) > 1e-4
