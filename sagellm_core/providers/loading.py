"""Stage S2: import the one plugin that was chosen, in this process."""

from __future__ import annotations

import importlib

from sagellm_core.contract.errors import BrokenProviderError, SageLLMError

from .fault import said
from .provider import Provider
from .registration import HookProblem, collect, enforce
from .selection import ProviderChoice


def load_provider(choice: ProviderChoice) -> Provider:
    """Import the chosen plugin and hold its hooks to the contract once more.

    :raises BrokenProviderError: it cannot be imported here, although its probe could, or its
        hooks are not the contract's; ``__cause__`` is kept.
    """
    entry = choice.entry
    hint = f"Reinstall it (pip install --force-reinstall {entry.dist}), or choose another backend."
    try:
        module = importlib.import_module(entry.module)
        manager = collect(module)
        enforce(manager, module)
    except SageLLMError:
        raise
    except HookProblem as problem:
        raise BrokenProviderError(
            f"{entry.title} broke the contract: {problem.message}", hint=problem.hint
        ) from problem
    except (Exception, SystemExit) as error:
        raise BrokenProviderError(
            f"{entry.title} raised {type(error).__name__} while it was imported: {said(error)}.",
            hint=hint,
        ) from error
    return Provider(choice, manager)
