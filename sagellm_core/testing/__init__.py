"""The conformance kit: a vendor's proof that a plugin keeps the contract.

One file in the vendor's repository is enough::

    from sagellm_core.testing import Declaration
    from sagellm_core.testing.suite import *

    DECLARATION = Declaration(plugin="example", capabilities={"generate", "logprobs"})

``sagellm conformance example`` runs the same from the command line. The suite needs pytest and
NumPy, the extra ``[testing]``; this module needs neither. ``docs/vendors/conformance.md`` tells
what each test asks for.
"""

from __future__ import annotations

from .declaration import Declaration

__all__ = ["Declaration"]
