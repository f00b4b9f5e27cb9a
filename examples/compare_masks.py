"""Does masking the synthetic images while they are learned (MDT) calibrate better?

python examples/compare_masks.py digits --ratios 0 0.3

One pipeline a ratio and seed, the same but for the mask; they share what they can. A service has
to run: `ddcal serve`.
"""

import argparse
from statistics import mean

import ddcal


def main() -> None:
    """Submit all, wait, and print a line per ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.0, 0.3])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--images-per-class", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=300)
    options = parser.parse_args()

    with ddcal.Client() as client:
        jobs = {
            ratio: [submit(client, options, ratio, seed) for seed in range(options.seeds)]
            for ratio in options.ratios
        }
        print("mask   accuracy    ECE   after TS   (means over seeds)")
        for ratio, of_ratio in jobs.items():
            none, scaled = zip(*(job.wait().report.rows for job in of_ratio), strict=True)
            accuracy = mean(row.accuracy.mean or 0.0 for row in none)
            before, after = (mean(row.ece.mean or 0.0 for row in rows) for rows in (none, scaled))
            print(f"{ratio:4.0%}   {accuracy:8.1%}  {before:5.1%}   {after:8.1%}")


def submit(client: ddcal.Client, options: argparse.Namespace, ratio: float, seed: int) -> ddcal.Job:
    """Submit one pipeline, named so that `ddcal jobs --search mask` finds it."""
    return client.submit(
        "pipeline",
        name=f"mask {ratio:g}, seed {seed}",
        dataset=options.dataset,
        seed=seed,
        distill={
            "images_per_class": options.images_per_class,
            "iterations": options.iterations,
            "mask": {"ratio": ratio},
        },
        train={"n_seeds": 2, "epochs": options.epochs},
        baselines=[],
        calibrate=[{"method": "none"}, {"method": "ts", "fit_on": "validation"}],
    )


if __name__ == "__main__":
    main()
