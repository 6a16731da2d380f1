"""The mistakes of users, apart from our own."""

from __future__ import annotations


class UserError(ValueError):
    """Something that the user can mend: its text names the file or key, what is wrong and what to do.

    It is printed as a line, without a traceback; so is, of all others, only what the machine refuses: a full disk or a
    missing permission (`components/workspace/processes.py`). A ValueError, since that is what pydantic's
    validators, in which options are checked, have to raise; nothing but this class is caught by name as a mistake."""
