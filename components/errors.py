"""The mistakes of users, apart from our own, and how errors are put in words."""

from __future__ import annotations


class UserError(ValueError):
    """Something that the user can correct: its text names the file or key, what is wrong and what to do.

    It is printed as a line, without a traceback; so is, of all others, only what the machine refuses: a full disk or a
    missing permission (`components/workspace/processes.py`). A ValueError, since that is what pydantic's
    validators, in which options are checked, have to raise; nothing but this class is caught by name as a mistake."""


def one_line(error: Exception) -> str:
    """What an error says, without line breaks; its type, where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def printable(text: str) -> str:
    """A stranger's words, such as the name of a file, with what would move a terminal's cursor written as escapes."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
