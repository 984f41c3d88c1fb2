"""Text to token ids and back, and conversations to prompts."""

from .loading import load_tokenizer

__all__ = ["load_tokenizer"]
