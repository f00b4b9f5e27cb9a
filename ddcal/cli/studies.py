"""Commands about studies: those that have a name, and running one."""

import json
from typing import Annotated, Any

import typer

from ddcal.cli.descriptions import JobName, Notes, Tags, description
from ddcal.cli.edge import USED_WRONGLY, AsJson, Command, client_of
from ddcal.cli.jobs import JOBS_PANEL, Watch, told
from ddcal.cli.output import Column, complain, print_facts, print_json, print_list, say
from ddcal.cli.plans import show_plan
from ddcal.records import NamedStudyRecord


def studies(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show the rules of this one.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """List the studies that have a name: each a question, and rules fixed beforehand."""
    with client_of(context) as client:
        found = client.named_studies()
    if name is not None:
        return _show_study(found, name, as_json=as_json)
    if as_json:
        print_json(found)
        return 0
    columns = (Column("STUDY", is_whole=True), Column("KIND", is_whole=True), Column("QUESTION"))
    print_list(columns, [(one.name, one.group, one.question) for one in found])
    return 0


def _show_study(found: list[NamedStudyRecord], name: str, *, as_json: bool) -> int:
    study = next((one for one in found if one.name == name), None)
    if study is None:
        complain(f"there is no study {name}: wanted one of {', '.join(one.name for one in found)}")
        return USED_WRONGLY
    if as_json:
        print_json(study)
        return 0
    facts = [
        ("study", f"{study.name}, version {study.version}"),
        ("question", study.question),
        ("varies", ", ".join(study.varies)),
        ("seeds", study.seeds),
    ]
    print_facts(facts)
    for rule in study.rules:
        say(f"  {rule['name']}: {rule['statement']}")
    return 0


def study(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the study; see ddcal studies.")],
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="What it is run on.")],
    preset: Annotated[
        str, typer.Option(metavar="smoke|published", help="Its budget: smoke is for two CPU cores.")
    ] = "smoke",
    seeds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="How many; default: as many as its rules need."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be run, and run nothing.")
    ] = False,
    label: JobName = None,
    tags: Tags = None,
    notes: Notes = None,
    watch: Watch = False,
    as_json: AsJson = False,
) -> int:
    """Run a study that has a name; prints its id."""
    params: dict[str, Any] = {"named": name, "dataset": dataset, "preset": preset, "seeds": seeds}
    request = {"kind": "study", "params": params, **description(label, tags, notes)}
    with client_of(context) as client:
        if dry_run:
            show_plan(client.plan(json.dumps(request).encode()), as_json=as_json)
            return 0
        return told(client.submit(request), watch=watch, as_json=as_json)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for name, command in (("studies", studies), ("study", study)):
        app.command(name, cls=Command, rich_help_panel=JOBS_PANEL)(command)
