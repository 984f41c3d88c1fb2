"""Shell scripts, and files that carry shell commands: Makefiles, Dockerfiles."""

from .commands import rewrite_shell
from .dockerfile import rewrite_dockerfile
from .makefile import rewrite_makefile

__all__ = ["rewrite_dockerfile", "rewrite_makefile", "rewrite_shell"]
