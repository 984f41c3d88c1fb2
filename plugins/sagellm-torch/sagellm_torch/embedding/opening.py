"""Opening an embedder over a loaded model."""

from __future__ import annotations

from dataclasses import replace

from sagellm_core.contract import ConfigurationError, EmbedderConfig, UnsupportedModelError
from sagellm_torch.model import DecoderModel, EncoderModel, TorchModel

from .decoder_states import DecoderStates
from .embedder import TokenStates, TorchEmbedder
from .encoder_states import EncoderStates
from .pooling import POOLINGS
from .recipe import Recipe, read_recipe
from .text_encoder import TextEncoder

#: What a model without a configuration of its own gets. Encoders as sentence-transformers does
#: it; of a decoder's tokens only the last has seen the whole text.
ENCODER_POOLING = "mean"
DECODER_POOLING = "last"


def open_embedder(model: TorchModel, config: EmbedderConfig) -> TorchEmbedder:
    """Open an embedder.

    :raises ConfigurationError: a pooling that is not known or makes no sense for the model, or
        a ``max_length`` that is below 1 or beyond what the model can take.
    :raises UnsupportedModelError: the model's files ask for a module or a pooling that is not
        computed; it is named.
    :raises ModelFormatError: those files are damaged.
    """
    longest = model.max_model_len
    states: TokenStates
    if isinstance(model, EncoderModel):
        _ = model.encoder  # refuses a closed model
        recipe, states = model.recipe, EncoderStates(model)
        width, vocab_size = model.config.hidden_size, model.config.vocab_size
    elif isinstance(model, DecoderModel):
        recipe = read_recipe(model.description, default_pooling=DECODER_POOLING)
        recipe = _settle(recipe, config, longest)
        _check_decoder(model, recipe)
        _ = model.decoder  # refuses a closed model
        states = DecoderStates(model, longest)
        width, vocab_size = model.config.hidden_size, model.config.vocab_size
    else:
        raise UnsupportedModelError(
            f"{model.description.reference!r} ({model.description.model_type!r}) runs through "
            "transformers, where it only generates.",
            hint="Use a model that the native decoder or encoder covers.",
        )
    recipe = _settle(recipe, config, longest)
    assert recipe.max_length is not None, "settled above"
    return TorchEmbedder(
        states,
        TextEncoder(model.tokenizer, max_length=recipe.max_length, cut_front=recipe.cut_front),
        recipe,
        model.adapter,
        dimension=width,
        vocab_size=vocab_size,
    )


def _settle(recipe: Recipe, config: EmbedderConfig, longest: int) -> Recipe:
    """The recipe with what the caller asked for."""
    pooling = config.pooling or recipe.pooling
    if pooling not in POOLINGS:
        raise ConfigurationError(
            f"pooling={pooling!r} is not known.", hint=f"pooling is one of: {', '.join(POOLINGS)}."
        )
    asked = config.max_length
    if asked is None:
        own = min(recipe.max_length or longest, longest)
        return replace(recipe, pooling=pooling, max_length=own)
    if isinstance(asked, bool) or not isinstance(asked, int) or not 1 <= asked <= longest:
        raise ConfigurationError(
            f"max_length={asked!r} is not possible: this model takes 1 to {longest} tokens.",
            hint="Ask for less, or leave it out.",
        )
    return replace(recipe, pooling=pooling, max_length=asked)


def _check_decoder(model: DecoderModel, recipe: Recipe) -> None:
    if recipe.pooling == "cls":
        raise ConfigurationError(
            f"pooling='cls' takes the first token, and in a {model.config.model_type!r} decoder "
            "that has seen nothing of the text.",
            hint="Use last or mean.",
        )
    if recipe.lower_case:
        raise UnsupportedModelError(
            f"{model.description.reference!r} has do_lower_case, which is supported for encoders "
            "only.",
            hint="Lower the case of the texts, and take do_lower_case out.",
        )
