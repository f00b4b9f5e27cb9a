"""The page of a finished study for docs/studies: verdicts, means, how it was run.

    ddcal download JOB --out study
    python -m benchmarks.study_page study/compare/comparison.json --title "..." --run "..." \
        > docs/studies/NAME.md

Numbers are means over seeds, each of which is a set with its networks; deviations are between
seeds. Nothing is computed here that comparison.json does not have.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev

from ddcal_core.formats.comparisons import ComparedRow, ComparisonRecord, read_comparison

SEED = "seed"


def page(record: ComparisonRecord, title: str, run: str) -> str:
    """A study as Markdown."""
    lines = [f"# {title}", "", f"**Run.** {run}", "", "| Rule | Verdict | |", "|---|---|---|"]
    lines += [
        f"| {one.rule.statement} | **{one.outcome}** | {one.words} |" for one in record.decided
    ]
    lines += ["", "Fixed before the run, with at least eight paired seeds for a verdict.", ""]
    lines += _table(record)
    if record.n_missing:
        lines += ["", f"{record.n_missing} results are missing: their jobs failed."]
    return "\n".join(lines) + "\n"


def _table(record: ComparisonRecord) -> list[str]:
    paths = [path for path in record.varied if path != SEED]
    groups: dict[tuple[object, ...], list[ComparedRow]] = {}
    for row in record.rows:
        settings = record.results[row.result].settings
        key = (*(settings.get(path) for path in paths), row.training_set, row.calibration)
        groups.setdefault(key, []).append(row)
    heads = [*(f"`{path}`" for path in paths), "Trained on", "Calibration"]
    lines = [
        f"| {' | '.join(heads)} | Accuracy, % | ECE, % | Seeds |",
        "|---" * len(heads) + "|---|---|---|",
    ]
    for key, rows in groups.items():
        accuracy = _spread(row.accuracy.mean for row in rows)
        error = _spread(row.ece.mean for row in rows)
        cells = [str(one) for one in key]
        lines.append(f"| {' | '.join(cells)} | {accuracy} | {error} | {len(rows)} |")
    return lines


def _spread(numbers: Iterable[float]) -> str:
    found: Sequence[float] = [100 * number for number in numbers]
    spread = f" ± {stdev(found):.1f}" if len(found) > 1 else ""
    return f"{fmean(found):.1f}{spread}"


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("comparison", type=Path)
    parser.add_argument("--title", required=True)
    parser.add_argument("--run", required=True, help="Commit, command, machine, load.")
    asked = parser.parse_args()
    record = read_comparison(asked.comparison.read_bytes())
    sys.stdout.write(page(record, asked.title, asked.run))


if __name__ == "__main__":
    main()
