"""What ``--help`` adds to typer's: commands in groups, whole sentences, and examples.

A new command enters ``GROUPS``. Its examples stand in ``EXAMPLES``, by the command's words, or in
its own docstring. tests/e2e/test_help.py asks for both, and that examples name options which exist.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

GROUPS: Mapping[str, Sequence[str]] = {
    "On the device": (
        "screen", "review", "report", "classify", "selftest", "doctor", "bundle", "serve", "users",
        "camera", "site", "batch", "backup", "restore", "support-bundle",
    ),
    "Proof": ("export", "parity", "evaluate", "benchmark", "explain", "firmware"),
    "On the workstation": (
        "train", "crossval", "prune", "ensemble", "pretrain", "baseline", "profile", "data",
    ),
}  # fmt: skip

EXAMPLES: Mapping[str, Sequence[str]] = {
    "screen": (
        "screen fields/ -o slide",
        "screen picamera -o slide --cells 5000",
        "screen sim:parasitemia=0.01,fields=10,seed=3 -o drawn",
        "screen fields/ -o slide --resume",
    ),
    "review": (
        "review slide --reader Amina",
        "review slide --export cells.csv",
        "review slide --import cells.csv --reader Amina",
    ),
    "site fit": (
        "site fit --negative n1 --negative n2 --negative n3 --negative n4 --negative n5 "
        "-o site.json",
        "site fit --negative n1 --negative n2 --negative n3 --negative n4 --negative n5 "
        "--positive p1 --positive p2:0.02 -o site.json",
    ),
    "classify": ("classify cell.png", "classify crops/ --json", "classify crops/ --mask auto"),
    "selftest": ("selftest", "selftest default-bundle --json"),
    "doctor": ("doctor", "doctor --data /var/lib/edge-malaria --camera picamera --json"),
    "support-bundle": ("support-bundle -o help.zip --data /var/lib/edge-malaria",),
    "camera empty-place": ("camera empty-place camera:0 -o empty-place.json",),
    "export": (
        "export --int8",
        "export mine.keras --int8 --data cells/ -o mine-bundle",
        "export mine.keras --int8 --half --format tflite",
    ),
    "parity": (
        "parity default-bundle",
        "parity default-bundle --data cells/ --split val --junit parity.xml",
        "parity default-bundle --engine litert,c",
    ),
    "evaluate": (
        "evaluate default-bundle cells/",
        "evaluate --compare default micro cells/ --plot roc.svg",
    ),
    "explain": ("explain default cell.png -o why.png --page why.html",),
    "firmware": ("firmware default-bundle -o firmware",),
    "benchmark": (
        "benchmark default-bundle",
        "benchmark default-bundle --against other.tflite --threads 1,4 --csv times.csv",
        "benchmark default-bundle --fields fields/ --growth 100",
        "benchmark default-bundle --against sequential3 --threads 1 --batch 1,64",
    ),
    "report": (
        "report slide",
        "report slide --fhir slide.fhir.json --sample A-17 --signed-by 'A. Reader'",
    ),
    "serve": (
        "serve --source camera:0 --data /var/lib/edge-malaria",
        "serve --source sim:parasitemia=0.02,fields=20,seed=3 --data practice",
        "serve --host 0.0.0.0 --tls-own --data /var/lib/edge-malaria",
    ),
    "users add": ("users add Amina --role supervisor --data /var/lib/edge-malaria",),
    "users list": ("users list --data /var/lib/edge-malaria",),
    "users change": ("users change Amina --password --data /var/lib/edge-malaria",),
    "backup": ("backup /var/lib/edge-malaria -o backup.zip",),
    "restore": ("restore backup.zip -o /var/lib/edge-malaria-new",),
    "batch": (
        "batch slides.csv -o out --workers 4",
        "batch slides.csv -o /shared/out --scheduler tcp://head:8786",
    ),
    "train": (
        "train cells/ --arch compact -o runs/compact",
        "train cells/ -o runs/student --teacher runs/wide/model.keras",
        "train cells/ -o runs/compact --resume",
    ),
    "crossval": (
        "crossval cells/ -o runs/folds",
        "crossval cells/ -o runs/folds --by both --workers 2",
        "crossval cells/ -o runs/folds --teachers 1",
    ),
    "prune": ("prune model.keras --data cells/ --criterion l1 --keep 0.5 -o small.keras",),
    "ensemble": ("ensemble a.keras b.keras --data cells/ -o both.keras --weights weighted",),
    "pretrain": ("pretrain cifar-100-binary/ --arch fast50 -o body.keras",),
    "baseline": ("baseline cells/ --method svm -o runs/svm --crossval",),
    "profile": ("profile --arch compact --dtype int8",),
    "data get": ("data get nih -o nih",),
    "data split": ("data split cells/ --seed 1",),
    "data show": ("data show cells/ -o panel.png --cells 16",),
    "data consensus": ("data consensus anna.csv ben.csv -o agreed.csv",),
    "data synth cells": ("data synth cells -o drawn --cells 200 --patients 10",),
    "data synth field": ("data synth field -o fields --fields 4 --parasitemia 0.05",),
    "data synth slide": ("data synth slide -o slide --fields 20 --motion 1",),
    "bundle list": ("bundle list --json",),
    "bundle activate": ("bundle activate default",),
    "bundle rollback": ("bundle rollback",),
    "bundle new-key": ("bundle new-key -o key.pem",),
    "bundle sign": ("bundle sign default-bundle --key key.pem",),
}  # fmt: skip


class ExampleCommand(TyperCommand):
    """A command whose help ends with examples."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Writes ``EXAMPLES`` of this command."""
        lines = EXAMPLES.get(" ".join(words_of(ctx)), ())
        if lines:
            with formatter.section("Examples"):
                for line in lines:
                    formatter.write(f"{'':{formatter.current_indent}}edge-malaria {line}\n")


class HelpGroup(TyperGroup):
    """Commands by who runs them, each with its whole first sentence."""

    def invoke(self, ctx: Any) -> Any:
        """Says that a command was interrupted: typer would end it without a word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(130) from None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes one section a group, in the order of ``GROUPS``."""
        rows = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                rows[name] = command.get_short_help_str(10_000)
        grouped = {"Commands": list(rows)} if words_of(ctx) else _by_group(list(rows))
        for title, names in grouped.items():
            if names:
                with formatter.section(title):
                    formatter.write_dl([(name, rows[name]) for name in names])


def _by_group(names: Sequence[str]) -> dict[str, list[str]]:
    found = {title: [n for n in group if n in names] for title, group in GROUPS.items()}
    known = {name for group in found.values() for name in group}
    found["Further commands"] = [name for name in names if name not in known]
    return found


def words_of(ctx: Any) -> list[str]:
    """The words behind ``edge-malaria`` that lead to a context: ``data``, ``synth``, ``cells``."""
    words: list[str] = []
    while ctx.parent is not None:
        words.insert(0, str(ctx.info_name))
        ctx = ctx.parent
    return words


def dress(app: typer.Typer) -> None:
    """Gives every command of ``app`` and of its groups this help."""
    for command in app.registered_commands:
        command.cls = ExampleCommand
    for group in app.registered_groups:
        group.cls = HelpGroup
        if group.typer_instance is not None:
            dress(group.typer_instance)
