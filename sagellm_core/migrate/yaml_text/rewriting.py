"""The old forms of a YAML file."""

from __future__ import annotations

import yaml

from sagellm_core.migrate.edit import Edit, Lines, apply_edits
from sagellm_core.migrate.finding import Finding, NotUnderstoodError, Rewrite
from sagellm_core.migrate.old_config import SECTIONS
from sagellm_core.migrate.requirements import NEW, is_vllm
from sagellm_core.migrate.settings import Settings
from sagellm_core.migrate.shell import rewrite_shell
from sagellm_core.migrate.survey import Survey

from .section import renamed_value, rewrite_section
from .tree import Pair, Tree, read_tree

#: Keys that name what runs or is preferred; their value ``vllm`` becomes ``sagellm``.
_CHOICES = ("engine", "prefer")
#: SAGE's sections in which they do. Elsewhere they may be another program's.
_CHOOSING = frozenset(("embedding", "embeddings", "generator", "llm", "pipeline", "sage"))
#: Keys whose text is a shell script, in the files of CI systems.
_SCRIPTS = frozenset(("run", "script", "before_script", "after_script"))


def rewrite_yaml(text: str, settings: Settings, survey: Survey) -> Rewrite:
    """Rewrite ``text``, or say why not.

    A file that is not understood as a whole (tabs, duplicate keys) is left as a whole.
    """
    return _Reading(text, settings, survey).result()


def survey_yaml(text: str, place: str, settings: Settings, survey: Survey) -> None:
    """Note which sections of ``text`` move, which stay, and the models that they name."""
    reading = _Reading(text, settings, Survey())
    reading.result()
    survey.note_sections(reading.moved, dict.fromkeys(reading.stays, place))
    survey.models.update(reading.models)


class _Reading:
    def __init__(self, text: str, settings: Settings, survey: Survey) -> None:
        self.text = text
        self.settings = settings
        self.survey = survey
        self.lines = Lines(text)
        self.out = Rewrite()
        self.moved: set[str] = set()
        self.stays: set[str] = set()
        self.models: set[str] = set()

    def result(self) -> Rewrite:
        try:
            tree = read_tree(self.text)
            self._refuse_duplicates(tree)
            self._read(tree)
            if self.out.edits:
                self._check_outcome()
        except NotUnderstoodError as error:
            self.moved, self.models = set(), set()
            self.stays = set(SECTIONS)
            return Rewrite(left=[Finding(error.line or 1, error.reason)])
        return self.out

    def _read(self, tree: Tree) -> None:
        manifests = {id(document) for document in tree.documents if _is_manifest(document)}
        for pair in tree.pairs():
            try:
                self._read_pair(tree, pair, manifests)
            except NotUnderstoodError as error:
                line = error.line or pair.key.start_mark.line + 1
                self.out.left.append(Finding(line, f"{'.'.join(pair.path)}: {error.reason}"))

    def _read_pair(self, tree: Tree, pair: Pair, manifests: set[int]) -> None:
        name, value = pair.key.value, pair.value
        line = pair.key.start_mark.line + 1
        if len(pair.path) > 1 and pair.path[-2] == "generator" and name in SECTIONS:
            self._read_section(tree, pair)
        elif name == "vllm" and isinstance(value, yaml.MappingNode):
            raise NotUnderstoodError("a vllm section that is not below generator")
        elif name in _CHOICES and isinstance(value, yaml.ScalarNode) and value.value == "vllm":
            if manifests:
                raise NotUnderstoodError("a Kubernetes manifest may mean another engine")
            if _CHOOSING.isdisjoint(pair.path[:-1]):
                raise NotUnderstoodError(
                    f"vllm outside of SAGE's sections ({', '.join(sorted(_CHOOSING))}) may be "
                    "another program's"
                )
            if pair.shared or tree.has_reference(pair.key.start_mark.index, value.end_mark.index):
                raise NotUnderstoodError("an anchor or an alias shares it with other places")
            self.out.edits.append(renamed_value(self.text, value, "sagellm"))
            self.out.changes.append(Finding(line, f"{name}: vllm -> {name}: sagellm"))
        elif name == "pip" and pair.path[-2:-1] == ("dependencies",):
            self._list_pip(value)
        elif name in _SCRIPTS:
            for node in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if isinstance(node, yaml.ScalarNode):
                    self._read_script(node)

    def _list_pip(self, value: yaml.Node) -> None:
        # An environment of Conda's.
        for node in value.value if isinstance(value, yaml.SequenceNode) else ():
            if isinstance(node, yaml.ScalarNode) and is_vllm(node.value):
                self.out.left.append(
                    Finding(
                        node.start_mark.line + 1,
                        f"{node.value} in an environment of Conda's; write {NEW} there",
                    )
                )

    def _read_section(self, tree: Tree, pair: Pair) -> None:
        siblings = {key.value for key, _ in pair.owner.value if isinstance(key, yaml.ScalarNode)}
        name = pair.key.value
        try:
            if "sagellm" in siblings:
                raise NotUnderstoodError("generator.sagellm is there already")
            before = [other for other in SECTIONS if other in siblings]
            if before[0] != name:
                raise NotUnderstoodError(
                    f"generator.{before[0]} stands beside it, and only one of them can become "
                    "generator.sagellm"
                )
            edits, conversion = rewrite_section(self.text, self.lines, tree, pair, self.settings)
        except NotUnderstoodError:
            self.stays.add(name)
            raise
        line = pair.key.start_mark.line + 1
        self.moved.add(name)
        if conversion.model:
            self.models.add(conversion.model)
        self.out.edits += edits
        self.out.changes.append(Finding(line, f"generator.{name} -> generator.sagellm"))
        self.out.check += [Finding(line, loss) for loss in conversion.losses]

    def _read_script(self, node: yaml.ScalarNode) -> None:
        start, end = node.start_mark.index, node.end_mark.index
        if node.style == "|":
            start = self.lines.end(start)
        elif node.style is not None or "\n" in self.text[start:end]:
            return
        found = rewrite_shell(self.text[start:end], self.survey)
        first = self.lines.number(start) - 1
        self.out.edits += [
            Edit(edit.start + start, edit.end + start, edit.new) for edit in found.edits
        ]
        for ours, theirs in (
            (self.out.changes, found.changes),
            (self.out.left, found.left),
            (self.out.check, found.check),
        ):
            ours += [Finding(finding.line + first, finding.text) for finding in theirs]

    def _refuse_duplicates(self, tree: Tree) -> None:
        seen: dict[tuple[int, str], int] = {}
        for pair in tree.pairs():
            line = pair.key.start_mark.line + 1
            place = id(pair.owner), pair.key.value
            earlier = seen.setdefault(place, -1)
            seen[place] = line
            if earlier > 0 and pair.key.value != "<<":
                raise NotUnderstoodError(
                    f"the key {pair.key.value} stands twice, in lines {earlier} and {line}", line
                )

    def _check_outcome(self) -> None:
        # The last defence: what is written must be YAML with as many documents as before.
        after = read_tree(apply_edits(self.text, self.out.edits))
        if len(after.documents) != len(read_tree(self.text).documents):
            raise NotUnderstoodError("rewriting it would change its documents")


def _is_manifest(document: yaml.Node) -> bool:
    if not isinstance(document, yaml.MappingNode):
        return False
    keys = {key.value for key, _ in document.value if isinstance(key, yaml.ScalarNode)}
    return {"apiVersion", "kind"} <= keys
