"""The generator's configuration: one schema for arguments, variables and files.

What is said in several ways is decided in this order: arguments, ``SAGELLM_*`` variables, the
section of a file, defaults. ``docs/config.md`` has the whole of it.
"""

from __future__ import annotations

from .environment import VARIABLES, unknown_variables
from .layers import Origin, Resolved, resolve
from .schema import POSITIONAL_FIELDS, SECTION, GeneratorConfig, constructor_signature
from .section import Section, load_config, read_config_file, validate_file
from .whereabouts import find_config_file

#: Every field, in the schema's order.
FIELDS = tuple(GeneratorConfig.model_fields)

__all__ = [
    "FIELDS",
    "POSITIONAL_FIELDS",
    "SECTION",
    "VARIABLES",
    "GeneratorConfig",
    "Origin",
    "Resolved",
    "Section",
    "constructor_signature",
    "find_config_file",
    "load_config",
    "read_config_file",
    "resolve",
    "unknown_variables",
    "validate_file",
]
