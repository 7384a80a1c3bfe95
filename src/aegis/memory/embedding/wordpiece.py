"""BERT's uncased WordPiece tokenizer, from the vocabulary shipped beside this file.

The vocabulary is data of google-research/bert (Apache-2.0; see NOTICE). Settings as in the
reference tokenizer of sentence-transformers/all-MiniLM-L6-v2, truncated at its 256 tokens.
"""

from __future__ import annotations

import gzip
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["MAX_TOKENS", "load_tokenizer", "read_vocabulary"]

#: Tokens of a text that are read, [CLS] and [SEP] included; the rest is ignored.
MAX_TOKENS = 256
_UNKNOWN = "[UNK]"
_SPECIAL = ("[PAD]", _UNKNOWN, "[CLS]", "[SEP]", "[MASK]")


def read_vocabulary() -> list[str]:
    """Return the 30,522 tokens; a token's index is its id."""
    packed = files("aegis.memory.embedding").joinpath("vocab.txt.gz").read_bytes()
    return gzip.decompress(packed).decode().splitlines()


def load_tokenizer() -> Tokenizer:
    """Return the tokenizer, truncating and not padding; takes about 20 ms."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import BertProcessing

    vocabulary = {token: index for index, token in enumerate(read_vocabulary())}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=_UNKNOWN))
    tokenizer.add_special_tokens(list(_SPECIAL))  # pyright: ignore[reportUnknownMemberType]
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    tokenizer.enable_truncation(MAX_TOKENS)  # pyright: ignore[reportUnknownMemberType]
    return tokenizer
