"""The vocabulary of the captions: a byte-pair tokenizer in CLIP's format, a word or less than a word a token."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .caption import MAX_TOKENS, caption
from .scene import sample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SPECIAL = ["<|startoftext|>", "<|endoftext|>"]


def tokenizer() -> PreTrainedTokenizerBase:
    """A CLIPTokenizer learned from generated captions; unknown letters are spelled in bytes, as in CLIP's.

    The end mark has the highest id, since text towers of CLIP's kind find the end of a caption by the largest token.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    rng = np.random.default_rng(0)
    captions = [caption(sample(rng), rng) for _ in range(20_000)]
    learned = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learned.normalizer = normalizers.Lowercase()
    learned.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    size = 2 * len(alphabet) + 400
    learned.train_from_iterator(
        captions,
        trainers.BpeTrainer(
            vocab_size=size, initial_alphabet=sorted(alphabet), end_of_word_suffix="</w>", show_progress=False
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        learned.model.save(folder)
        merges = (Path(folder) / "merges.txt").read_text("utf-8").splitlines()[1:]
    pairs = [tuple(line.split(" ")) for line in merges]
    # The trainer numbers the letters that end a word in another order each time it runs: ours is fixed.
    letters = sorted(alphabet)
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in pairs), *SPECIAL]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=pairs, model_max_length=MAX_TOKENS)
