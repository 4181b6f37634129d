"""``python -m mmlib diagnose``: what ails joint training on a data set, in words and, where asked for, as a page."""

from __future__ import annotations

from argparse import Namespace

from mmlib.command import shared
from mmlib.diagnosis import diagnose
from mmlib.diagnosis_report import write_html
from mmlib.methods.batches import check_batch_size
from mmlib.model import build
from mmlib.randomness import seeds


def main(args: Namespace) -> None:
    if args.html is not None:
        shared.writable(args.html, "--html", args.overwrite)
    _, _, splits = shared.data(args, seeds(1)[0])
    check_batch_size(build(splits), args.batch_size)
    found = diagnose(splits, seeds=args.seeds, fit_options=shared.fit_options(args), workers=args.workers)
    print(found)
    if args.html is not None:
        print(f"\nwritten to {write_html(found, args.html, f'Diagnosis of {splits.name or args.data}', args.overwrite)}")
