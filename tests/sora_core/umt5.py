"""A random UMT5 encoder with a word tokenizer, in the layout of the published pipelines."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

DIM = 16
WORDS = ["<pad>", "</s>", "<unk>", "a", "red", "ball", "moves", "left", "blue", "square", "dogs", "&"]


def write_umt5(folder: Path) -> Path:
    """Leaves ``text_encoder/`` and ``tokenizer/`` in the folder."""
    torch.manual_seed(0)
    config = UMT5Config(vocab_size=len(WORDS), d_model=DIM, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    UMT5EncoderModel(config).save_pretrained(folder / "text_encoder")
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(folder / "tokenizer")
    return folder
