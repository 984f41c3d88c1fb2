"""Exit codes; docs/cli.md and ``sagellm --help`` have the same table."""

from __future__ import annotations

OK = 0
ERROR = 1
#: As timeout(1) reports it.
TIMEOUT = 124
#: As shells report a process that SIGINT ended (128 + 2).
INTERRUPTED = 130
#: As shells report a process that SIGPIPE ended (128 + 13).
BROKEN_PIPE = 141
