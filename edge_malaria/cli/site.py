"""``edge-malaria site fit``: a site's own errors, thresholds and limit of detection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_malaria.cli.options import BundleOption, JsonOption, new_output, open_named

if TYPE_CHECKING:
    from edge_malaria.bundle.spec import Bundle
    from edge_malaria.runtime.slide.site_profile import SiteProfile
    from edge_malaria.runtime.slide.site_slides import SiteSlide

site_app = typer.Typer(
    help="Verify a site: its own mistakes, thresholds and limit of detection.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Adds ``site``."""
    app.add_typer(site_app, name="site")


@site_app.command("fit")
def fit(
    negative: Annotated[
        list[str],
        typer.Option(
            "--negative",
            metavar="DIR",
            help="A slide of the site that another method found free of malaria: its report "
            "directory, or its pictures. At least 5; recommended: 20 of 2,000 cells.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--output", help="Site profile to write, .json.")],
    positive: Annotated[
        list[str] | None,
        typer.Option(
            "--positive",
            metavar="DIR[:P]",
            help="A slide of the site with malaria: reviewed, or with its known parasitemia P.",
        ),
    ] = None,
    max_lod: Annotated[
        float,
        typer.Option(
            "--max-lod", min=0.0, max=1.0, help="Limit of detection to reach from 5,000 cells."
        ),
    ] = 0.01,
    name: Annotated[str, typer.Option("--name", help="Of the site. [the file's name]")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier profile.")] = False,
    bundle: BundleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit this program to your site by slides that another method found free of malaria.

    Exit code 1 where the site does not reach the limit of detection: the profile is written and
    says so.
    """
    from edge_malaria.cli.output import print_json
    from edge_malaria.errors import UsageError
    from edge_malaria.files import write_json, write_text
    from edge_malaria.runtime.report.limit_plot import limit_plot
    from edge_malaria.runtime.words.language import words_for

    if out.suffix != ".json":
        raise UsageError(f"-o {out}: expected a name that ends in .json.")
    new_output(out, force)
    read = open_named(bundle)
    profile = _fitted(read, negative, positive or [], out, name or out.stem, max_lod)
    write_json(out, profile.as_json())
    plot = out.with_suffix(".svg")
    space = 'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="13" '
    drawn = limit_plot(words_for("en"), profile.limits, wanted=max_lod)
    write_text(plot, drawn.replace("<svg ", f"<svg {space}"))
    if as_json:
        print_json(_document(profile))
    else:
        _print(profile, out, plot)
    if not profile.passed:
        raise typer.Exit(1)


def _fitted(
    bundle: Bundle,
    negative: list[str],
    positive: list[str],
    out: Path,
    name: str,
    max_lod: float,
) -> SiteProfile:
    from edge_malaria.runtime.screen.screening import bundle_sha256
    from edge_malaria.runtime.screen.slide_errors import bundle_errors
    from edge_malaria.runtime.slide.site_fit import check_number
    from edge_malaria.runtime.slide.site_slides import check_slides, fit_site

    check_number(len(negative))
    calm = [_slide(bundle, source, out, place) for place, source in enumerate(negative, 1)]
    pairs = [_known(text) for text in positive]
    sick = [
        _slide(bundle, source, out, place) for place, (source, _) in enumerate(pairs, len(calm) + 1)
    ]
    check_slides(calm, sick, bundle_sha256(bundle))
    known = [share for _, share in pairs]
    made = fit_site(
        bundle_errors(bundle),
        calm,
        list(zip(sick, known, strict=True)),
        bundle.classifier.threshold("balanced"),
    )
    return made.profile(name, bundle_sha256(bundle), calm[0].conditions, max_lod)


def _known(text: str) -> tuple[str, float | None]:
    """``DIR:0.02`` -> (DIR, 0.02); ``DIR`` -> (DIR, None)."""
    from edge_malaria.errors import UsageError

    source, colon, value = text.rpartition(":")
    if not colon or Path(text).exists():
        return text, None
    try:
        share = float(value)
    except ValueError:
        return text, None
    if not (0 < share <= 1):
        raise UsageError(f"--positive {text}: expected a parasitemia as a fraction, got {value}.")
    return source, share


def _slide(bundle: Bundle, source: str, out: Path, place: int) -> SiteSlide:
    """A slide's report; pictures are screened into a directory beside the profile first."""
    from edge_malaria.cli.output import log
    from edge_malaria.runtime.classify.classifier import Classifier
    from edge_malaria.runtime.screen.config import load_config
    from edge_malaria.runtime.screen.screening import ScreenCall, screen
    from edge_malaria.runtime.screen.slide_pipeline import ScreenOptions
    from edge_malaria.runtime.slide.journal import NAME
    from edge_malaria.runtime.slide.site_slides import read_slide
    from edge_malaria.runtime.sources.opening import open_source

    if (Path(source) / NAME).is_file():
        return read_slide(Path(source))
    directory = out.with_suffix(".slides") / f"{place:03d}"
    resume = (directory / NAME).is_file()
    log(f"screening {source} into {directory}")
    config = load_config()
    opened = open_source([source], settings=config.source)
    classifier = Classifier(bundle, operating_point="screening")
    call = ScreenCall(directory, (source,), 5e6, resume)
    screen(opened, bundle, classifier, call, config, ScreenOptions()).complete()
    return read_slide(directory)


def _document(profile: SiteProfile) -> dict[str, object]:
    return {
        "name": profile.name,
        "passed": profile.passed,
        "max_lod": profile.max_lod,
        "screening": profile.screening,
        "balanced": profile.balanced,
        "negatives": profile.negatives,
        "cells": profile.cells,
        "positives": profile.positives,
        "parasitized": profile.parasitized,
        "limits": [
            {"cells": n, "limit_of_detection": alone, "limit_of_detection_reviewed": reviewed}
            for n, alone, reviewed in profile.limits
        ],
    }


def _print(profile: SiteProfile, out: Path, plot: Path) -> None:
    from edge_malaria.cli.output import print_table, warn
    from edge_malaria.records import RESEARCH_USE
    from edge_malaria.runtime.slide.site_fit import RECOMMENDED_CELLS, RECOMMENDED_NEGATIVES
    from edge_malaria.runtime.slide.site_profile import PASS_CELLS
    from edge_malaria.runtime.words.language import words_for

    def percent(share: float | None) -> str:
        return words_for("en").share(share).replace("\u00a0", " ")

    columns = ("red cells counted", "the program alone", "a person looks at flagged cells")
    rows = [(f"{n:,}", percent(alone), percent(read)) for n, alone, read in profile.limits]
    print_table(f"Limit of detection at {profile.name}", columns, rows)
    print(
        f"{profile.negatives} slides without malaria, {profile.cells:,} cells; "
        f"{profile.positives} with malaria, {profile.parasitized:,} parasitized cells."
    )
    few = profile.negatives < RECOMMENDED_NEGATIVES
    if few or profile.cells < RECOMMENDED_NEGATIVES * RECOMMENDED_CELLS:
        warn(
            f"recommended are {RECOMMENDED_NEGATIVES} slides of {RECOMMENDED_CELLS:,} cells: "
            "more slides lower the limit."
        )
    if not profile.positives:
        warn("no slide with malaria: how many parasites are missed here is taken from elsewhere.")
    word = "passes" if profile.passed else "does not pass"
    print(
        f"The site {word}: asked for is {percent(profile.max_lod)} from {PASS_CELLS:,} cells by "
        "the program alone."
    )
    print(f"profile: {out}   plot: {plot}   use: edge-malaria screen ... --site {out}")
    print(RESEARCH_USE)
