"""The tokens that are put around a plain text."""

from __future__ import annotations

from tokenizers import Tokenizer, processors


def frame(pipeline: Tokenizer, *, bos: tuple[str, int] | None, eos: tuple[str, int] | None) -> None:
    """Let ``pipeline`` put these, each a token and its id, around what it encodes."""
    single = [bos[0]] if bos else []
    single.append("$A")
    single.extend([eos[0]] if eos else [])
    pipeline.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[each for each in (bos, eos) if each]
    )
