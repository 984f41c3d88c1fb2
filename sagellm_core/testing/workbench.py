"""Loads tiny models with the plugin under test, opens runners over them, and closes it all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from sagellm_core.contract.embedder import Embedder, EmbedderConfig
from sagellm_core.contract.errors import UnsupportedOptionError
from sagellm_core.contract.model import LoadedModel, LoadOptions, LoadVerdict, ModelDescription
from sagellm_core.contract.plugin import Capability
from sagellm_core.contract.runner import Runner, RunnerConfig
from sagellm_core.providers import Provider

from .drive import Course, Drive
from .finding import skip
from .judge import Judge
from .subject import Subject
from .tiny.model import TinyModel

C = TypeVar("C", Runner, Embedder)

#: What runners are opened with unless a test asks for something else.
SLOTS, CONTEXT, BLOCK_SIZE, BLOCKS = 6, 128, 16, 64


class Workbench:
    """What the tests of one file share.

    :param place: a directory for the models' files.
    """

    def __init__(self, subject: Subject, place: Path) -> None:
        self.subject = subject
        self._place = place
        self._tiny: dict[str, TinyModel] = {}
        self._loaded: dict[tuple[str, str], LoadedModel] = {}
        self._alone: dict[tuple[str, tuple[int, ...], str, int], Course] = {}
        self._block_sizes: dict[str, int] = {}
        self._open = contextlib.ExitStack()

    def close(self) -> None:
        """Close every model that was loaded."""
        self._open.close()

    def written(self, name: str) -> TinyModel:
        """A family's tiny model, written once."""
        if name not in self._tiny:
            self._tiny[name] = TinyModel(name, self._place / name)
        return self._tiny[name]

    def tiny(self, name: str) -> TinyModel:
        """A family's tiny model; skips where the plugin cannot load it."""
        tiny = self.written(name)
        answer = self.subject.can_load(tiny.description)
        if answer.verdict is LoadVerdict.NO:
            skip(f"The plugin cannot load {name}: {answer.reason}")
        return tiny

    def can(self, name: str, capability: Capability) -> bool:
        """Whether the plugin says that it does this with a family's model."""
        answer = self.subject.can_load(self.written(name).description)
        offered = answer.capabilities
        return answer.verdict is not LoadVerdict.NO and (offered is None or capability in offered)

    def can_generate(self, name: str) -> bool:
        """Whether it generates with it, in one of the two ways."""
        return self.can(name, Capability.GENERATE) or self.can(name, Capability.ENGINE)

    def has_runner(self, name: str) -> str:
        """The name; skips where the plugin opens no runner over its model."""
        self.tiny(name)
        if not self.can_generate(name):
            skip(f"The plugin does not generate with {name}.")
        if not self.provider(name).has_runner:
            skip("The plugin opens no runners; its own engine is tested instead.")
        return name

    @cached_property
    def cache_dir(self) -> Path:
        """Where the plugin may keep converted files."""
        place = self._place / "cache"
        place.mkdir()
        return place

    def provider(self, name: str) -> Provider:
        """The plugin as core holds it, for a family's model."""
        return self.subject.provider(self.tiny(name).description)

    def options(self, **changes: Any) -> LoadOptions:
        """How models are loaded."""
        given: dict[str, Any] = {
            "cache_dir": self.cache_dir,
            "provider_options": dict(self.subject.declaration.provider_options),
            **changes,
        }
        return LoadOptions(**given)

    def load(self, description: ModelDescription, **changes: Any) -> LoadedModel:
        """Load a model anew, with the given changes to the options; the caller closes it."""
        return self.subject.provider(description).load_model(self.options(**changes))

    def exact(self, name: str, capability: Capability = Capability.GENERATE) -> LoadedModel:
        """The model as exactly as the plugin computes it: float32, no quantization. Loaded once."""
        key = (name, str(capability))
        if key not in self._loaded:
            self._loaded[key] = self.load_exactly(name, capability)
            self._open.callback(self._loaded[key].close)
        return self._loaded[key]

    def load_exactly(self, name: str, capability: Capability = Capability.GENERATE) -> LoadedModel:
        """As :meth:`exact`, anew; the caller closes it."""
        description = self.tiny(name).description
        wanted: dict[str, Any] = {"dtype": "float32", "capability": str(capability)}
        try:
            return self.load(description, quantization="none", **wanted)
        except UnsupportedOptionError:
            # It quantizes nothing, and has no name for that.
            return self.load(description, **wanted)

    def judge(self, name: str, loaded: LoadedModel | None = None) -> Judge:
        """What right means for a family's model."""
        return Judge(self.tiny(name), loaded or self.exact(name))

    def vocab_size(self, loaded: LoadedModel) -> int:
        """Ids that are sampled are below it."""
        return loaded.description.vocab_size or loaded.tokenizer.vocab_size

    def block_size(self, name: str) -> int:
        """Tokens of a block in the plugin's runner; an engine of its own may have none."""
        if name not in self._block_sizes:
            self._block_sizes[name] = BLOCK_SIZE
            if self.provider(name).has_runner:
                with self.runner(name) as runner:
                    self._block_sizes[name] = runner.capacity.block_size
        return self._block_sizes[name]

    @contextlib.contextmanager
    def runner(
        self, name: str, loaded: LoadedModel | None = None, **changes: Any
    ) -> Iterator[Runner]:
        """A runner that is closed in the end; ``changes`` are over its config."""
        with _closing(self.open_runner(name, loaded, **changes)) as runner:
            yield runner

    def open_runner(self, name: str, loaded: LoadedModel | None = None, **changes: Any) -> Runner:
        """A runner that the caller closes; ``changes`` are over its config."""
        settings: dict[str, Any] = {
            "max_slots": SLOTS,
            "max_model_len": CONTEXT,
            "block_size": BLOCK_SIZE,
            "num_blocks": BLOCKS,
            **changes,
        }
        model = self.exact(name) if loaded is None else loaded
        return self.provider(name).open_runner(model, RunnerConfig(**settings))

    @contextlib.contextmanager
    def drive(
        self,
        name: str,
        loaded: LoadedModel | None = None,
        *,
        scattered: bool = False,
        **changes: Any,
    ) -> Iterator[Drive]:
        """A runner with the suite's own bookkeeping."""
        model = self.exact(name) if loaded is None else loaded
        with self.runner(name, model, **changes) as runner:
            yield Drive(runner, self.vocab_size(model), scattered=scattered)

    def alone(self, name: str, course: Course, count: int) -> Course:
        """The same sequence, computed by itself in one piece; once for all who ask."""
        key = (name, course.prompt, repr(course.sampling), count)
        if key not in self._alone:
            fresh = Course(prompt=course.prompt, sampling=course.sampling)
            context = max(CONTEXT, len(course.prompt) + count)
            with self.drive(name, max_model_len=context) as drive:
                drive.run([fresh], count)
            self._alone[key] = fresh
        return self._alone[key]

    @contextlib.contextmanager
    def embedder(self, name: str, **changes: Any) -> Iterator[Embedder]:
        """An embedder that is closed in the end; ``changes`` are over its config."""
        model = self.exact(name, Capability.EMBED)
        with _closing(
            self.provider(name).open_embedder(model, EmbedderConfig(**changes))
        ) as opened:
            yield opened


@contextlib.contextmanager
def _closing(opened: C) -> Iterator[C]:
    try:
        yield opened
    except BaseException:
        # What a test found matters more than trouble on the way out.
        with contextlib.suppress(Exception):
            opened.close()
        raise
    opened.close()
