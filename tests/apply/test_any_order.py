"""Any order of changes, kills, edits by a human and typos: no healthy server stopped, no byte lost, no untrue word.

The launcher is a pretended one, the verbs are the real ones. On a real supervisord: tests/e2e/test_apply_orders.py.
"""

from __future__ import annotations

import itertools
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import unfrag.doctor.collect  # noqa: F401 - what every verb needs is loaded once, before the children are forked
from tests.apply.world import BROKEN, PROGRAM, Answers, Done, World
from unfrag.apply.history import History, Kept
from unfrag.flags.line import read_flags
from unfrag.launchers.supervisor.ini import find_command

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "vllm serve m --max-num-seqs 8"
KILLS = {f"killed {at}": at for at in range(3, 9)}  # before the first file is written to after the server is up
BACK_KILLS = {f"rollback killed {at}": at for at in range(1, 7)}
LETTERS = (
    *("apply", "bad apply", "failed rollback", "rollback", "redo", "human", "comment", "edit", "remove", "typo"),
    *KILLS,
    *BACK_KILLS,
)
THE_ISSUE_S = ("apply", "failed rollback", "human", "typo", "kill")


@dataclass
class Seen:
    """The world at one moment."""

    content: bytes
    state: str
    running: str
    started: list[str]
    records: dict[str, Kept]
    killed: bool
    edited: bool
    ever_edited: bool

    @property
    def command(self) -> str:
        return command_in(self.content)

    @property
    def healthy(self) -> bool:
        return self.state == "RUNNING"


def command_in(content: bytes) -> str:
    return find_command(content.decode(), PROGRAM).command


def seen(world: World) -> Seen:
    now = world.state
    records = {kept.id: kept for kept in History(world.folder / "state" / "changes").all()}
    return Seen(
        world.file.read_bytes(),
        now["state"],
        now["running"],
        now["started"],
        records,
        now.get("killed", False),
        now.get("edited", False),
        now.get("ever_edited", False),
    )


def kept_bytes(world: World) -> set[bytes]:
    return {
        path.read_bytes() for path in (world.folder / "state").rglob("*") if path.name in ("before", "after", "edited")
    }


def step(world: World, letter: str, number: int) -> None:
    """One event; ``number`` makes changes differ."""
    if letter == "human":  # puts the first file back and starts the server
        by_hand(world, world.say(GOOD), start=True)
    elif letter == "comment":
        by_hand(world, world.file.read_bytes() + f"; note {number}\n".encode(), start=False)
    elif letter == "edit":  # and forgets the restart
        by_hand(world, world.say(f"{GOOD} --seed {number}"), start=False)
    elif letter == "remove":
        world.set(state="UNLOADED", running="")
    elif letter == "failed rollback":
        by_hand(world, world.say(f"{GOOD} --broken --seed {number}"), start=True)
        verb(world, "apply", "--unset", "broken")
        verb(world, "rollback")
    elif letter == "apply":
        verb(world, "apply", "--", "--max-num-seqs", str(16 + number))
    elif letter == "bad apply":
        verb(world, "apply", "--", "--max-num-seqs", "13")
    elif letter == "typo":
        verb(world, "apply", "--", "--max-num-seq", "4")
    elif letter == "rollback":
        verb(world, "rollback")
    elif letter == "redo":
        records = seen(world).records
        verb(world, "apply", "--redo", next(reversed(records), "none"))
    elif letter in BACK_KILLS:
        verb(world, "rollback", killed_at=BACK_KILLS[letter])
    else:
        at = KILLS.get(letter) or 3 + number % len(KILLS)
        verb(world, "apply", "--", "--max-num-seqs", str(16 + number), killed_at=at)


def by_hand(world: World, content: bytes, start: bool) -> None:
    changed = content != world.file.read_bytes()
    world.file.write_bytes(content)
    now = seen(world)
    world.set(edited=now.edited or changed, ever_edited=now.ever_edited or changed)
    if start:
        world.start()


def verb(world: World, *words: str, killed_at: int = 0) -> None:
    before = seen(world)
    done = world.run(*words, killed_at=killed_at)
    after = seen(world)
    what = f"{words} killed at {killed_at}\nbefore: {before}\nafter: {after}\nsaid: {done}"
    assert "Traceback" not in done.err, what
    if after.content != before.content:
        assert before.content in kept_bytes(world), f"bytes are lost: {what}"
        assert notes(before) <= notes(after), f"a human's line is gone: {what}"
    if done.code == 137:
        world.set(killed=True)
        return
    no_harm(words, before, after, done, what)
    for line in done.err.splitlines():
        assert is_true(line, before, after, kept_bytes(world)), f"untrue: {line}\n{what}"
    ended = any(kept.state in ("pending", "going back") for kept in after.records.values())
    world.set(killed=after.killed and ended, edited=after.edited and after.content == before.content)


def notes(now: Seen) -> set[bytes]:
    return {line for line in now.content.splitlines() if line.startswith(b"; note")}


def no_harm(words: tuple[str, ...], before: Seen, after: Seen, done: Done, what: str) -> None:
    new = after.started[len(before.started) :]
    if done.code == 2:
        assert new == [] or not before.healthy, what
    if done.code == 0 and after.healthy and not before.edited:
        assert after.running == after.command, f"it runs otherwise, and all is said to be done: {what}"
    if "--max-num-seq" in words:
        assert (done.code, after.content, new) == (2, before.content, []), what
    if before.healthy:
        assert after.healthy, f"a healthy server was stopped: {what}"
    if before.healthy and words[0] == "apply":
        bases = [read_flags(before.command), read_flags(before.running)]
        changed = {"--max-num-seqs", "--broken"}
        for command in new:
            rest = {flag: value for flag, value in read_flags(command).items() if flag not in changed}
            assert "--redo" in words or rest in [
                {flag: value for flag, value in base.items() if flag not in changed} for base in bases
            ], f"another server was started: {what}"


