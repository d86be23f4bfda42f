"""``edge-malaria review DIR``"""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_malaria.cli.options import JsonOption, new_output

if TYPE_CHECKING:
    from edge_malaria.records import SlideReport
    from edge_malaria.runtime.review.session import ReviewSession


def register(app: typer.Typer) -> None:
    """Adds ``review``."""
    app.command("review")(review)


def review(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Report directory of screen.")],
    export: Annotated[
        Path | None, typer.Option("--export", help="Write the flagged cells to this CSV and end.")
    ] = None,
    take: Annotated[
        Path | None, typer.Option("--import", help="Take up the decisions of this CSV and end.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an earlier table: what was filled in is lost.")
    ] = False,
    reader: Annotated[str, typer.Option("--reader", help="Who looks. [the login name]")] = "",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: a free one.")] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the page's address.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at the flagged cells of a slide, one key a cell; the report is written anew.

    For research use only. Not for use in diagnostic procedures.
    """
    from edge_malaria.cli.output import log, print_json
    from edge_malaria.cli.screen import print_report
    from edge_malaria.runtime.review.session import ReviewSession
    from edge_malaria.runtime.review.table import export_table, import_table

    new_output(export, force)
    session = ReviewSession(directory)
    try:
        if take is not None or export is None:
            session.journal.expect_unsigned()
        if take is not None:
            log(f"{import_table(session, take, reader)} decisions taken up from {take}")
        if export is not None:
            export_table(session, export)
            log(f"{len(session.cells)} flagged cells in {export}")
        if take is None and export is None:
            _serve(session, reader or _login(), port, no_browser)
        elif take is None and session.up_to_date():
            return
        report: SlideReport = session.write_report()
    finally:
        session.close()
    if as_json:
        print_json(report.as_json())
    else:
        print_report(report, directory / "report.html")


def _serve(session: ReviewSession, reader: str, port: int, no_browser: bool) -> None:
    """Serves the page until the reader finishes or Ctrl-C; the report is written after either."""
    import webbrowser

    from edge_malaria.cli.output import log
    from edge_malaria.cli.screen import end_like_ctrl_c
    from edge_malaria.runtime.review.server import ReviewServer

    server = ReviewServer(session, reader, port)
    end_like_ctrl_c()
    try:
        server.start()
        log(f"{len(session.cells)} flagged cells: {server.url}   (Ctrl-C ends the review)")
        if not no_browser:
            webbrowser.open(server.url)
        while not server.done.wait(0.2):
            pass
    except KeyboardInterrupt:
        log("ended: every decision is saved")
    finally:
        server.stop()


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
