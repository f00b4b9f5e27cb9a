"""/upload: forms for what people bring, made from the parameters that the API takes.

A script sends the file to the API itself, with its progress; nothing is uploaded through here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from app.api.datasets import DatasetUpload
from app.api.http.dependencies import OwnerDep, ServiceDep
from app.api.logits import LogitsUpload
from app.api.network_uploads import NetworkUpload
from app.api.set_uploads import SetUpload
from app.shared.inputs.datasets import dataset_names
from app.web.rendering import page
from ddcal_core.specs.fields import NAME

router = APIRouter(include_in_schema=False)

PATH = "/upload"
LATER = ("tag", "notes")
"""Fields of every upload, which its own page can change."""

NAME_HELP = "What it is called: letters, digits, _, . and -."


@dataclass(frozen=True, kw_only=True)
class UploadKind:
    """One kind of upload.

    Attributes:
        title: on its tab.
        collection: the API's path.
        model: its parameters.
        accept: file names that a browser offers.
        is_folder: whether a folder may be sent, too.
        lead: the folder of pages where what was uploaded is shown; None: the job is.
        told: what the file holds.
        command: the same on the command line.
    """

    title: str
    collection: str
    model: type[BaseModel]
    accept: str
    told: str
    command: str
    lead: str | None = None
    is_folder: bool = False


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a form, as a parameter's schema tells it."""

    name: str
    description: str
    is_required: bool
    choices: tuple[str, ...]
    is_number: bool


KINDS: Mapping[str, UploadKind] = {
    "images": UploadKind(
        title="Images",
        collection="/v1/datasets",
        model=DatasetUpload,
        accept=".zip,.tar,.gz,.tgz,.npz,.parquet,.arrow,.mat",
        is_folder=True,
        lead="/datasets",
        told="A folder or a zip with one folder per class (cat/1.png, dog/1.png, …), or train/ and "
        "test/ with such folders in each; an .npz with x_train, y_train, x_test and y_test; "
        "parquet; or the files of CIFAR, MNIST or SVHN as downloaded.",
        command="ddcal upload NAME FOLDER",
    ),
    "logits": UploadKind(
        title="Logits",
        collection="/v1/logits",
        model=LogitsUpload,
        accept=".npz",
        lead="/logits",
        told="An .npz with logits and labels of images that the network was not trained on: "
        "logits (N, K) and labels (N,), or logits_fit, labels_fit, logits_test and labels_test.",
        command="ddcal upload NAME FILE.npz --logits",
    ),
    "set": UploadKind(
        title="Distilled sets",
        collection="/v1/distilled-sets",
        model=SetUpload,
        accept=".pt,.pth,.zip,.npz,.safetensors",
        told="A file as the code of DC, DSA, DM, MTT or TESLA writes it, safetensors or .npz of "
        "images and labels. Nothing in it is ever executed.",
        command="ddcal upload-set NAME FILE --dataset DATASET --space standardised",
    ),
    "network": UploadKind(
        title="Networks",
        collection="/v1/models",
        model=NetworkUpload,
        accept=".onnx,.safetensors",
        told="ONNX with its weights inside, or safetensors with the parameters of a network known "
        "by name. It is tried on a few images before it is taken.",
        command="ddcal upload-model NAME FILE.onnx --dataset DATASET",
    ),
}


@router.get(PATH)
def get_upload(
    request: Request, service: ServiceDep, owner_id: OwnerDep, kind: str = "images"
) -> HTMLResponse:
    """The form of one kind of upload; of the images for a kind that there is not."""
    shown = kind if kind in KINDS else "images"
    chosen = KINDS[shown]
    with service.database.read() as connection:
        names = dataset_names(connection, owner_id)
    fields = fields_of(chosen.model)
    values = {
        "kinds": KINDS,
        "shown": shown,
        "kind": chosen,
        "first": [one for one in fields if one.is_required],
        "others": [one for one in fields if not one.is_required],
        "datasets": names,
    }
    return page(request, service, "upload.html", values)


def fields_of(model: type[BaseModel]) -> list[Field]:
    """The parameters of an upload but for those that can be said later."""
    schema = model.model_json_schema()
    required = schema.get("required", ())
    return [
        _field(name, told, is_required=name in required)
        for name, told in schema["properties"].items()
        if name not in LATER
    ]


def _field(name: str, told: Mapping[str, Any], *, is_required: bool) -> Field:
    # What may be left out is anyOf its type and null.
    types = [one for one in told.get("anyOf", [told]) if one.get("type") != "null"]
    return Field(
        name=name,
        description=NAME_HELP
        if name == "name" and told.get("pattern") == NAME
        else told.get("description", ""),
        is_required=is_required,
        choices=tuple(types[0].get("enum", ())),
        is_number=types[0].get("type") in ("integer", "number"),
    )