NEUTRAL = (
    r"expected: ",
    r"kept as ",
    r"warning: .* stands in the command",
    r"warning: .* was down with that file",
    r"nobody has loaded it",
    r"forward again: ",
    r"--\S+: ",
    r"unfrag: (the server|http\S+) ",
    r"\s{2}",
)


def is_true(line: str, before: Seen, after: Seen, kept_before: set[bytes]) -> bool:
    """Every claim in the line is checked; a line that claims nothing that is known here is not true."""
    untouched = (after.content, after.started) == (before.content, before.started)
    named = re.search(r"\d{8}T\d{6}-\d{9}-\w+", line)
    kept = (after.records.get(named[0]) or before.records.get(named[0])) if named else None
    claims = {
        r"[Nn]othing was changed": untouched or before.killed,
        r"nothing to do(?!\. But)": (untouched or before.killed) and after.healthy and after.running == after.command,
        r"nothing to do\. But no healthy server": not after.healthy,
        r"the old server runs again": before.healthy or before.killed,
        r"the server was down before": not before.healthy,
        r"was cut short": before.killed,
        r"nobody has loaded it": after.state == "UNLOADED",
        r"[Bb]ut the server was started otherwise": after.healthy and after.running != after.command,
        r"was started otherwise than its file says": before.killed or before.running != before.command,
        r"is stopped; it is started to see": before.killed or before.state in ("STOPPED", "UNLOADED"),
        r"was stopped before that change, and is up now": after.healthy,
        r"was started with it": after.healthy,
        r"A human is needed": not after.healthy,
        r"as it was before the rollback, and the server was not touched": before.killed and before.healthy,
        r"edited (since|meanwhile)": before.edited,
        r"edited between": before.ever_edited,
        r"is as it was before (it|that change)": kept is not None,
        r"before the restart: .* not touched": before.healthy,
        r"when the server had its flags": before.healthy,
        r"[Tt]he old file is back": after.content in kept_before and not after.healthy,
        r"nothing was taken back: the file and the server are as they were": before.killed
        or (after.content, after.running) == (before.content, before.running),
        r"the server of the old file did not come up": before.healthy,
        r"server did not come up( again)?:": not after.healthy,
        r"will not come up: it is FATAL": any(words in command for command in after.started[-2:] for words in BROKEN),
        r"runs with the new flags": after.healthy and after.running == after.command,
        r"is as it was before \S+, and \w+ runs with it": after.healthy and after.running == after.command,
        r"The change was taken back": after.content == before.content or before.killed,
        r"there is no change of \w+ on record that could be taken back": all(
            kept.state != "applied" for kept in after.records.values()
        ),
        r"is no change of": True,
        r"no flag of vLLM": True,
    }
    found = [holds for pattern, holds in claims.items() if re.search(pattern, line)]
    return all(found) and (bool(found) or any(re.match(pattern, line) for pattern in NEUTRAL))


@pytest.fixture(scope="module")
def answers():
    answers = Answers()
    yield answers
    answers.close()


def fresh(folder: Path, answers: Answers) -> World:
    folder.mkdir(parents=True)
    world = answers.world = World(folder, answers.url)
    world.file.write_bytes(world.say(GOOD))
    world.set()
    world.start()
    return world


@pytest.mark.parametrize(
    "order",
    [
        ("apply", "rollback", "failed rollback", "human", "typo"),
        ("apply", "rollback", "failed rollback", "human", "apply"),
        ("killed 5", "human", "apply"),
        ("killed 7", "apply", "rollback"),
        ("killed 6", "rollback", "redo"),
        ("killed 7", "apply"),
        ("killed 7", "rollback"),
        ("apply", "rollback killed 3", "apply"),
        ("apply", "rollback killed 4", "rollback"),
        ("apply", "rollback killed 3", "rollback"),
        ("apply", "comment", "apply", "rollback", "rollback"),
        ("apply", "rollback", "comment", "apply", "redo"),
        ("edit", "apply", "rollback"),
    ],
    ids=" ".join,
)
def test_an_order_that_once_did_harm(order, tmp_path, answers):
    world = fresh(tmp_path / "world", answers)
    for number, letter in enumerate(order):
        step(world, letter, number)


@settings(max_examples=6, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate])
@given(order=st.lists(st.sampled_from(LETTERS), min_size=5, max_size=5))
def test_any_order_does_no_harm_and_says_nothing_untrue(order, tmp_path_factory, answers):
    world = fresh(tmp_path_factory.mktemp("order") / "world", answers)
    for number, letter in enumerate(order):
        step(world, letter, number)


@pytest.mark.slow
@pytest.mark.parametrize(("letters", "length"), [(THE_ISSUE_S, 5), (LETTERS, 3)], ids=["five", "three"])
def test_every_order(letters, length, tmp_path, answers):
    """Orders share their beginnings: each is a copy of the world that the shorter one left."""
    worlds = {(): fresh(tmp_path / "0", answers)}
    count = itertools.count(1)
    for longer in range(1, length + 1):
        following = {}
        for order, world in worlds.items():
            for letter in letters:
                folder = tmp_path / str(next(count))
                shutil.copytree(world.folder, folder)
                copied = answers.world = moved(World(folder, answers.url), world)
                step(copied, letter, longer)
                following[(*order, letter)] = copied
            shutil.rmtree(world.folder)
        worlds = following
    assert len(worlds) == len(letters) ** length


def moved(copy: World, original: World) -> World:
    """Records name the file by its path."""
    for record in (copy.folder / "state").rglob("record.json"):
        record.write_text(record.read_text().replace(str(original.file), str(copy.file)))
    return copy
