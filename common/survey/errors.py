"""What goes wrong in a reconstruction, for the one who took the photos."""

from __future__ import annotations


class BadSurvey(Exception):
    """The photos, or a file beside them, cannot give what is asked for: one sentence, with the way out. Trying again is no use."""
