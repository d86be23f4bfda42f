"""``edge-malaria serve`` and ``edge-malaria users``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_malaria.cli.options import (
    BundleOption,
    ConfigOption,
    EngineOption,
    ThreadsOption,
    Variant,
    VariantOption,
    engine_for,
    open_named,
)

if TYPE_CHECKING:
    from edge_malaria.runtime.push.targets import PushSettings
    from edge_malaria.runtime.serve.users import Users

DataOption = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="The device's data folder.")
]
_DATA = Path("edge-malaria-data")


def register(app: typer.Typer) -> None:
    """Adds ``serve`` and ``users``."""
    app.command("serve")(serve)
    users = typer.Typer(no_args_is_help=True, help="Who may use the pages of serve.")
    users.command("add")(add)
    users.command("list")(show)
    users.command("change")(change)
    app.add_typer(users, name="users")


def serve(
    data: DataOption = _DATA,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            help="camera:0, picamera, a folder or sim:...; may be given again. Pictures from a "
            "phone are always possible.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Another address than this machine's needs users.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: a free one.")] = 8765,
    certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", help="PEM; with --tls-key.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--tls-key", help="PEM, not encrypted.")] = None,
    own_tls: Annotated[
        bool, typer.Option("--tls-own", help="Encrypt with a certificate that the device makes.")
    ] = False,
    push: Annotated[
        Path | None,
        typer.Option("--push", help="TOML: where signed results are sent by themselves."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check --config and --push, and start nothing.")
    ] = False,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Log one JSON object a line, for programs.")
    ] = False,
    config: ConfigOption = None,
    bundle: BundleOption = None,
    variant: VariantOption = Variant.int8,
    engine: EngineOption = None,
    threads: ThreadsOption = 1,
) -> None:
    """Serve the pages of this device: worklist, live view, review, signature, documents.

    For research use only. Not for use in diagnostic procedures.
    """
    import logging
    from contextlib import suppress

    from edge_malaria.cli.screen import end_like_ctrl_c
    from edge_malaria.runtime.screen.config import load_config

    _needs_serve()
    from edge_malaria.runtime.serve.logs import set_up

    set_up(as_json=log_json)
    told = logging.getLogger("edge_malaria.serve")
    screening, sending = load_config(config), _push_settings(push)
    if check:
        told.info("the settings are sound; nothing was started")
        return
    from edge_malaria.bundle.selftest import run_selftest
    from edge_malaria.errors import GateFailed, UsageError
    from edge_malaria.runtime.serve.app import Server, listening
    from edge_malaria.runtime.serve.certificate import fingerprint, own_certificate
    from edge_malaria.runtime.serve.clinic import Clinic
    from edge_malaria.runtime.serve.settings import ServeSettings

    read = open_named(bundle)
    tested = run_selftest(read)
    if not tested.passed:
        why = "; ".join(tested.failures) or "nothing could be run"
        raise GateFailed(f"{read.path} does not compute here what it was exported with: {why}.")
    if own_tls:
        if certificate is not None or key is not None:
            raise UsageError("--tls-own makes a certificate: give no other beside it.")
        certificate, key = own_certificate(data, host)
        told.info("the certificate's SHA-256 fingerprint: %s", fingerprint(certificate))
    settings = ServeSettings(
        data,
        host,
        port,
        tuple(source or ()),
        screening,
        variant.value,
        engine_for(read, variant, engine),
        threads,
        certificate,
        key,
        push=sending,
    )
    clinic = Clinic(settings, read)
    for note in clinic.desk.notes:
        told.warning("a slide's journal could not be read: %s", note)
    if not settings.local and not settings.secure:
        told.warning("passwords travel unencrypted without --tls-own or --tls-certificate.")
    try:
        place = listening(host, port)
    except BaseException:
        clinic.close()
        raise
    end_like_ctrl_c()
    # The server ends in order, with the slide paused, and then passes the signal on.
    with place, suppress(KeyboardInterrupt):
        Server(clinic).run(sockets=[place])
    told.info("ended: every decision is saved")


def _needs_serve() -> None:
    """Refuses with the pip command where the extra is not installed.

    Raises:
        MissingExtra: see above.
    """
    from importlib.util import find_spec

    from edge_malaria.errors import MissingExtra

    needed = (
        "starlette", "uvicorn", "jinja2", "python_multipart", "argon2", "fpdf",
        "prometheus_client",
    )  # fmt: skip
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise MissingExtra(f"serve needs {', '.join(missing)}", "serve")


def _push_settings(path: Path | None) -> PushSettings | None:
    """What ``--push`` names, where the packages that send are there.

    Raises:
        MissingExtra, ConfigError: see above.
    """
    from importlib.util import find_spec

    from edge_malaria.errors import MissingExtra
    from edge_malaria.runtime.push.config import load_push

    if path is None:
        return None
    settings = load_push(path)
    packages = {"fhir": "httpx2", "dhis2": "httpx2", "mqtt": "paho"}
    missing = sorted({packages[target.kind] for target in settings.targets
                      if find_spec(packages[target.kind]) is None})  # fmt: skip
    if missing:
        raise MissingExtra(f"--push needs {', '.join(missing)}", "push")
    return settings


def _users(data: Path) -> Users:
    _needs_serve()
    from edge_malaria.runtime.serve.store import Store
    from edge_malaria.runtime.serve.users import Users

    return Users(Store(data))


def _password() -> str:
    """A password from the terminal, or from a line of standard input where there is none."""
    import sys
    from getpass import getpass

    if sys.stdin.isatty():
        password = getpass("Password: ")
        if getpass("Once more: ") != password:
            raise typer.BadParameter("the two passwords differ.")
        return password
    return sys.stdin.readline().rstrip("\n")


RoleOption = Annotated[str, typer.Option("--role", help="reader, supervisor or admin.")]


def add(
    name: Annotated[str, typer.Argument(help="As it stands under decisions and signatures.")],
    role: RoleOption = "reader",
    data: DataOption = _DATA,
) -> None:
    """Add a user; the password is asked for, or read from standard input."""
    from edge_malaria.cli.output import log

    added = _users(data).add(name, role, _password())
    log(f"{added.name} may now sign in as {added.role}")


def show(data: DataOption = _DATA) -> None:
    """List the users."""
    from edge_malaria.cli.output import print_table

    rows = [
        (user.name, user.role, user.created, "shut out" if user.disabled else "")
        for user in _users(data).all()
    ]
    print_table("", ("name", "role", "since", ""), rows)


def change(
    name: Annotated[str, typer.Argument(help="Of the user.")],
    role: Annotated[str | None, typer.Option("--role", help="Another role.")] = None,
    password: Annotated[bool, typer.Option("--password", help="Ask for another one.")] = False,
    disable: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Shut out, or let in again.")
    ] = None,
    data: DataOption = _DATA,
) -> None:
    """Change a user's role or password, or shut a user out; open sessions end."""
    from edge_malaria.cli.output import log

    new = _password() if password else None
    _users(data).change(name, role=role, password=new, disabled=disable)
    log(f"{name} changed")
