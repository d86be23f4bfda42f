"""``edge-malaria train``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_malaria.cli.dataset_options import (
    ClassesOption,
    NoPatientsOption,
    PatientsOption,
    UnknownPatientsOption,
    open_cells,
)
from edge_malaria.cli.output import log, progress, warn
from edge_malaria.cli.train_outcome import report_pass, show

if TYPE_CHECKING:
    from edge_malaria.data.dataset import Dataset
    from edge_malaria.training.classifier.run_files import Trained
    from edge_malaria.training.classifier.study_plan import StudyPlan
    from edge_malaria.training.transfer.transfer import Start

_AT_EXPORT = "its int8 ranges are measured at export, which then needs --data"


class RecipeName(StrEnum):
    """Ways of training."""

    project = "project"
    own = "own"


def register(app: typer.Typer) -> None:
    """Adds ``train`` to the app."""
    app.command("train", help="Train a network on red-cell crops, split by patient.")(train)


def train(
    dataset: Annotated[Path, typer.Argument(help="Folder or zip in the NIH layout.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Run directory.")],
    arch: Annotated[
        str, typer.Option(help="Architecture to train; an unknown name lists them all.")
    ] = "compact",
    input_size: Annotated[
        str | None,
        typer.Option(help="Input side in px, or median: of the train cells. Default: its own."),
    ] = None,
    recipe: Annotated[
        RecipeName,
        typer.Option(
            help="project: augmented cells, int8 rounding. own: as the architecture's paper trains."
        ),
    ] = RecipeName.project,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="At most so many passes. Default: 30, or the paper's.")
    ] = None,
    fine_tune: Annotated[
        int | None,
        typer.Option(min=1, help="Passes with int8 rounding at the end. Default: 5; own: none."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=2, help="Cells a step. Default: 128, or the paper's.")
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="A .keras file whose opinion has a share in the targets; repeatable."),
    ] = None,
    teacher_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="The teachers' share in the targets.")
    ] = 0.7,
    weights: Annotated[
        str | None, typer.Option(help="Start from imagenet, a .h5 file of it, or a .keras file.")
    ] = None,
    freeze_body: Annotated[
        bool, typer.Option("--freeze-body", help="Train the top alone, the body as it came.")
    ] = False,
    unfreeze: Annotated[
        int, typer.Option(min=0, help="Passes over everything after --freeze-body.")
    ] = 0,
    preprocess: Annotated[
        str | None, typer.Option(help="centre, lcn or whiten, inside the network.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Decides weights, order, augmentation.")
    ] = 0,
    patients: PatientsOption = None,
    no_patients: NoPatientsOption = False,
    classes: ClassesOption = None,
    unknown_patients: UnknownPatientsOption = False,
    exclude_suspect: Annotated[
        bool,
        typer.Option("--exclude-suspect", help="Also val figures without suspect labels."),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the run directory.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Trains, fine-tunes with int8 rounding, calibrates, and writes the run directory."""
    import shutil

    from edge_malaria.errors import OutputExists
    from edge_malaria.training.architectures.registry import architecture
    from edge_malaria.training.classifier.cells import default_cache, fitting_rows, load_renderings
    from edge_malaria.training.classifier.preprocessing import side_px
    from edge_malaria.training.classifier.suspects import val_figures
    from edge_malaria.training.transfer.transfer import Start

    if output.exists() and not (resume or force):
        raise OutputExists(f"{output} exists. Choose another name, or add --resume or --force.")
    start = Start(weights, freeze_body, unfreeze, preprocess)
    architecture(arch)
    plan = _own_plan(arch, recipe, epochs, batch, seed)
    if plan is not None:
        _refuse_with_own(start, teacher or [])
    opened = open_cells(dataset, patients, no_patients, classes, unknown_patients)
    splits = fitting_rows(opened)
    size = side_px(input_size, splits[0])
    if force and not resume and output.exists():
        shutil.rmtree(output)
    if plan is not None:
        outcome = _as_studied(splits, arch, plan, output, size, fine_tune or 0, resume)
    else:
        settings = _Settings(epochs or 30, batch or 128, fine_tune or 5, seed, teacher_share)
        outcome = _as_project(splits, arch, settings, output, size, teacher or [], start, resume)
    figures = None
    if exclude_suspect:
        size = int(outcome.model.input_shape[1])
        val = load_renderings(splits[1], size, cache=default_cache())["full"]
        figures = val_figures(outcome.model, outcome.decision, val)
    show(output, outcome, figures, as_json)


