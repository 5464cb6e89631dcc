"""Runs `unfrag` in one forked child after another, so that each input costs a fork and not a start of Python."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time

SECONDS = 20
ADDRESS_SPACE = 4 << 30


def run(asked):
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(asked)
    _, status, usage = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "mib": usage.ru_maxrss / 1024, "seconds": time.monotonic() - started}


def _child(asked):
    code = 99
    try:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        os.umask(asked.get("umask", 0o022))
        os.chdir(asked["folder"])
        os.environ.update(asked["environment"])
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(asked[name], flags, 0o600), number)
        from unfrag.cli import main

        try:
            code = main(asked["words"])
        except SystemExit as ended:
            code = ended.code
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    import httpx  # noqa: F401
    import ruamel.yaml  # noqa: F401

    import unfrag.doctor.capture
    import unfrag.doctor.collect
    import unfrag.doctor.diagnosis
    import unfrag.launchers.compose.service
    import unfrag.launchers.supervisor.program
    import unfrag.plan.search
    import unfrag.reports.text.diagnosis
    import unfrag.reports.text.plan  # noqa: F401

    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
