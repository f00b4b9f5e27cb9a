"""Commands about whatever has a name or an id: a job, a result, a data set."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from ddcal.cli.comparing import print_comparison
from ddcal.cli.completing import complete_jobs
from ddcal.cli.descriptions import Tags, in_words, tags_of
from ddcal.cli.edge import USED_WRONGLY, AsJson, Command, client_of
from ddcal.cli.jobs import JOBS_PANEL, took
from ddcal.cli.output import (
    Column,
    complain,
    is_terminal,
    moment,
    percent,
    print_facts,
    print_json,
    print_list,
    print_report,
    say,
    size,
)
from ddcal.client import Client
from ddcal.errors import NotFoundError
from ddcal.handles import Dataset, Job, Result
from ddcal.progress import duration, plain_line
from ddcal.records import RESULT_PREFIXES, DatasetRecord, ResultRecord

T = TypeVar("T")


Thing = Annotated[
    str,
    typer.Argument(
        metavar="ID|NAME",
        help="A job's or result's id, or a data set's name.",
        autocompletion=complete_jobs,
    ),
]


def show(
    context: typer.Context,
    name: Thing,
    as_json: AsJson = False,
) -> None:
    """Show all about a job, a result or a data set."""
    with client_of(context) as client:
        thing = _thing(client, name)
        if as_json:
            print_json(thing.record)
            return
        match thing:
            case Job():
                _show_job(client, thing)
            case Result():
                _show_result(thing.record)
            case Dataset():
                _show_dataset(thing.record)


def _thing(client: Client, name: str) -> Job | Result | Dataset:
    """Whatever has this id or name."""
    if name.startswith("job_"):
        return client.job(name)
    if resource := RESULT_PREFIXES.get(name.partition("_")[0]):
        return client.result(resource, name)
    return _of_either(name, lambda: client.dataset(name), lambda: client.dataset(name, logits=True))


def _show_result(record: ResultRecord) -> None:
    if record.resource == "comparison":
        print_comparison(record)
        print()
    numbers = [
        (key.replace("_", " "), value)
        for key, value in record.details.items()
        if isinstance(value, str | int | float) and key not in ("dataset", "version", "seconds")
    ]
    seconds = record.details.get("seconds")
    print_facts(
        [
            ("id", record.id),
            ("name", record.name),
            ("tags", in_words(record.tags)),
            ("notes", record.notes),
            ("job", record.job_id),
            ("data set", record.dataset),
            ("created", moment(record.created_at)),
            ("took", duration(seconds) if isinstance(seconds, int | float) else None),
            ("accuracy", percent(record.accuracy)),
            ("ECE", percent(record.ece)),
            *numbers,
            ("files", ", ".join(one.name for one in record.artifacts)),
        ]
    )
    held = [one for one in record.formats if one.why_not is None]
    if held:
        print()
        print_list(
            (Column("FORMAT", is_whole=True), Column("WHAT IT HOLDS")),
            [(one.format, one.description) for one in held],
        )
        print(f"\nUse it, with {', '.join(held[0].needs) or 'Python alone'}:\n")
        print(f"ddcal download {record.id} --format {held[0].format} --out .\n")
        print(held[0].use.rstrip())


def _show_job(client: Client, job: Job) -> None:
    record = job.record
    print_facts(
        [
            ("id", record.id),
            ("state", record.state),
            ("kind", record.kind),
            ("name", record.name),
            ("tags", in_words(record.tags)),
            ("notes", record.notes),
            ("data set", record.dataset),
            ("created", moment(record.created_at)),
            ("place in queue", record.place_in_queue),
            ("at work on", plain_line(record, "") if record.state == "running" else None),
            ("took", took(record)),
            ("attempts", record.attempt if record.attempt > 1 else None),
            ("retry of", record.retry_of),
            ("reused from", record.reused_from),
            ("error", record.error),
        ]
    )
    if record.results:
        print()
        made = [(one.record.id, told_apart(one.record)) for one in job.results]
        print_list((Column("RESULT", is_whole=True), Column("WHAT")), made)
    if record.children:
        print()
        columns = (Column("ID", is_whole=True), Column("STATE", is_whole=True), Column("PART"))
        rows = [(one.id, one.state, one.role or one.kind) for one in record.children]
        print_list(columns, rows)
    comparisons = [link.id for link in record.results if link.resource == "comparison"]
    if comparisons:
        print()
        print_comparison(client.result("comparison", comparisons[-1]).record)
    elif any(link.resource == "report" for link in record.results):
        print_report(job.report)


def told_apart(record: ResultRecord) -> str:
    """What tells a result from the others of its job."""
    said = record.details
    words = [record.resource.replace("_", " ")]
    if record.method:
        words[0] += f" by {record.method}"
    if said.get("fit_on") is not None:
        words[0] += f" on {str(said['fit_on']).replace('_', ' ')}"
    if record.resource == "calibration" and said.get("mask_ratio"):
        words.append(f"{100 * said['mask_ratio']:.0f} % masked")
    if said.get("training_set") is not None:
        words.append(f"trained on {said['training_set']}")
    if said.get("seed_index") is not None:
        words.append(f"seed {said['seed_index']}")
    return ", ".join(words)


def _show_dataset(record: DatasetRecord) -> None:
    facts = record.facts or {}
    print_facts(
        [
            ("name", record.name),
            ("state", record.state),
            ("why not", record.why_not),
            ("problem", record.problem.detail if record.problem else None),
            ("tags", in_words(record.tags)),
            ("notes", record.notes),
            ("created", moment(record.created_at)),
            ("size", size(record.n_bytes)),
            ("image shape", " × ".join(map(str, facts.get("image_shape", ())))),
            *(
                ("remarks" if key == "notes" else key.replace("_", " "), value)
                for key, value in facts.items()
                if key not in ("mean", "std", "image_shape")
            ),
        ]
    )


def edit(
    context: typer.Context,
    name: Thing,
    new_name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name it; '' for no name.")
    ] = None,
    tags: Tags = None,
    untag: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Take this tag away; likewise.")
    ] = None,
    notes: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Replace its notes; '' for none.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Change name, tags and notes of a job, a result or an upload."""
    change: dict[str, Any] = {"name": new_name, "notes": notes}
    change = {field: text or None for field, text in change.items() if text is not None}
    if tags or untag:
        change["tags"] = {**dict.fromkeys(untag or ()), **tags_of(tags)}
    if not change:
        complain("nothing to change: give --name, --tag, --untag or --notes")
        return USED_WRONGLY
    with client_of(context) as client:
        thing = _thing(client, name).describe(**change)
    if as_json:
        print_json(thing.record)
    else:
        said = thing.record
        print_facts([("name", said.name), ("tags", in_words(said.tags)), ("notes", said.notes)])
    return 0


def rm(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="JOB|DATA-SET...", help="What to delete.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> int:
    """Delete ended jobs with their results and files, or uploads."""
    if is_terminal() and not yes:
        typer.confirm(f"Delete {', '.join(names)}, with all files?", abort=True, err=True)
    with client_of(context) as client:
        for name in names:
            if name.startswith("job_"):
                client.delete(f"/v1/jobs/{name}")
            else:
                _remove_upload(client, name)
            say(f"{name} deleted")
    return 0


def _remove_upload(client: Client, name: str) -> None:
    _of_either(
        name,
        lambda: client.delete(f"/v1/datasets/{name}"),
        lambda: client.delete(f"/v1/logits/{name}"),
    )


def _of_either(name: str, images: Callable[[], T], logits: Callable[[], T]) -> T:
    """What is asked of a data set, or else of uploaded logits: they share their names."""
    try:
        return images()
    except NotFoundError:
        pass
    try:
        return logits()
    except NotFoundError as error:
        words = f"there is no job, result, data set or upload {name!r}"
        raise NotFoundError(error.status, error.code, words) from None


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (show, edit, rm):
        app.command(cls=Command, rich_help_panel=JOBS_PANEL)(command)
