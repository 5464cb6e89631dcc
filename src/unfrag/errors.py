"""Every failure a user can meet, with the exit code it leads to.

UnfragError
├── UsageError            2  the command line or a file it names is wrong
├── NotEnoughEvidence     3  the target does not answer, or answers too little
│   └── NeverReady        3  a server that was started did not become ready
├── RolledBack            4  a change was made, did not hold, and was taken back
└── RollbackFailed        5  a change could not be taken back: a human is needed
"""

from __future__ import annotations


class UnfragError(Exception):
    """One line for the user: what failed, why, and what to do next."""

    exit_code = 1


class UsageError(UnfragError):
    exit_code = 2


class NotEnoughEvidence(UnfragError):
    exit_code = 3


class NeverReady(NotEnoughEvidence):
    pass


class RolledBack(UnfragError):
    exit_code = 4


class RollbackFailed(UnfragError):
    exit_code = 5
