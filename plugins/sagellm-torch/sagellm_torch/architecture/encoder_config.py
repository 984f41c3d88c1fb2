"""The parameters of the one bidirectional encoder."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Everything that the encoder has to know about a model; sizes in elements."""

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    #: Rows of the position table.
    position_rows: int
    #: The row of the first token: RoBERTa and MPNet leave rows 0 to ``pad_token_id`` out.
    first_position: int = 0
    #: Whose tokens take no place where :attr:`first_position` is not 0.
    pad_token_id: int = 0
    #: Rows of the segment table; 0: there is none.
    segment_rows: int = 0
    #: Buckets of a bias by distance that all layers add to their scores (MPNet); 0: none.
    relative_buckets: int = 0
    norm_eps: float
    activation: str = "gelu"

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_heads

    @property
    def max_length(self) -> int:
        """Longest input in tokens."""
        return self.position_rows - self.first_position

    @property
    def parameter_count(self) -> int:
        """Number of weights. Biases and norms are left out."""
        layer = self.hidden_size * (4 * self.hidden_size + 2 * self.intermediate_size)
        rows = self.vocab_size + self.position_rows + self.segment_rows
        return self.num_layers * layer + rows * self.hidden_size
