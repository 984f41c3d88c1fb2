"""A plugin module, registered with a plugin manager of its own and held to the contract."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import pluggy

from sagellm_core.contract import hookspecs
from sagellm_core.contract.plugin import Capability, PluginInfo
from sagellm_core.contract.version import PROJECT_NAME

from .naming import nearest

_PREFIX = "sagellm_"
#: The attribute by which pluggy knows a marked function.
_MARK = f"{PROJECT_NAME}_impl"

#: Capabilities, and the hooks of which any one lets core use them.
_OPENED_BY: dict[str, tuple[str, ...]] = {
    Capability.GENERATE: ("sagellm_open_runner", "sagellm_open_engine"),
    Capability.ENGINE: ("sagellm_open_engine",),
    Capability.EMBED: ("sagellm_open_embedder",),
}

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
            _signature_problem(manager, module)
            or f"{module.__name__} has a hook whose signature is not the contract's:"
            f" {' '.join(str(error).split())}.",
            "A hook may leave arguments out, but not add or rename any.",
        ) from error
    for name in hookspecs.REQUIRED_HOOKS:
        if name not in implemented:
            raise _missing(module, name, f"lacks the required hook {name}")
    if implemented.isdisjoint(hookspecs.OPENERS):
        choices = ", ".join(hookspecs.OPENERS)
        raise _missing(module, hookspecs.OPENERS[0], f"needs at least one of {choices}")


def check_capabilities(manager: pluggy.PluginManager, module: ModuleType, info: PluginInfo) -> None:
    """Hold what an enforced module declares to the hooks that it implements.

    :raises HookProblem: a capability without the hook that core would call for it.
    """
    declared = {str(each) for each in info.capabilities}
    if declared.isdisjoint(_OPENED_BY):
        # As selection takes it: whoever declares nothing to open generates.
        declared.add(str(Capability.GENERATE))
    for capability, openers in _OPENED_BY.items():
        if capability not in declared:
            continue
        if not any(getattr(manager.hook, name).get_hookimpls() for name in openers):
            raise HookProblem(
                "false_capability",
                f"{module.__name__} declares the capability {str(capability)!r} and does not"
                f" implement {' or '.join(openers)}."
                if info.capabilities
                else f"{module.__name__} declares no capability, and so is taken to generate, and"
                f" does not implement {' or '.join(openers)}.",
                "Implement it, or declare what is there; or upgrade the plugin.",
            )


def _signature_problem(manager: pluggy.PluginManager, module: ModuleType) -> str:
    """The first argument that the contract does not have, as a sentence; empty: none is."""
    for name in HOOKS:
        known = tuple(inspect.signature(getattr(hookspecs, name)).parameters)
        caller = getattr(manager.hook, name, None)
        for impl in caller.get_hookimpls() if caller is not None else ():
            for argument in impl.argnames:
                if argument not in known:
                    has = ", ".join(known) or "none"
                    return (
                        f"{module.__name__} implements {name} with the argument {argument!r},"
                        f" which the contract does not have: it has {has}."
                    )
    return ""


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
