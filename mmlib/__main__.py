"""The command line: ``python -m mmlib compare | train | predict | diagnose | download | results | claims``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from mmlib.command import compare, diagnose, predict, shared, train
from mmlib.command.parser import UsageError, parser
from mmlib.data.catalogue import DATASETS


def _results(args: argparse.Namespace) -> int:
    from mmlib.book import results, verify  # with `_claims` the one door from the library to the book's workshop

    if args.against is not None and not args.verify:
        raise UsageError("--against: expected together with --verify")
    if args.verify:

        def say(report: verify.Report) -> None:
            print(report if report.good else f"{report.name}: not verified, see the end", flush=True)

        reports = verify.verify(args.names, workers=args.workers, against=args.against, say=say)
        failed = [str(report) for report in reports if not report.good]
        if not reports:
            print("no result is stale, nothing to verify")
    else:
        failed = results.make_all(args.names, workers=args.workers)
    if failed:
        print(f"\n{len(failed)} not done:", *failed, sep="\n", file=sys.stderr)
    return 1 if failed else 0


def _claims(args: argparse.Namespace) -> int:
    from mmlib.book import ledger

    failed = ledger.run(args.offset, args.chapters, studies=not args.no_studies, workers=args.workers)
    if failed:
        print(f"\n{len(failed)} went wrong:", *failed, sep="\n", file=sys.stderr)
    return 1 if failed else 0


def _download(args: argparse.Namespace) -> None:
    for name in args.names:
        if name not in DATASETS:
            raise UsageError(f"download: unknown data set {name!r}; known: {', '.join(DATASETS)}")
    for name in args.names:
        fetch = DATASETS[name].download
        print(f"{name}: verified, in {fetch()}" if fetch else f"{name}: comes with the package, there is nothing to download")


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 done; 1 some results were not made or verified; 2 an error, in a line on standard error; 130 interrupted."""
    commands: dict[str, Callable[[argparse.Namespace], int | None]] = {
        "compare": compare.main,
        "train": train.main,
        "diagnose": diagnose.main,
        "predict": predict.main,
        "download": _download,
        "results": _results,
        "claims": _claims,
    }
    args = argparse.Namespace()
    try:
        args = parser().parse_args(arguments)
        return commands[args.command](args) or 0
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (ValueError, TypeError, OSError, RuntimeError, ArithmeticError, ModuleNotFoundError) as error:
        print(f"{type(error).__name__}: {shared.in_flags(str(error), args)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = "results verified so far are stamped" if getattr(args, "verify", False) else "finished runs and epochs are kept"
        print(f"\ninterrupted; {kept}, the same command goes on from there", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
