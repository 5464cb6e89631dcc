"""A fault that nobody foresaw: one line for the user, the traceback in a file for whoever mends it."""

from __future__ import annotations

import sys
import traceback

from unfrag import __version__

EXIT_CODE = 70  # "internal software error" in sysexits.h: none of the codes that say something of a server


def keep() -> str:
    """Write down the exception that is being handled; what to tell the user."""
    from unfrag.errors import UsageError
    from unfrag.system.files import private_folder, write_atomically
    from unfrag.system.paths import state_dir

    kind, fault, _ = sys.exc_info()
    said = f"{kind.__name__ if kind else 'fault'}: {' '.join(str(fault).split())[:200]}"
    text = f"unfrag {__version__}, Python {sys.version.split()[0]}\n{traceback.format_exc()}"
    try:
        path = state_dir() / "last-fault.txt"
        private_folder(path.parent)
        write_atomically(path, text.encode("utf-8", "backslashreplace"), private=True)
    except (OSError, UsageError):
        sys.stderr.write(text)
        return f"a fault of unfrag itself ({said}): please report it with the lines above"
    return f"a fault of unfrag itself ({said}): please report it with {path}"
