"""What the person who migrates has decided."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Settings:
    """The decisions that no file can make."""

    #: The model of generators whose old code named a service; empty where it is not decided.
    model: str = ""
    #: The same for embeddings.
    embedding_model: str = ""
    #: ``backend_type`` of what is written.
    backend: str = "auto"
    #: Whether scripts of vLLM's own interface move to ``sagellm_core.compat.vllm``.
    vllm_scripts: bool = True
    #: Globs of paths, relative to the path that was given, that are not looked at.
    exclude: tuple[str, ...] = field(default=())
