"""Does the code that is here still make the numbers that are stored?

When code behind a stored result changes without meaning to change a number, as in a refactoring, making all results again
costs hours. A sample of the runs, drawn by the hash of the new code so that nobody can choose it, is made again. Where every
stored field agrees bit for bit, the file gets the new code's hashes and a stamp that says how many runs were verified.
"""

from __future__ import annotations

import json
import os
import queue
import random
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmlib.book import results
from mmlib.book.revision import Ask, Revision, checked_out, commit_of
from mmlib.book.studies import STUDIES
from mmlib.compare import compare
from mmlib.progress import bar as progress_bar
from mmlib.record import code_of, describe, digest, machine, stored_run
from mmlib.setting import Setting
from mmlib.workers import Failed, side_by_side

Run = tuple[str, int]  #: a setting's label, and a seed
Rows = dict[Run, dict[str, Any]]
Rowwise = Generator[tuple[Run, dict[str, Any]], None, None]

AT_LEAST = 5  #: runs of a result that are made again
ONE_IN = 20  #: and at least this share


@dataclass(frozen=True)
class Report:
    """What came of one result."""

    name: str
    good: bool
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


@dataclass(frozen=True)
class Task:
    """A stored result to verify, and what its study is now."""

    name: str
    path: Path
    content: dict[str, Any]
    settings: dict[str, Setting]
    keep: tuple[str, ...]
    code: dict[str, str]
    configuration: dict[str, Any]

    def sample(self) -> list[Run]:
        """The runs to make again: some that the new code's hash draws, and one of every setting described in another way."""
        runs = [(run["label"], run["seed"]) for run in self.content["runs"]]
        draw = random.Random(int(digest([self.name, self.code]), 16))
        drawn = draw.sample(runs, min(len(runs), max(AT_LEAST, -(-len(runs) // ONE_IN))))
        for label, description in self.configuration.items():
            if description != self.content["configuration"][label] and all(label != other for other, _ in drawn):
                drawn.append(draw.choice([run for run in runs if run[0] == label]))
        return drawn

    def stored(self) -> Rows:
        return {(run["label"], run["seed"]): run for run in self.content["runs"]}

    def as_stored(self, rows: Rows) -> Rows:
        """Rows of `compare` after the rounding that storing applies."""
        return {run: json.loads(json.dumps(stored_run(row, self.keep))) for run, row in rows.items()}


def verify(
    names: Sequence[str] = (),
    *,
    workers: int | None = None,
    against: str | None = None,
    progress: bool = True,
    say: Callable[[Report], object] = lambda report: None,
) -> list[Report]:
    """Run a sample of each result again, by default of all that are stale, and stamp those that agree bit for bit.

    Args:
        workers: how many runs side by side, by default one per core.
        against: a git revision, whose code made the results. Runs are then made twice, by that code and by the code that is
            here, and compared with each other: a processor other than the first one computes other bits.
        say: called with each report as soon as there is one.

    Raises:
        ValueError: an unknown study or revision, or workers below 1.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers: expected 1 or more, found {workers}")
    for name in names:
        results.study(name)
    commit = commit_of(against) if against is not None else None
    reports: list[Report] = []

    def report(name: str, good: bool, text: str) -> None:
        reports.append(Report(name, good, text))
        say(reports[-1])

    tasks: list[Task] = []
    for name in names or STUDIES:
        try:
            if names or (results.folder() / f"{name}.json").exists():
                found = _task(name)
                if isinstance(found, Task):
                    tasks.append(found)
                elif names:
                    report(name, True, found)
        except Exception as error:  # of this result; the others are verified all the same
            report(name, False, f"{type(error).__name__}: {error}")
    with ExitStack() as stack:
        old = stack.enter_context(checked_out(commit)) if tasks and commit is not None else None
        for task in tasks:
            try:
                report(task.name, *_verified(task, old, workers, progress))
            except Exception as error:
                report(task.name, False, f"{type(error).__name__}: {error}")
    return reports


def _task(name: str) -> Task | str:
    """What there is to verify, or why there is nothing."""
    path, study = results.folder() / f"{name}.json", results.study(name)
    content, settings = results.read(path), study.settings()
    code, configuration = code_of(settings), describe(settings)
    if set(configuration) != set(content["configuration"]) or not results.same_columns(content, study.keep):
        raise ValueError(f"its settings have changed; make it again: python -m mmlib results {name}")
    if code == content["code"] and configuration == content["configuration"]:
        return results.stale(path) or "current, nothing to verify"
    return Task(name, path, content, {s.label: s for s in settings}, study.keep, code, configuration)


def _verified(task: Task, old: Revision | None, workers: int | None, progress: bool) -> tuple[bool, str]:
    """Make the sample again and compare; where it agrees, stamp the file."""
    if old is not None:
        _same_code(task, old)
    drawn = task.sample()
    now = task.as_stored(_runs_here(task, drawn, workers, progress))
    then = task.as_stored(_runs_there(old, task.name, drawn, workers, progress)) if old is not None else task.stored()
    lines = [line for run in drawn for line in differences(run, then[run], now[run], old.commit[:12] if old else "stored")]
    if lines:
        head = f"{len(lines)} of the {len(drawn)} runs made again differ"
        way_out = (not old and _hint(task)) or f"make it again: python -m mmlib results {task.name}"
        return False, "\n".join([head, *(f"  {line}" for line in [*lines, way_out])])
    facts = {"verified": len(drawn), "of": len(task.content["runs"]), **({"against": old.commit} if old is not None else {})}
    note = results.stamp(task.content["code"], task.code, **facts, **machine())
    content = {**task.content, "code": task.code, "configuration": task.configuration}
    results.write(task.path, {**content, "stamps": [*content.get("stamps", []), note]})
    return True, f"{len(drawn)} of {len(task.content['runs'])} runs made again, bit for bit the same; stamped"


def _same_code(task: Task, old: Revision) -> None:
    recorded = old.recorded(task.name)
    for what in ("code", "configuration"):
        there, here = recorded[what], task.content[what]
        other = sorted(k for k in {*there, *here} if there.get(k) != here.get(k))
        if other:
            raise ValueError(
                f"--against: revision {old.commit[:12]} is not the {what} that made {task.path.name} "
                f"({', '.join(other[:5])}{', ...' if len(other) > 5 else ''} differ)"
            )


def _one(setting: Setting, seed: int) -> tuple[Run, dict[str, Any]]:
    return (setting.label, seed), compare([setting], [seed], workers=1, cache=False, progress=False).runs[0]


def _runs_here(task: Task, drawn: list[Run], workers: int | None, progress: bool) -> Rows:
    """The runs by the code that is here, each in a process; nothing comes from the cache."""

    def rows() -> Rowwise:
        jobs, processes = [(task.settings[label], seed) for label, seed in drawn], _workers(workers, drawn)
        if processes == 1:
            yield from (_one(*job) for job in jobs)
            return
        with closing(side_by_side(_one, jobs, processes)) as outcomes:
            for number, outcome in outcomes:
                if isinstance(outcome, Failed):
                    raise RuntimeError(f"{drawn[number][0]}, seed {drawn[number][1]}: {outcome.message}")
                yield outcome

    return _collected(rows(), len(drawn), task.name, progress)


def _runs_there(old: Revision, name: str, drawn: list[Run], workers: int | None, progress: bool) -> Rows:
    """The runs by the other revision, in processes of its own."""

    def rows() -> Rowwise:
        processes, idle = _workers(workers, drawn), queue.SimpleQueue[Ask]()

        def run(label: str, seed: int) -> dict[str, Any]:
            ask = idle.get()
            try:
                return ask({"name": name, "label": label, "seed": seed})
            finally:
                idle.put(ask)

        with ExitStack() as stack, ThreadPoolExecutor(processes) as pool:
            for _ in range(processes):
                idle.put(stack.enter_context(old.process()))
            waiting = {pool.submit(run, *each): each for each in drawn}
            try:
                for future in as_completed(waiting):
                    yield waiting[future], future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    return _collected(rows(), len(drawn), f"{name} at {old.commit[:12]}", progress)


def _workers(workers: int | None, drawn: list[Run]) -> int:
    return min(workers or os.cpu_count() or 1, len(drawn))


def _collected(rows: Rowwise, total: int, what: str, progress: bool) -> Rows:
    done: Rows = {}
    bar = progress_bar(total, 0, what, "run", progress)
    try:
        for run, row in rows:
            done[run] = row
            bar.update()
    finally:
        rows.close()  # at once: what still runs elsewhere ends with it
        bar.close()
    return done


def differences(run: Run, then: dict[str, Any], now: dict[str, Any], origin: str = "stored") -> list[str]:
    """One line if a field of ``then`` is not the same, bit for bit, in ``now``; or if one of them diverged.

    The seconds do not count. A field or a column of the curves that ``then`` does not have yet does not, either.
    """
    other = []
    for field in [*then, *(f for f in ("diverged", "diverged_epoch") if f in now and f not in then)]:
        if field == "curves":
            curves = now.get("curves", {})
            other += [(f"curve {c}", *_first(old, curves.get(c))) for c, old in then["curves"].items() if old != curves.get(c)]
        elif field != "seconds" and _text(then, field) != _text(now, field):
            other.append((field, _text(then, field), _text(now, field)))
    if not other:
        return []
    field, before, after = other[0]
    more = f", and {len(other) - 1} more" if len(other) > 1 else ""
    return [f"{run[0]}, seed {run[1]}: {field}: {origin} {before}, now {after}{more}"]


def _text(row: dict[str, Any], field: str) -> str:
    """Tells apart what == does not, and holds NaN for the same as NaN."""
    return json.dumps(row[field]) if field in row else "absent"


def _first(old: str, new: str | None) -> tuple[str, str]:
    """The first point at which two curves part."""
    before, after = old.split(), (new or "absent").split()
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after)))
    return f"{(before[at:] or ['ends'])[0]} at epoch {at + 1}", (after[at:] or ["ends"])[0]


def _hint(task: Task) -> str:
    """Whether another machine may be the reason, and the way out."""
    here = machine()
    made_with = [task.content, *(note["made_with"] for note in task.content.get("stamps", []) if "made_with" in note)]
    unlike = [(what, made.get(what)) for made in made_with for what in ("processor", "torch") if made.get(what) != here[what]]
    if not unlike:
        return ""
    what, there = unlike[0]
    again, older = f"python -m mmlib results --verify {task.name}", ""
    if str(there).endswith("AVX2") and here[what].endswith("AVX512"):
        older = f"To compute as there: ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 {again}. "
    return (
        f"its {what}: {there or 'not recorded'}, here: {here[what]}. That alone may change the last bits. {older}"
        f"To compare with the code that made it, on this machine: {again} --against REVISION"
    )
