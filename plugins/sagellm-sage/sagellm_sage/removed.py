"""Names that went away with vLLM, and what to write in their place."""

from __future__ import annotations

_PLACE = "sage.middleware.operators.llm"

#: The code to write instead of each name.
REPLACEMENTS = {
    "VLLMGenerator": f"""\
    from {_PLACE} import SageLLMGenerator
    gen = SageLLMGenerator(backend_type="auto", model_path="Qwen/Qwen2.5-7B-Instruct")
    result = gen.execute(prompt)""",
    "VLLMEmbedding": f"""\
    from {_PLACE} import SageLLMEmbedding
    embed = SageLLMEmbedding(backend_type="auto", model_path="BAAI/bge-m3")
    vectors = embed.execute(texts)["vectors"]""",
}


def explain(name: str) -> None:
    """Say what replaces ``name``.

    ``ImportError``, not ``AttributeError``: Python replaces the text of the latter in
    ``from ... import``, and this text is what the reader needs.

    :raises ImportError: ``name`` went away. Any other name passes.
    """
    code = REPLACEMENTS.get(name)
    if code is not None:
        raise ImportError(
            f"{name} went away with vLLM; sagellm has taken its place. Write:\n\n{code}\n\n"
            "`sagellm migrate PATH...` shows, and with --write makes, this change in your files.",
            name=_PLACE,
        )
