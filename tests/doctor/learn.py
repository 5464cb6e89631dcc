"""Learns what weak signals are worth: ``python -m tests.doctor.learn [MORE.jsonl …]``.

From the labelled cases beside this file, the written examples in ``learning/`` and, where they are given, more cases in
the form of the scorer's: a line of JSON each. Writes ``doctor/weigh/weights.txt`` and the vocabulary of the log reader,
and says how often the weigher is right on cases that it was not taught (ten folds, by case). Needs scikit-learn:
``pip install -e '.[learn]'``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression

from tests.doctor import pasted
from unfrag.doctor import collect
from unfrag.doctor.probes.log import terms
from unfrag.doctor.weigh import signals
from unfrag.doctor.weigh.hypotheses import HEALTHY, WORDS_WEIGH

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src" / "unfrag" / "doctor"
# What was written to teach counts half; what was seen counts in full.
TAUGHT = 0.5
STRENGTH = 0.3
FOLDS = 10
LEAST = 0.08


class Everything:
    """A vocabulary that has every word."""

    def __rand__(self, words: set[str]) -> set[str]:
        return words


class Case:
    def __init__(self, folder: Path, label: dict[str, Any], weight: float, scored: bool) -> None:
        self.signals = sorted(signals.of(collect.evidence(folder)))
        self.cause = label.get("true_cause") or HEALTHY
        self.right = {self.cause, *label.get("also_acceptable", ())}
        self.weight, self.scored = weight, scored


def cases(more: list[Path]) -> list[Case]:
    terms.vocabulary = Everything  # type: ignore[assignment]
    found = []
    for kind, weight in (("threads", 1.0), ("cases", TAUGHT), ("healthy", 1.0)):
        for folder in sorted(path for path in (HERE / kind).iterdir() if path.is_dir()):
            label = folder / "expect.json"
            label_is = json.loads(label.read_text()) if label.exists() else {}
            found.append(Case(folder, label_is, weight, scored=kind != "cases"))
    for path in sorted((HERE / "learning").glob("*.jsonl")):
        found += _lines(path, TAUGHT, scored=False)
    for path in more:
        found += _lines(path, 1.0, scored=True)
    return found


def _lines(path: Path, weight: float, *, scored: bool) -> list[Case]:
    found = []
    for line in path.read_text().splitlines():
        said = json.loads(line)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            pasted.write(folder, said)
            found.append(Case(folder, said, weight, scored))
    return found


class Learned:
    """One model of a lot of cases."""

    def __init__(self, lot: list[Case]) -> None:
        often = Counter(name for case in lot for name in case.signals)
        self._columns = DictVectorizer()
        self._columns.fit([{name: 1 for name in case.signals if often[name] > 1} for case in lot])
        self.names = list(self._columns.get_feature_names_out())
        self._is_word = np.array([name.startswith("word ") for name in self.names])
        self.model = LogisticRegression(C=STRENGTH, max_iter=500)
        self.model.fit(self.rows(lot), [case.cause for case in lot], sample_weight=[case.weight for case in lot])
        self.causes = [str(cause) for cause in self.model.classes_]

    def rows(self, lot: list[Case]) -> Any:
        """Words as a vector of one length, all else as 0 and 1."""
        found = self._columns.transform([dict.fromkeys(case.signals, 1) for case in lot]).tocsr()
        words = found @ sparse.diags(self._is_word.astype(float))
        others = found @ sparse.diags((~self._is_word).astype(float))
        length = np.sqrt(np.asarray(words.sum(1)).ravel())
        length[length == 0] = 1
        return sparse.diags(WORDS_WEIGH / length) @ words + others

    def sums(self, lot: list[Case]) -> Any:
        return self.model.decision_function(self.rows(lot))


def held_out(lot: list[Case]) -> tuple[list[Case], Any, list[str]]:
    """(scored cases, their sums by a model that did not know them, the causes of the columns)."""
    scored = [case for case in lot if case.scored]
    order = np.random.default_rng(0).permutation(len(scored))
    causes = sorted({case.cause for case in lot})
    sums = np.full((len(scored), len(causes)), -50.0)
    for fold in np.array_split(order, FOLDS):
        out = {id(scored[i]) for i in fold}
        learned = Learned([case for case in lot if id(case) not in out])
        columns = [causes.index(cause) for cause in learned.causes]
        sums[np.ix_(fold, columns)] = learned.sums([scored[i] for i in fold])
    return scored, sums, causes


def shares(sums: Any, sharpness: float) -> Any:
    odds = np.exp((sums - sums.max(1, keepdims=True)) * sharpness)
    return odds / odds.sum(1, keepdims=True)


def sharpness(scored: list[Case], sums: Any, causes: list[str]) -> float:
    """By which the shares of the held out cases come out as likely as they say."""

    def surprise(by: float) -> float:
        found = shares(sums, by)
        right = [found[i, [causes.index(c) for c in case.right if c in causes]].sum() for i, case in enumerate(scored)]
        return float(-np.log(np.maximum(right, 1e-9)).mean())

    return min(np.arange(0.4, 2.6, 0.1), key=surprise)


def say(scored: list[Case], sums: Any, causes: list[str], by: float) -> None:
    well = [i for i, case in enumerate(scored) if case.cause == HEALTHY]
    of_well = shares(sums, by)[well, causes.index(HEALTHY)]
    print(f"{len(well)} healthy held out: {(of_well >= 0.5).sum()} called so, {(of_well < 0.2).sum()} below 20%")
    kept = [i for i in range(len(scored)) if i not in set(well)]
    scored, sums = [scored[i] for i in kept], sums[kept]
    found, order = shares(sums, by), np.argsort(-sums, axis=1)
    best = [causes[row[0]] for row in order]
    strict = np.mean([case.cause == cause for case, cause in zip(scored, best, strict=True)])
    right = np.array([cause in case.right for case, cause in zip(scored, best, strict=True)])
    three = np.mean([bool(case.right & {causes[j] for j in row[:3]}) for case, row in zip(scored, order, strict=True)])
    print(f"{len(scored)} held out: strict {strict:.2f}, acceptable {right.mean():.2f}, in the first three {three:.2f}")
    said = found.max(1)
    for low, high in ((0.0, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.85), (0.85, 1.01)):
        band = (said >= low) & (said < high)
        if band.any():
            print(f"  said {low:.0%} to {min(high, 1):.0%}: {band.sum()} cases, {right[band].mean():.0%} right")


def write(learned: Learned, by: float) -> None:
    worth, base = learned.model.coef_.T, learned.model.intercept_
    lines = [
        "# What each signal is worth for each cause (log-odds), learned by tests/doctor/learn.py; see hypotheses.py.",
        "\t".join(["causes", *learned.causes]),
        "\t".join(["base", *(f"{value:.2f}" for value in base)]),
        f"sharpness\t{by:.1f}",
    ]
    vocabulary = set()
    for name, row in sorted(zip(learned.names, worth, strict=True)):
        parts = [f"{c}={value:.2f}" for c, value in zip(learned.causes, row, strict=True) if abs(value) >= LEAST]
        if parts:
            lines.append("\t".join([name, *parts]))
            if name.startswith(("word ", "about ")):
                vocabulary.add(name.removeprefix("word ").replace("about ", "about:", 1))
    (SOURCE / "weigh" / "weights.txt").write_text("\n".join(lines) + "\n")
    (SOURCE / "probes" / "log" / "terms.txt").write_text("\n".join(sorted(vocabulary)) + "\n")
    print(f"{len(lines) - 4} signals")


def main() -> None:
    lot = cases([Path(name) for name in sys.argv[1:]])
    scored, sums, causes = held_out(lot)
    by = sharpness(scored, sums, causes)
    say(scored, sums, causes, by)
    write(Learned(lot), by)


if __name__ == "__main__":
    main()
