"""From vLLM to sagellm: old forms in Python, YAML, shell and requirements files.

>>> from pathlib import Path
>>> from sagellm_core.migrate import Settings, plan_migration
>>> settings = Settings(model="Qwen/Qwen2.5-7B-Instruct")
>>> plans = plan_migration([Path(".")], settings)  # doctest: +SKIP
"""

from __future__ import annotations

from .finding import Finding
from .plan import FilePlan, plan_migration, write
from .settings import Settings

__all__ = ["FilePlan", "Finding", "Settings", "plan_migration", "write"]
