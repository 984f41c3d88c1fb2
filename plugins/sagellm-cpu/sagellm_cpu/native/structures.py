"""The structures of the native library's C interface, as ``src/linear.h``, ``src/decoder.h`` and
``src/encoder.h`` declare them."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int32, c_int64, c_void_p


class WeightStructure(ctypes.Structure):
    """``Weight``: a packed weight."""

    _fields_ = (
        ("format", c_int32),
        ("arithmetic", c_int32),
        ("scale_format", c_int32),
        ("out", c_int64),
        ("in_", c_int64),
        ("group", c_int64),
        ("data", c_void_p),
        ("scales", c_void_p),
        ("mins", c_void_p),
        ("bias", c_void_p),
    )


class ConfigStructure(ctypes.Structure):
    """``DecoderConfig``: what the layers have in common."""

    _fields_ = (
        ("vocab", c_int64),
        ("hidden", c_int64),
        ("intermediate", c_int64),
        ("heads", c_int64),
        ("kv_heads", c_int64),
        ("head_dim", c_int64),
        ("layers", c_int64),
        ("ropes", c_int64),
        ("activation", c_int32),
        ("norm_eps", c_float),
        ("attention_scale", c_float),
        ("attention_softcap", c_float),
        ("logit_softcap", c_float),
        ("embedding_scale", c_float),
    )


class LayerStructure(ctypes.Structure):
    """``DecoderLayer``: one layer."""

    _fields_ = (
        ("qkv", WeightStructure),
        ("output", WeightStructure),
        ("gate_up", WeightStructure),
        ("down", WeightStructure),
        ("attention_norm", c_void_p),
        ("mlp_norm", c_void_p),
        ("post_attention_norm", c_void_p),
        ("post_mlp_norm", c_void_p),
        ("qk_norm", c_void_p),
        ("window", c_int64),
        ("rope", c_int64),
    )


class EndsStructure(ctypes.Structure):
    """``DecoderEnds``: embedding, last norm and output layer."""

    _fields_ = (
        ("embedding", c_void_p),
        ("final_norm", c_void_p),
        ("head", ctypes.POINTER(WeightStructure)),
        ("rotary_dims", c_void_p),
    )


class SegmentStructure(ctypes.Structure):
    """``Segment``: one sequence of a step. All of it is 64-bit integers."""

    _fields_ = (("first", c_int64), ("count", c_int64), ("start", c_int64), ("blocks", c_void_p))


class StepStructure(ctypes.Structure):
    """``DecoderStep``: one step."""

    _fields_ = (
        ("rows", c_int64),
        ("segments", c_int64),
        ("outputs", c_int64),
        ("block_size", c_int64),
        ("blocks", c_int64),
        ("tokens", c_void_p),
        ("rotations", c_void_p),
        ("segment", c_void_p),
        ("output_rows", c_void_p),
        ("cache", c_void_p),
        ("hidden", c_void_p),
        ("logits", c_void_p),
    )


#: In the order in which ``sagellm_decoder_layout`` tells their sizes.
DECODER_STRUCTURES = (
    WeightStructure,
    ConfigStructure,
    LayerStructure,
    EndsStructure,
    StepStructure,
    SegmentStructure,
)


class EncoderConfigStructure(ctypes.Structure):
    """``EncoderConfig``: what the layers have in common."""

    _fields_ = (
        ("vocab", c_int64),
        ("positions", c_int64),
        ("hidden", c_int64),
        ("intermediate", c_int64),
        ("heads", c_int64),
        ("layers", c_int64),
        ("activation", c_int32),
        ("norm_eps", c_float),
    )


class EncoderNormStructure(ctypes.Structure):
    """``EncoderNorm``: a layer norm."""

    _fields_ = (("weight", c_void_p), ("bias", c_void_p))


class EncoderLayerStructure(ctypes.Structure):
    """``EncoderLayer``: one layer."""

    _fields_ = (
        ("qkv", WeightStructure),
        ("output", WeightStructure),
        ("up", WeightStructure),
        ("down", WeightStructure),
        ("attention_norm", EncoderNormStructure),
        ("output_norm", EncoderNormStructure),
    )


class EncoderTablesStructure(ctypes.Structure):
    """``EncoderTables``: what tokens begin as."""

    _fields_ = (("words", c_void_p), ("positions", c_void_p), ("norm", EncoderNormStructure))


class EncoderPassStructure(ctypes.Structure):
    """``EncoderPass``: one pass."""

    _fields_ = (
        ("rows", c_int64),
        ("texts", c_int64),
        ("outputs", c_int64),
        ("tokens", c_void_p),
        ("places", c_void_p),
        ("lengths", c_void_p),
        ("output_rows", c_void_p),
        ("bias", c_void_p),
        ("bias_size", c_int64),
        ("hidden", c_void_p),
    )


#: In the order in which ``sagellm_encoder_layout`` tells their sizes.
ENCODER_STRUCTURES = (
    EncoderConfigStructure,
    EncoderLayerStructure,
    EncoderTablesStructure,
    EncoderPassStructure,
)
