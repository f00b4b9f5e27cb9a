"""A trainer that takes its time and computes next to nothing, for many runs on two cores.

It speaks as worker.trainer.trainer does: ready, one job line, progress, outputs, and `stopped` on
SIGTERM.
What it writes follows from the params and the inputs alone, so that two runs of a job, or two jobs
of the same params, end in the same bytes; a checkpoint carries it over a lost attempt.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

STEP_SECONDS = 0.1
FILES = {
    "distill": ("distilled_set", ["distilled_set.safetensors", "manifest.json"]),
    "train": ("model", ["model.safetensors"]),
    "calibrate": ("calibration", ["calibration.json"]),
    "evaluate": ("report", ["report.json"]),
}


def say(**message):
    """Send one message."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main():
    """One job."""
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
    say(type="ready", device="cpu")
    line = sys.stdin.readline()
    if not line.strip():
        return
    job = json.loads(line)
    if compute(job, asked):
        say(type="outputs", outputs=outputs_of(job))
    else:
        say(type="stopped")


def compute(job, asked):
    """Take the job's steps, from its checkpoint on; False where it was asked to stop."""
    checkpoint = job.get("checkpoint")
    n_steps = steps_of(job)
    written = time.monotonic()
    for step in range(last_step(checkpoint), n_steps):
        if asked:
            return False
        say(type="progress", phase=job["kind"], step=step, steps=n_steps, values={})
        time.sleep(STEP_SECONDS)
        if checkpoint and time.monotonic() - written > job["checkpoint_seconds"]:
            write_whole(Path(checkpoint), str(step + 1))
            written = time.monotonic()
    return True


def steps_of(job):
    """A distillation's own number, else a handful."""
    return job["params"]["distill"]["iterations"] if job["kind"] == "distill" else 8


def last_step(checkpoint):
    """Where an earlier attempt was."""
    if checkpoint is None or not Path(checkpoint).exists():
        return 0
    return int(Path(checkpoint).read_text())


def write_whole(path, text):
    """A name of its own, then the rename: as the real one does."""
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    temporary.write_text(text)
    temporary.rename(path)


def outputs_of(job):
    """One result, of a calibration one a model; its values tell the fence that made it."""
    resource, names = FILES[job["kind"]]
    folder = Path(job["work_folder"])
    fence = int(folder.name.rpartition("-")[2])
    content = {"kind": job["kind"], "params": without_ids(job["params"]), "of": read_inputs(job)}
    text = json.dumps(content, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    files = []
    for name in names:
        (folder / name).write_text(f"{name} {digest}\n" * 100)
        media_type = "application/json" if name.endswith("json") else "application/octet-stream"
        files.append({"name": name, "path": str(folder / name), "media_type": media_type})
    return [
        {"resource": resource, "values": {**values, "fence": fence, "recipe": digest}, "files": own}
        for values, own in zip(values_of(job), [files], strict=True)
    ]


def without_ids(value):
    """The params without what names another job."""
    if isinstance(value, dict):
        return {key: without_ids(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_ids(item) for item in value]
    return "id" if isinstance(value, str) and value[3:4] == "_" and len(value) == 30 else value


def read_inputs(job):
    """The files it was given: they have to be there."""
    inputs = job["inputs"]
    paths = [one["path"] for one in inputs.get("models", ())]
    paths += [one["path"] for one in inputs.get("distilled_sets", {}).values()]
    for name in ("distilled_set", "experts"):
        if inputs.get(name):
            paths.append(inputs[name]["path"])
    return sorted(hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths)


def values_of(job):
    """What the tables ask of a result of this kind."""
    params, inputs = job["params"], job["inputs"]
    match job["kind"]:
        case "distill":
            spec = params["distill"]
            return [
                {
                    "dataset": params["dataset"],
                    "method": spec["method"],
                    "images_per_class": spec["images_per_class"],
                }
            ]
        case "train":
            made_from = inputs["distilled_set"]
            return [
                {
                    "dataset": "digits",
                    "training_set": "distilled",
                    "distilled_set_id": made_from["id"],
                }
            ]
        case "calibrate":
            return [
                {
                    "model_id": inputs["models"][0]["id"],
                    "method": "none",
                    "fit_on": None,
                    "status": "fitted",
                    "temperature": 1.0,
                }
            ]
        case "evaluate":
            ids = [one["id"] for one in inputs["calibrations"]]
            return [{"dataset": "digits", "calibration_ids": ids}]
        case kind:
            raise ValueError(f"wanted one of {', '.join(FILES)}, got {kind}")


if __name__ == "__main__":
    main()
