"""The provider that was chosen, with every hook of stage S2 behind a typed method."""

from __future__ import annotations

import contextlib
import inspect
import typing
from collections.abc import Iterator
from typing import Any

import pluggy

from sagellm_core.contract.embedder import Embedder, EmbedderConfig
from sagellm_core.contract.engine import Engine, EngineConfig
from sagellm_core.contract.errors import (
    BrokenProviderError,
    SageLLMError,
    UnsupportedOptionError,
)
from sagellm_core.contract.model import LoadedModel, LoadOptions
from sagellm_core.contract.plugin import PluginInfo
from sagellm_core.contract.runner import Runner, RunnerConfig

from .fault import blamed
from .selection import ProviderChoice


class Provider:
    """Calls one plugin's hooks and answers for them.

    Errors of the contract pass through. Anything else that a hook raises, and any result that
    is not what the contract says, is a :class:`BrokenProviderError` naming plugin and hook.
    The values of what a hook opened are read once here, so that they raise here or not at all.
    """

    def __init__(self, choice: ProviderChoice, manager: pluggy.PluginManager) -> None:
        self._choice = choice
        self._hooks = manager.hook

    @property
    def choice(self) -> ProviderChoice:
        """The choice that led here."""
        return self._choice

    @property
    def name(self) -> str:
        """The backend name."""
        return self._choice.entry.name

    @property
    def info(self) -> PluginInfo:
        """What the plugin said about itself."""
        return self._choice.info

    @property
    def has_runner(self) -> bool:
        """Whether it opens runners."""
        return self._implements("sagellm_open_runner")

    @property
    def has_engine(self) -> bool:
        """Whether it brings an engine of its own, which then wins over a runner."""
        return self._implements("sagellm_open_engine")

    @property
    def has_embedder(self) -> bool:
        """Whether it opens embedders."""
        return self._implements("sagellm_open_embedder")

    def load_model(self, options: LoadOptions) -> LoadedModel:
        """Load the chosen model on the chosen device.

        :raises ModelError: the model's files, its architecture, or too little memory.
        :raises ConfigurationError: an option is unknown or not offered.
        :raises BrokenProviderError: the plugin failed.
        """
        model: LoadedModel = self._open(
            "sagellm_load_model",
            LoadedModel,
            model=self._choice.model,
            device=self._choice.device,
            options=options,
        )
        return model

    def open_runner(self, model: LoadedModel, config: RunnerConfig) -> Runner:
        """Open a runner over a model that :meth:`load_model` gave.

        :raises InsufficientMemoryError: the KV cache does not fit.
        :raises UnsupportedOptionError: the provider has no runner.
        :raises BrokenProviderError: the plugin failed.
        """
        runner: Runner = self._open("sagellm_open_runner", Runner, model=model, config=config)
        return runner

    def open_embedder(self, model: LoadedModel, config: EmbedderConfig) -> Embedder:
        """Open an embedder over a model that :meth:`load_model` gave.

        :raises UnsupportedOptionError: the provider has no embedder.
        :raises BrokenProviderError: the plugin failed.
        """
        embedder: Embedder = self._open(
            "sagellm_open_embedder", Embedder, model=model, config=config
        )
        return embedder

    def open_engine(self, model: LoadedModel, config: EngineConfig) -> Engine:
        """Open the provider's own engine over a model that :meth:`load_model` gave.

        :raises UnsupportedOptionError: the provider has no engine of its own.
        :raises BrokenProviderError: the plugin failed.
        """
        engine: Engine = self._open("sagellm_open_engine", Engine, model=model, config=config)
        return engine

    def stamp(self) -> dict[str, str]:
        """Who answers: ``name``, ``dist``, ``version``, ``device``, ``why``."""
        choice = self._choice
        return {
            "name": choice.entry.name,
            "dist": choice.entry.dist,
            "version": choice.entry.version,
            "device": choice.device.id,
            "why": choice.why,
        }

    def _implements(self, hook: str) -> bool:
        return bool(getattr(self._hooks, hook).get_hookimpls())

    def _open(self, hook: str, protocol: type, **arguments: Any) -> Any:
        title = self._choice.entry.title
        if not self._implements(hook):
            raise UnsupportedOptionError(
                f"{title} does not offer {protocol.__name__.lower()}s: it lacks {hook}.",
                hint="Choose a backend that does; `sagellm plugins list` shows them.",
            )
        with self._blamed(f"in {hook}"):
            result = getattr(self._hooks, hook)(**arguments)
        try:
            self._check(hook, result, protocol)
        except BaseException:
            if _has(result, "close"):
                # What is wrong with it matters more than trouble on the way out.
                with contextlib.suppress(SageLLMError), self._blamed("while closing it"):
                    result.close()
            raise
        return result

    def _check(self, hook: str, result: object, protocol: type) -> None:
        """Hold what a hook returned to its protocol: every member, and the type of each value."""
        with self._blamed(f"in {hook}"):
            lacking = _lacking(result, protocol)
        if lacking:
            raise self._broken(
                f"{hook} returned {_named(result)}, which lacks {', '.join(lacking)} of"
                f" {protocol.__name__}"
            )
        for name, wanted in _values(protocol):
            where = f"{protocol.__name__}.{name}"
            with self._blamed(f"in {where}"):
                value = getattr(result, name)
                fits = _fits(value, wanted)
            if not fits:
                raise self._broken(f"{where} is {_named(value)}, not a {wanted.__name__}")

    def _blamed(self, where: str) -> contextlib.AbstractContextManager[None]:
        return blamed(self._choice.entry.title, self._choice.entry.dist, where)

    def _broken(self, what: str) -> BrokenProviderError:
        return BrokenProviderError(
            f"{self._choice.entry.title} broke the contract: {what}.",
            hint=f"Upgrade it: pip install -U {self._choice.entry.dist}",
        )


def _lacking(result: object, protocol: type) -> list[str]:
    """Members of the protocol that the object does not have."""
    members = [name for name in dir(protocol) if not name.startswith("_")]
    return [name for name in members if not _has(result, name)]


def _has(value: object, name: str) -> bool:
    try:
        inspect.getattr_static(value, name)
    except AttributeError:
        # An object may make its attributes in __getattr__.
        return hasattr(value, name)
    return True


def _values(protocol: type) -> Iterator[tuple[str, type]]:
    """The properties of a protocol, and the class of each one's value."""
    for name, member in vars(protocol).items():
        if isinstance(member, property):
            annotation = typing.get_type_hints(member.fget)["return"]
            yield name, typing.get_origin(annotation) or annotation


def _fits(value: object, wanted: type) -> bool:
    if getattr(wanted, "_is_protocol", False):
        return not _lacking(value, wanted)
    # True is an int to Python, and as a size always a mistake.
    return isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool)


def _named(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
