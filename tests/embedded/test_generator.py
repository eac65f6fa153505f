import subprocess
import sys

import pytest
from transformers import CLIPTokenizer

from rlli_core.embedded import generator, scenes
from rlli_core.files import model_folder

pytestmark = pytest.mark.slow


def captions():
    return [scenes.scene(11, index).caption.lower() for index in range(300)]


def test_each_word_of_a_caption_is_one_token():
    words = generator.tokenizer()
    for word in sorted({word.strip(",") for caption in captions() for word in caption.split()}):
        assert len(words(word).input_ids) == 3, word  # start, the word, end


def test_no_caption_is_cut_off():
    words = generator.tokenizer()
    for caption in captions():
        tokens = words(caption, truncation=True).input_ids
        assert len(tokens) < generator.MAX_TOKENS
        assert words.decode(tokens, skip_special_tokens=True).replace(" ,", ",").strip() == caption


def test_the_vocabulary_is_the_same_in_every_process_and_that_of_the_shipped_model():
    ask = "from rlli_core.embedded.generator import tokenizer; print(sorted(tokenizer().get_vocab().items()))"
    told = {
        subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }
    assert told == {f"{sorted(generator.tokenizer().get_vocab().items())}\n"}
    shipped = CLIPTokenizer.from_pretrained(model_folder("embedded-sd") / "tokenizer")
    assert shipped.get_vocab() == generator.tokenizer().get_vocab()


def test_weights_lie_where_the_objects_are():
    labels = [{"boxes": [[16, 40, 60, 104]]}, {"boxes": [[-8, 64, 20, 132], [120, 0, 150, 8]]}]
    weights = generator.object_weights(labels)
    assert weights.shape == (2, 1, 16, 16)
    assert weights.mean((1, 2, 3)).tolist() == pytest.approx([1, 1])
    heavy = weights > 1
    assert heavy[0].sum() == 6 * 8 and heavy[0, 0, 5:13, 2:8].all()
    assert heavy[1].sum() == 3 * 8 + 1 and heavy[1, 0, 8:, :3].all() and heavy[1, 0, 0, 15]
    assert (weights[0].max() / weights[0].min()).item() == pytest.approx(generator.OBJECT_WEIGHT)
