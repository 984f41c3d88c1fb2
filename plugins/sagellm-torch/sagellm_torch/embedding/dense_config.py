"""What a ``Dense`` module's config says: a linear layer after the pooling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sagellm_core.contract import UnsafeModelError, UnsupportedModelError
from sagellm_torch.architecture.config_fields import ConfigFields
from sagellm_torch.checkpoint.weight_files import read_json

_DEFAULT = "torch.nn.modules.activation.Tanh"
#: Activations by the class that the config names.
_ACTIVATIONS = {
    "torch.nn.modules.activation.GELU": "gelu",
    "torch.nn.modules.activation.ReLU": "relu",
    "torch.nn.modules.activation.SiLU": "silu",
    "torch.nn.modules.activation.Sigmoid": "sigmoid",
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.modules.linear.Identity": "identity",
}
_HINT = "Use another model, or sentence-transformers for this one."


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseConfig:
    """One layer."""

    file: Path
    in_features: int
    out_features: int
    bias: bool
    activation: str


def read_dense(folder: Path) -> DenseConfig:
    """The layer in a module's folder.

    :raises UnsupportedModelError: an activation or an option that is not computed.
    :raises UnsafeModelError: its weights are a pickle.
    """
    config = read_json(folder / "config.json")
    fields = ConfigFields(config, where=f"{folder.name}/config.json")
    activation = fields.text("activation_function", _DEFAULT)
    for key, value, known in (
        ("activation_function", activation, tuple(_ACTIVATIONS)),
        ("use_residual", fields.flag("use_residual", False), (False,)),
        ("module_input_name", config.get("module_input_name"), (None, "sentence_embedding")),
        ("module_output_name", config.get("module_output_name"), (None, "sentence_embedding")),
    ):
        if value not in known:
            raise UnsupportedModelError(
                f"{folder / 'config.json'} has {key}={value!r}, which is not supported.",
                hint=_HINT,
            )
    file = folder / "model.safetensors"
    if not file.is_file() and (folder / "pytorch_model.bin").is_file():
        raise UnsafeModelError(
            f"{folder} has its weights only as a pickle, and loading a pickle runs code.",
            hint="If you trust it, load the model with sentence-transformers and save it again; "
            "that writes safetensors.",
        )
    return DenseConfig(
        file=file,
        in_features=fields.integer("in_features"),
        out_features=fields.integer("out_features"),
        bias=fields.flag("bias", True),
        activation=_ACTIVATIONS[activation],
    )
