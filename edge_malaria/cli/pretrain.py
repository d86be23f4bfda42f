"""``edge-malaria pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_malaria.cli.options import new_keras_file
from edge_malaria.cli.output import log, print_json, print_table


def register(app: typer.Typer) -> None:
    """Adds ``pretrain`` to the app."""
    app.command("pretrain", help="Pre-train a network's body on your copy of CIFAR-100.")(pretrain)


def pretrain(
    cifar100: Annotated[
        Path, typer.Argument(help="cifar-100-binary or -python: folder or .tar.gz.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .keras file to write.")],
    arch: Annotated[
        str, typer.Option(help="Architecture; an unknown name lists them all.")
    ] = "alexnet",
    input_size: Annotated[
        int | None, typer.Option(min=8, help="Input side in px. Default: the architecture's own.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training pictures.")] = 20,
    batch: Annotated[int, typer.Option(min=2, help="Pictures a step.")] = 128,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Decides weights and order.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Trains on the 100 classes and writes a network for train --weights."""
    from edge_malaria.training.classifier.run_files import save_model
    from edge_malaria.training.transfer.cifar import read_cifar100
    from edge_malaria.training.transfer.pretrain import pretrain as run

    new_keras_file(output, force)
    train, test = read_cifar100(cifar100)
    outcome = run(
        train,
        test,
        arch,
        size=input_size,
        epochs=epochs,
        batch=batch,
        seed=seed,
        report=lambda entry: log(
            f"epoch {entry['epoch'] + 1:3.0f}  loss {entry['loss']:.4f}  "
            f"test accuracy {entry['test_accuracy']:.4f}"
        ),
    )
    save_model(outcome.model, output)
    last = outcome.history[-1]
    document = {
        "model": str(output),
        "arch": arch,
        "input_size_px": int(outcome.model.input.shape[1]),
        "training_pictures": len(train.labels),
        "epochs": epochs,
        "loss": last["loss"],
        "test_accuracy": last["test_accuracy"],
    }
    if as_json:
        print_json(document)
        return
    names = ("training_pictures", "epochs", "loss", "test_accuracy")
    print_table(
        f"{output}: {arch} on CIFAR-100", names, [tuple(str(document[name]) for name in names)]
    )
    print(f"next: edge-malaria train DATASET --arch {arch} --weights {output} --freeze-body -o RUN")
