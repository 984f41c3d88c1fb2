"""Which pooling a ``Pooling`` module's config asks for."""

from __future__ import annotations

from pathlib import Path

from sagellm_core.contract import ModelFormatError, UnsupportedModelError
from sagellm_torch.architecture.config_fields import ConfigFields
from sagellm_torch.checkpoint.weight_files import read_json

#: The older spelling: a flag for each.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_OURS = {"cls": "cls", "max": "max", "mean": "mean", "lasttoken": "last"}


def read_pooling(file: Path, *, has_prompts: bool) -> str:
    """``mean``, ``last``, ``cls`` or ``max``.

    :param has_prompts: the model puts texts before its inputs.
    :raises UnsupportedModelError: another pooling, several at once, or one that leaves
        prompts out.
    """
    config = read_json(file)
    fields = ConfigFields(config, where=f"{file.parent.name}/{file.name}")
    if has_prompts and not fields.flag("include_prompt", True):
        raise UnsupportedModelError(
            f"{file} leaves prompts out of the pooling (include_prompt is false).",
            hint="Use another model, or sentence-transformers for this one.",
        )
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [mode for flag, mode in _FLAGS.items() if fields.flag(flag, False)] or ["mean"]
    elif isinstance(modes, str):
        modes = [modes]
    if not isinstance(modes, list) or not all(isinstance(mode, str) for mode in modes):
        raise ModelFormatError(
            f"{file} has pooling_mode={str(modes)[:80]!r}.", hint="Fetch the model again."
        )
    if len(modes) != 1 or modes[0] not in _OURS:
        raise UnsupportedModelError(
            f"{file} asks for the pooling {' + '.join(modes)!r}, which is not supported.",
            hint=f"Supported is one of {', '.join(_OURS)}. Use another model, or "
            "sentence-transformers for this one.",
        )
    return _OURS[modes[0]]
