"""The error tree. Every error carries the exit code that the command line maps it to.

    EdgeMalariaError
    ├── GateFailed                1   a gate measured the thing and it did not pass
    ├── UsageError                2   the call or the configuration is off
    │   ├── OutputExists              refuse to overwrite without --force
    │   ├── ConfigError               a configuration file or value
    │   └── ModelShapeError           a model with another input or output than the contract's
    ├── EnvironmentProblem        3   this machine lacks something
    │   ├── MissingExtra              a Python extra; the message names the pip command
    │   └── HardwareError             camera, storage device
    ├── BundleError               4   the bundle cannot be trusted
    │   ├── BundleIntegrityError      a file differs from its recorded hash, or is missing
    │   └── BundleSchemaError         written by a newer version, or not a bundle
    └── DataError                 5   what was read or written
        ├── ImageError                unreadable, empty, too large
        ├── DatasetError              folders, labels, patients
        ├── ModelFileError            corrupt or unsafe .keras file
        └── StorageError              disk full, not writable

A message is one or two lines: what, got and expected, which file, what to do.
"""

from __future__ import annotations

from edge_malaria.extras import pip_command

# A dozen failures of the gate fit; a cell of a table with a million digits does not.
MAX_MESSAGE = 6000


class EdgeMalariaError(Exception):
    """Base of every error that the package raises on purpose."""

    exit_code = 1

    def __str__(self) -> str:
        """The message; what a damaged file put into it is cut."""
        text = super().__str__()
        if len(text) <= MAX_MESSAGE:
            return text
        half = MAX_MESSAGE // 2
        return f"{text[:half]} … {text[-half:]}"


class GateFailed(EdgeMalariaError):
    """A gate measured and refused."""

    exit_code = 1


class UsageError(EdgeMalariaError):
    """The call cannot be carried out as it was made."""

    exit_code = 2


class OutputExists(UsageError):
    """The output is there already and ``--force`` was not given."""


class ConfigError(UsageError):
    """A configuration file or value is not valid."""


class ModelShapeError(UsageError):
    """A model's input or output is not the contract's."""


class EnvironmentProblem(EdgeMalariaError):
    """This machine lacks something that the call needs."""

    exit_code = 3


class MissingExtra(EnvironmentProblem):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} is not installed. Install it with: {pip_command(extra)}\n"
            f"(once edge-malaria is on an index, the same as: pip install 'edge-malaria[{extra}]')"
        )
        self.extra = extra


class HardwareError(EnvironmentProblem):
    """A camera or another device does not answer."""


class BundleError(EdgeMalariaError):
    """A bundle cannot be trusted."""

    exit_code = 4


class BundleIntegrityError(BundleError):
    """A bundle's file differs from its record."""


class BundleSchemaError(BundleError):
    """Not a bundle, or one that a newer version wrote."""


class DataError(EdgeMalariaError):
    """Something read or written is not what it should be."""

    exit_code = 5


class ImageError(DataError):
    """An image cannot be read, is empty or is too large."""


class DatasetError(DataError):
    """A data set's folders, labels or patients are not usable."""


class ModelFileError(DataError):
    """A .keras file is corrupt or unsafe."""


class StorageError(DataError):
    """Writing failed: disk full or not writable."""
