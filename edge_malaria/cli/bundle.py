"""``edge-malaria bundle install|list|activate|rollback|new-key|sign``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_malaria.cli.options import JsonOption
from edge_malaria.cli.output import log, print_json, print_table

if TYPE_CHECKING:
    from edge_malaria.bundle.install import BundleStore, Installed

StoreOption = Annotated[
    Path | None,
    typer.Option("--store", help="Default: EDGE_MALARIA_HOME, else the user's data folder."),
]
SignatureOption = Annotated[
    bool,
    typer.Option(
        "--require-signature",
        envvar="EDGE_MALARIA_REQUIRE_SIGNATURE",
        help="Refuse a bundle that no key in STORE/trusted signed.",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the ``bundle`` group."""
    group = typer.Typer(
        help="Bundles on this device: install, activate, go back; sign them with an offline key.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for command in (install, activate, rollback, sign):
        group.command()(command)
    group.command("list")(list_bundles)
    group.command("new-key")(new_key)
    app.add_typer(group, name="bundle")


def install(
    bundle: Annotated[Path, typer.Argument(help="Directory or .zip.")],
    activate_it: Annotated[
        bool, typer.Option("--activate", help="Also make it the active one.")
    ] = False,
    store: StoreOption = None,
    require_signature: SignatureOption = False,
) -> None:
    """Copy a bundle into the store, verified; with --activate also use it from now on.

    Example: edge-malaria bundle install default-bundle --activate
    """
    kept = _store(store, require_signature)
    installed = kept.install(bundle)
    log(f"installed {installed.name} as {installed.id}")
    if activate_it:
        _say_active(kept.activate(installed.id))


def activate(
    which: Annotated[str, typer.Argument(help="Id, its beginning, or a model's name.")],
    store: StoreOption = None,
    require_signature: SignatureOption = False,
) -> None:
    """Use an installed bundle from now on, after its stored cells gave their outputs here."""
    _say_active(_store(store, require_signature).activate(which))


def rollback(store: StoreOption = None, require_signature: SignatureOption = False) -> None:
    """Use the bundle again that was active before."""
    _say_active(_store(store, require_signature).rollback())


def list_bundles(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List what is installed, and which bundle is active."""
    found = _store(store, False).all()
    if as_json:
        print_json({"bundles": [one.as_json() for one in found]})
        return
    rows = [
        (
            one.id,
            one.name,
            one.version,
            "signed" if one.signed else "",
            "active" if one.active else "before" if one.previous else "",
        )
        for one in found
    ]
    print_table("", ("id", "name", "version", "", ""), rows)


def sign(
    bundle: Annotated[Path, typer.Argument(help="Directory or .zip.")],
    key: Annotated[Path, typer.Option(help="Private key of `bundle new-key`.")],
) -> None:
    """Sign a bundle: writes BUNDLE.sig beside it. On the machine that keeps the key."""
    from edge_malaria.bundle.format import read_bundle
    from edge_malaria.bundle.install import index_bytes
    from edge_malaria.bundle.signing import sign as write_signature

    read_bundle(bundle)
    log(f"wrote {write_signature(bundle, index_bytes(bundle), key)}")


def new_key(
    output: Annotated[Path, typer.Option("-o", help="The private key; .pub is written beside it.")],
) -> None:
    """Make a key pair. Keep the private key offline; copy the .pub file to STORE/trusted."""
    from edge_malaria.bundle.signing import new_key as write_key

    public = write_key(output)
    log(f"wrote {output} (keep it offline) and {public} (copy it to STORE/trusted)")


def _store(root: Path | None, require_signature: bool) -> BundleStore:
    from edge_malaria.bundle.install import BundleStore, default_store

    return BundleStore(root or default_store(), require_signature=require_signature)


def _say_active(one: Installed) -> None:
    log(f"active: {one.name} {one.id}. A site profile made with another bundle no longer applies.")