@dataclass(frozen=True)
class _Settings:
    epochs: int
    batch: int
    fine_tune: int
    seed: int
    teacher_share: float


def _own_plan(
    arch: str, recipe: RecipeName, epochs: int | None, batch: int | None, seed: int
) -> StudyPlan | None:
    """The plan of the architecture's paper where that is asked for, with what the user changes.

    None trains by the project's recipe, which is the own one of the project's networks.
    """
    from edge_malaria.training.classifier.published import published

    protocol = published(arch)
    if protocol is None:
        return None
    if recipe is RecipeName.project:
        log(f"{arch} has a published recipe ({protocol.source}): --recipe own trains by it.")
        return None
    plan = protocol.plan
    plan = replace(plan, epochs=epochs or plan.epochs, batch=batch or plan.batch, seed=seed)
    how = "Adam" if plan.momentum is None else f"descent with momentum {plan.momentum:g}"
    log(
        f"{arch} by {protocol.source}: {how}, rate {plan.learning_rate:g}, batches of "
        f"{plan.batch}, at most {plan.epochs} passes"
    )
    if protocol.chosen_here:
        log(f"chosen here, not in the source: {protocol.chosen_here}")
    return plan


def _refuse_with_own(start: Start, teachers: list[Path]) -> None:
    from edge_malaria.errors import UsageError
    from edge_malaria.training.transfer.transfer import PLAIN

    options = (
        ("--teacher", bool(teachers)),
        ("--weights, --freeze-body, --unfreeze or --preprocess", start != PLAIN),
    )
    for name, wanted in options:
        if wanted:
            raise UsageError(f"--recipe own goes without {name}. Leave out one of the two.")


def _as_studied(
    splits: tuple[Dataset, Dataset],
    arch: str,
    plan: StudyPlan,
    output: Path,
    size: int | None,
    fine_tune: int,
    resume: bool,
) -> Trained:
    from edge_malaria.training.classifier.cells import default_cache
    from edge_malaria.training.classifier.study_session import train_as_studied

    if not fine_tune:
        log(f"{arch} is trained in float: {_AT_EXPORT}.")
    with progress("reading cells", sum(len(part.rows) for part in splits)) as bar:
        return train_as_studied(
            splits,
            arch,
            plan,
            output,
            input_size=size,
            fine_tune_epochs=fine_tune,
            resume=resume,
            cache=default_cache(),
            report=report_pass,
            step=bar.step,
        )


def _as_project(
    splits: tuple[Dataset, Dataset],
    arch: str,
    settings: _Settings,
    output: Path,
    size: int | None,
    teachers: list[Path],
    start: Start,
    resume: bool,
) -> Trained:
    from edge_malaria.training.classifier.cells import default_cache
    from edge_malaria.training.classifier.recipe import Recipe
    from edge_malaria.training.classifier.session import train as run_training

    float_only = start.obstacle(arch, size)
    if float_only:
        warn(f"{arch} is trained in float only ({float_only}): {_AT_EXPORT}.")
    recipe = Recipe(
        epochs=settings.epochs,
        batch=settings.batch,
        seed=settings.seed,
        teacher_share=settings.teacher_share,
    )
    with progress("reading cells", sum(len(part.rows) for part in splits)) as bar:
        return run_training(
            splits,
            arch,
            recipe,
            output,
            input_size=size,
            fine_tune_epochs=settings.fine_tune,
            teachers=teachers,
            start=start,
            resume=resume,
            cache=default_cache(),
            report=report_pass,
            step=bar.step,
        )
