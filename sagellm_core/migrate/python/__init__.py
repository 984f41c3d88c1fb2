"""Python files: libcst tells what names mean and where they stand; the text itself is edited."""

from .rewriting import rewrite_python, survey_python

__all__ = ["rewrite_python", "survey_python"]
