"""Where this file lies, pytest lets tests of all folders below import `cases` and `builders`."""

from __future__ import annotations

from hypothesis import settings

# The same examples in every run, however busy the machine is.
settings.register_profile("mlograph", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("mlograph")
