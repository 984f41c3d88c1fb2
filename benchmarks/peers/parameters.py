"""How many weights a token is multiplied with."""

from __future__ import annotations

from dataclasses import dataclass

from sagellm_core.contract import ModelDescription, ModelFormat


@dataclass(frozen=True, slots=True)
class Parameters:
    """Of a dense decoder."""

    #: Of its layers: what each token of a prompt meets.
    layers: int
    #: With the output head: what is read to decode a token.
    decode: int


def parameters(description: ModelDescription) -> Parameters | None:
    """Count them from the model's headers; ``None`` where these do not say."""
    config, count, rows = description.config, description.parameter_count, description.vocab_size
    width = config.get("hidden_size") or config.get(f"{description.model_type}.embedding_length")
    if not count or not rows or not width:
        return None
    table = rows * int(width)
    if description.format is ModelFormat.GGUF:
        from gguf import GGUFReader

        tied = all(t.name != "output.weight" for t in GGUFReader(str(description.path)).tensors)
    else:
        tied = bool(config.get("tie_word_embeddings"))
    layers = count - table if tied else count - 2 * table
    return Parameters(layers, layers + table)
