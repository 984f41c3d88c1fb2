"""A plugin module, registered with a plugin manager of its own and held to the contract."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pluggy

from sagellm_core.contract import hookspecs
from sagellm_core.contract.version import PROJECT_NAME

from .naming import nearest

_PREFIX = "sagellm_"
#: The attribute by which pluggy knows a marked function.
_MARK = f"{PROJECT_NAME}_impl"

HOOKS = tuple(name for name in vars(hookspecs) if name.startswith(_PREFIX))


class HookProblem(Exception):
    """The module's hooks are not those of the contract."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def collect(module: ModuleType) -> pluggy.PluginManager:
    """Register a module without holding it to the contract yet.

    Calls of its hooks return a list until :func:`enforce` has run. So a plugin of a newer
    contract, whose hooks core may not know, can still say which contract it needs.

    One manager holds one plugin: with several, one that raises would end the others' calls.
    """
    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.register(module, name=module.__name__)
    return manager


def enforce(manager: pluggy.PluginManager, module: ModuleType) -> None:
    """Hold the registered module to the contract's hooks.

    :raises HookProblem: a hook that core does not know, wrong arguments, or a missing hook.
    """
    implemented = {
        call.name for call in manager.get_hookcallers(module) or () if call.get_hookimpls()
    }
    for name in sorted(implemented - set(HOOKS)):
        if all(impl.optionalhook for impl in getattr(manager.hook, name).get_hookimpls()):
            continue
        near = nearest(name, HOOKS)
        raise HookProblem(
            "misspelt_hook",
            f"{module.__name__} implements {name}, which is not a hook of the contract.",
            f"Did you mean {near}?" if near else f"The hooks are {', '.join(HOOKS)}.",
        )
    try:
        manager.add_hookspecs(hookspecs)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise HookProblem(
            "wrong_type",
            f"{module.__name__} has a hook whose signature is not the contract's:"
            f" {' '.join(str(error).split())}.",
            "A hook may leave arguments out, but not add or rename any.",
        ) from error
    for name in hookspecs.REQUIRED_HOOKS:
        if name not in implemented:
            raise _missing(module, name, f"lacks the required hook {name}")
    if implemented.isdisjoint(hookspecs.OPENERS):
        choices = ", ".join(hookspecs.OPENERS)
        raise _missing(module, hookspecs.OPENERS[0], f"needs at least one of {choices}")


def _missing(module: ModuleType, hook: str, what: str) -> HookProblem:
    unmarked = callable(getattr(module, hook, None)) and not hasattr(getattr(module, hook), _MARK)
    return HookProblem(
        "missing_hook",
        f"{module.__name__} {what}.",
        f"Its function {hook} is not marked with @hookimpl."
        if unmarked
        else "Implement it, or upgrade the plugin.",
    )


def call_collected(manager: pluggy.PluginManager, hook: str) -> Any:
    """The answer of a hook without arguments, before :func:`enforce`; ``None`` without one."""
    caller = getattr(manager.hook, hook, None)
    answers = [] if caller is None else caller()
    return answers[0] if answers else None
