"""The ``edge-malaria`` command: one typer app, one place that maps errors to exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any

import typer

from edge_malaria import __version__
from edge_malaria.cli.help import HelpGroup, dress
from edge_malaria.cli.streams import steady_streams
from edge_malaria.cli.words import check_words
from edge_malaria.errors import EdgeMalariaError
from edge_malaria.notice import RESEARCH_USE

# Two lines of a wide terminal each; a path may have 4,096 letters, a damaged table's cell more.
_LONGEST_LINE, _MOST_LINES = 1000, 20

# Each module defines ``register(app)`` and imports nothing heavy at module level.
COMMAND_MODULES = (
    "export",
    "parity",
    "classify",
    "evaluate",
    "screen",
    "review",
    "site",
    "batch",
    "report",
    "train",
    "crossval",
    "baseline",
    "pretrain",
    "ensemble",
    "prune",
    "profile",
    "benchmark",
    "explain",
    "data",
    "bundle",
    "serve",
    "camera",
    "backup",
    "doctor",
    "support_bundle",
    "firmware",
)

app = typer.Typer(
    name="edge-malaria",
    cls=HelpGroup,
    help="Train, quantize, prove and run small malaria classifiers at the edge. " + RESEARCH_USE,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edge-malaria {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    pass


@cache
def _register_all() -> None:
    _register(COMMAND_MODULES)


def _register(names: Sequence[str]) -> None:
    for name in names:
        module: Any = importlib.import_module(f"edge_malaria.cli.{name}")
        module.register(app)
    dress(app)
    _command.cache_clear()


@cache
def _command() -> Any:
    """What is registered, built once: it takes longer than many a command line of a process."""
    return typer.main.get_command(app)


def _modules_for(words: Sequence[str]) -> Sequence[str]:
    """The modules that a command line needs: its command's alone, or all where it names none.

    Building all commands takes a small device longer than many a command runs. Every module has
    a command of its own name; help, other commands and misspelt ones need all.
    """
    first = next((word for word in words if word != "--debug"), "")
    if first == "--version":
        return ()
    named = [name for name in COMMAND_MODULES if first == name.replace("_", "-")]
    return named or COMMAND_MODULES


def run(action: Callable[[], Any], *, debug: bool) -> int:
    """Runs ``action`` and returns the exit code; errors become one or two lines on stderr."""
    try:
        code = action()
        return int(code) if isinstance(code, int) else 0
    except EdgeMalariaError as error:
        if debug:
            raise
        print(f"error: {_shown(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) went away: not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ImportError as error:
        if debug:
            raise
        reason = (str(error).strip().splitlines() or ["?"])[-1]
        print(
            f"error: a package cannot be imported: {reason}. Run: edge-malaria doctor",
            file=sys.stderr,
        )
        return 3
    except OSError as error:
        if debug:
            raise
        where = f": {error.filename}" if error.filename else ""
        print(f"error: {_shown(f'{error.strerror or error}{where}')}", file=sys.stderr)
        return 5
    except MemoryError:
        if debug:
            raise
        print("error: not enough memory. Close other programs, or use smaller pictures.",
              file=sys.stderr)  # fmt: skip
        return 3
    except Exception as error:
        if debug:
            raise
        reason = (str(error).strip().splitlines() or ["?"])[0]
        print(
            f"error: {type(error).__name__}: {_shown(reason)}. This should not happen: run it "
            "again with --debug, and report what it says.",
            file=sys.stderr,
        )
        return 3


def _shown(message: str) -> str:
    """A message in a readable length, whatever a file's name holds: no terminal obeys it.

    Each line by itself: those that can be typed stay whole beside each other.
    """
    words = "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in message
    )
    lines = words.split("\n")
    left_out = ["..."] if len(lines) > _MOST_LINES else []
    return "\n".join([*map(_line_shown, lines[:_MOST_LINES]), *left_out])


def _line_shown(line: str) -> str:
    if len(line) <= _LONGEST_LINE:
        return line
    half = _LONGEST_LINE // 2
    return f"{line[:half]} ... {line[-half:]}"


def execute(arguments: Sequence[str]) -> int:
    """Runs ``edge-malaria ARGUMENTS`` in this process and returns its exit code.

    Args:
        arguments: words after the command's name.
    """
    _register_all()
    return _run_words(arguments)


def _run_words(arguments: Sequence[str]) -> int:
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]

    def action() -> Any:
        check_words(arguments)
        try:
            return _command()(arguments, standalone_mode=False)
        except typer.Abort:
            return 130
        except Exception as error:
            # click's own usage errors know how to show themselves; they exit with 2.
            if hasattr(error, "exit_code") and hasattr(error, "show"):
                error.show()
                return int(error.exit_code)
            raise

    return run(action, debug=debug)


def main() -> None:
    """Entry point of the console script."""
    steady_streams()
    # OpenCV and FFmpeg tell of damaged pictures on stderr; so do we, in one line each.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    words = sys.argv[1:]
    _register(_modules_for(words))
    sys.exit(_run_words(words))


if __name__ == "__main__":
    main()
