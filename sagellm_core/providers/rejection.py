"""Why a plugin, or one of its devices, is out of the running."""

from __future__ import annotations

from typing import NamedTuple


class Rejection(NamedTuple):
    """One reason, for programs and for people.

    A ``NamedTuple``, like its neighbours of stage S0: a dataclass would cost the import of
    ``inspect``, which alone is a sixth of the time that listing plugins may take.
    """

    #: Machine readable and stable. Before the probe: ``bad_metadata``, ``bad_name``,
    #: ``duplicate``, ``group_major``, ``core_requirement``, ``blocked``, ``not_allowed``,
    #: ``not_requested``. In the probe: ``cannot_start``, ``hang``, ``crash``, ``exit``,
    #: ``raised``, ``protocol``, ``wrong_type``, ``misspelt_hook``, ``missing_hook``,
    #: ``false_capability``,
    #: ``contract_major``, ``contract_minor``. In the ranking: ``no_device``,
    #: ``present_unusable``, ``cannot_load``, ``no_capability``, ``model_capability``,
    #: ``simulated``, ``other_device``.
    code: str
    #: One sentence: what is wrong.
    message: str
    #: One sentence: what to do about it; empty when nothing useful can be said.
    hint: str = ""
    #: The plugin's traceback or the end of its stderr, where there is one.
    detail: str = ""
