"""YAML files: positions from PyYAML's parser, edits in the text itself."""

from .rewriting import rewrite_yaml

__all__ = ["rewrite_yaml"]
