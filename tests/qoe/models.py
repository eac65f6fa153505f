"""Random-weight vision-language models of the real classes, with a byte-level tokenizer, built from config."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

CHAT = (
    "{% for m in messages %}{{ m['role'].upper() }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)
SPECIAL = ["<pad>", "<s>", "</s>", "<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>"]


def tokenizer(words=(), begins=False):
    """Bytes as tokens, and `words` as tokens of their own; one that `begins` puts <s> before every text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *alphabet])}
    merges = []
    for word in words:
        parts = list(word)
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = [parts[0] + parts[1], *parts[2:]]
            vocabulary.setdefault(parts[0], len(vocabulary))
    bpe = Tokenizer(models.BPE(vocabulary, merges))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    if begins:
        bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", SPECIAL.index("<s>"))])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        additional_special_tokens=SPECIAL[3:],
    )  # fmt: skip


def _text(vocabulary, **more):
    return LlamaConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, pad_token_id=0, bos_token_id=1, eos_token_id=2, initializer_range=0.3, **more,
    )  # fmt: skip


def llava(words=(), chat=CHAT, seed=0, begins=False):
    """A LLaVA with a 32x32 vision tower: 16 image tokens."""
    torch.manual_seed(seed)
    words = tokenizer(words, begins)
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8,
        projection_dim=32, initializer_range=0.3,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision, text_config=_text(len(words)), image_token_index=3, image_seq_length=16)
    )
    pictures = CLIPImageProcessorPil(size={"height": 32, "width": 32}, crop_size={"height": 32, "width": 32})
    return model, LlavaProcessor(
        pictures, words, patch_size=8, vision_feature_select_strategy="default", chat_template=chat,
        num_additional_image_tokens=1,
    )  # fmt: skip


def idefics(seed=0):
    """An Idefics3, the class of SmolVLM, that sees a picture in tiles."""
    torch.manual_seed(seed)
    words = tokenizer()
    model = Idefics3ForConditionalGeneration(
        Idefics3Config(
            vision_config=dict(
                hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8
            ),
            text_config=_text(len(words)), image_token_id=3, scale_factor=2, pad_token_id=0,
        )
    )  # fmt: skip
    pictures = Idefics3ImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_image_splitting=True
    )
    return model, Idefics3Processor(pictures, words, image_seq_len=4, chat_template=CHAT)
