"""Advice in errors of a preparation, which depends on the command that began it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ways:
    """Ends of sentences.

    Args:
        by_command: the command that prepares the log in a folder and may leave out rows; None within that command, and
            empty where there is none.
        no_room: what to do where the disk is too small.
        again: how to resume with other settings of the second step, once the log is read.
    """

    by_command: str | None
    no_room: str
    again: str = ""

    def bad_row(self, allowed: int) -> str:
        """The advice on a bad row, where `allowed` such rows may be left out."""
        if self.by_command is None:
            return (
                f"correct or remove it and begin anew, or continue with --resume and a higher --skip-bad than {allowed}"
            )
        if not self.by_command:
            return "correct or remove it"
        return (
            f"correct or remove it, or leave it out by {self.by_command} --skip-bad {allowed + 1}, and give the folder "
            "that this makes"
        )


BY_HAND = Ways(None, "free some space, and continue with --resume", "; the log is read, so continue with --resume")
"""For `coset prepare` itself."""
FOR_A_RUN = Ways("coset prepare", "free some space, and repeat the command, which continues")
"""For commands that prepare a log in a folder of their own, which the same command finds again."""


def later(like: object, *, labelled: bool = True) -> Ways:
    """For a log that is prepared in a temporary folder, for a run that was trained on `like`."""
    return Ways(
        f"coset prepare --like {like}" if labelled else "",
        "free some space, or name a folder on a larger disk in TMPDIR",
    )
