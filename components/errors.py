"""The mistakes of users, apart from our own."""

from __future__ import annotations


class UserError(ValueError):
    """Something that the user can mend: its text names the file or key, what is wrong and what to do.

    The only exception that is printed as a line, without a traceback. A ValueError, since that is what pydantic's
    validators, in which options are checked, have to raise; nothing but this class is caught by name as a mistake."""
