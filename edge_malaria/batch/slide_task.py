"""One slide of a batch, in whatever process it lands: done once, taken up where it was left."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from edge_malaria.batch.manifest import Slide
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.spec import Bundle
from edge_malaria.errors import DataError, EdgeMalariaError, MissingExtra
from edge_malaria.files import sha256_of, write_json
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.screen.config import load_config
from edge_malaria.runtime.screen.screening import ScreenCall, screen
from edge_malaria.runtime.screen.slide_pipeline import ScreenOptions
from edge_malaria.runtime.slide.journal import NAME as JOURNAL_NAME
from edge_malaria.runtime.slide.site_profile import read_site
from edge_malaria.runtime.slide.statistics import rbc_per_ul
from edge_malaria.runtime.sources.opening import open_source

SLIDES = "slides"
# Written last: a slide that has it is done, whatever became of the process.
ROW = "batch-row.json"


@dataclass(frozen=True)
class Settings:
    """What all slides of a batch share; a batch that goes on must have the same.

    Attributes:
        out: the batch's directory, reachable from every worker.
        bundle: path of the bundle.
        variant, engine, operating_point: see ``Classifier``.
        config: path of a TOML with limits that differ; "" for none.
        quality_gate: refuse fields by quality.
    """

    out: str
    bundle: str
    variant: str = "int8"
    engine: str | None = None
    operating_point: str = "screening"
    config: str = ""
    quality_gate: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """One row of ``slides.csv``; rates are fractions, None where none is known.

    The rows of a whole archive are held until its table is written, so they are kept small.

    Attributes:
        slide: its name.
        verdict, basis: of the report; "" where there is none.
        cells_counted, cells_positive: of the report.
        parasitemia, low, high: with its 95 % interval.
        limit_of_detection: parasites per microlitre.
        status: ``done`` or ``failed``.
        reason: why it failed; "" where it did not.
        site: of the manifest; one that ends in ``.json`` is the profile that judged the slide.
        reference: of the manifest.
    """

    slide: str
    verdict: str = ""
    basis: str = ""
    cells_counted: int | None = None
    cells_positive: int | None = None
    parasitemia: float | None = None
    low: float | None = None
    high: float | None = None
    limit_of_detection: float | None = None
    status: str = "failed"
    reason: str = ""
    site: str = ""
    reference: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values under the table's column names."""
        return asdict(self)


def failed(slide: Slide, reason: str) -> Row:
    """The row of a slide without a report."""
    words = " ".join(reason.split())
    return Row(slide.name, reason=words, site=slide.site, reference=slide.reference)


def finished(out: Path, slide: Slide) -> Row | None:
    """The row that an earlier run left for this slide; None where it has to be done (again).

    A slide whose row in the manifest names another source or site now is judged anew, and so is
    one whose site profile was written since.
    """
    path = out / SLIDES / slide.name / ROW
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        same = {name: kept.pop(name) for name in ("source", "profile")} == _asked(slide)
        row = Row(**kept)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    same = same and row.site == slide.site
    # Another method's result may have come in since; nothing of the slide depends on it.
    return replace(row, reference=slide.reference) if same and row.status == "done" else None


def _asked(slide: Slide) -> dict[str, str]:
    """What beside the site's name a kept row must agree with: the source, the profile's digest."""
    try:
        digest = sha256_of(Path(slide.profile)) if slide.profile else ""
    except OSError:
        digest = ""
    return {"source": slide.source, "profile": digest}


def run_slide(slide: Slide, settings: Settings) -> Row:
    """Screens one slide into its report directory and leaves its row there.

    A slide that another process began is taken up after its last field. What is wrong with a slide
    becomes its row; nothing is raised for it.
    """
    out = Path(settings.out)
    done = finished(out, slide)
    if done is not None:
        return done
    directory = out / SLIDES / slide.name
    try:
        with local_copy(slide) as source:
            row = _screened(slide, source, directory, settings)
    except EdgeMalariaError as error:
        row = failed(slide, str(error))
    except OSError as error:
        row = failed(slide, f"{error.strerror or error}: {error.filename or slide.source}")
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / ROW, {**row.as_json(), **_asked(slide)})
    return row


def _screened(slide: Slide, source: str, directory: Path, settings: Settings) -> Row:
    site = read_site(Path(slide.profile)) if slide.profile else None
    bundle, classifier = _opened(
        settings.bundle,
        settings.variant,
        settings.engine,
        settings.operating_point,
        None if site is None else site.screening,
    )
    config = load_config(Path(settings.config) if settings.config else None)
    opened = open_source([source], settings=config.source)
    resume = (directory / JOURNAL_NAME).is_file()
    # The journal keeps the source as the manifest names it: a URL is fetched to another place
    # each time.
    call = ScreenCall(directory, (slide.source,), rbc_per_ul(None, None), resume, site=site)
    options = ScreenOptions(settings.quality_gate)
    made = screen(opened, bundle, classifier, call, config, options).complete()
    found = made.report.as_json()
    low, high = found["ci95"] or (None, None)
    return Row(
        slide=slide.name,
        verdict=found["verdict"],
        basis=str(found.get("basis", "algorithm")),
        cells_counted=found["cells_counted"],
        cells_positive=found["cells_positive"],
        parasitemia=found["parasitemia"],
        low=low,
        high=high,
        limit_of_detection=found["limit_of_detection_per_ul"],
        status="done",
        site=slide.site,
        reference=slide.reference,
    )


@lru_cache(maxsize=4)
def _opened(
    bundle: str, variant: str, engine: str | None, operating_point: str, threshold: float | None
) -> tuple[Bundle, Classifier]:
    """A worker opens a bundle once for each threshold; ``threshold`` is a site's own."""
    read = read_bundle(bundle)
    return read, Classifier(read, variant, engine, operating_point, threshold=threshold)


@contextmanager
def local_copy(slide: Slide) -> Iterator[str]:
    """The source as a path of this machine; a URL is fetched first and removed afterwards."""
    if not slide.remote:
        yield slide.source
        return
    folder = Path(tempfile.mkdtemp(prefix="edge-malaria-"))
    try:
        _fetch(slide.source, folder)
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fetch(url: str, folder: Path) -> None:
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra("fsspec, for URLs,", "cluster") from error
    try:
        system, path = fsspec.core.url_to_fs(url)
        if any(mark in path for mark in "*?["):
            # Two folders may hold files of one name: what lies behind the fixed part is kept.
            base = re.split(r"[*?\[]", path, maxsplit=1)[0].rpartition("/")[0] + "/"
            wanted = {name: name.removeprefix(base) for name in system.glob(path)}
        elif system.isdir(path):
            base = path.rstrip("/") + "/"
            wanted = {name: name.removeprefix(base) for name in system.find(path)}
        else:
            wanted = {path: Path(path).name}
        for name, target in wanted.items():
            # A store's keys are any text.
            if ".." in Path(target).parts or Path(target).is_absolute():
                raise DataError(f"{name} would be written outside its folder")
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            system.get_file(name, str(folder / target))
    except Exception as error:  # each file system has errors of its own
        raise DataError(f"{url} cannot be fetched: {error}") from error
    if not any(folder.iterdir()):
        raise DataError(f"{url} holds no file.")
