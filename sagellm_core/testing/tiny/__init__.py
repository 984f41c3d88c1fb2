"""Tiny random models of real families, written as their makers publish them.

``family`` says what each family's config.json holds, ``weights`` makes its tensors, ``tokenizer``
its vocabulary of bytes, ``files`` writes them all to a directory, and ``model`` is one such model
with the reference that computes it.
"""
