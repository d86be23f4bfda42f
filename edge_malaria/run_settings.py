"""A directory of a run that goes on belongs to one set of settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_malaria.errors import ConfigError, DataError


def refuse_other_settings(
    path: Path, now: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> None:
    """Refuses to go on in a run's directory with other settings than it was started with.

    Args:
        path: of the JSON file in that directory; where it is missing, nothing was started.
        now: today's settings.
        defaults: of settings that a file of an older version lacks.

    Raises:
        ConfigError: naming what differs.
        DataError: what was kept of them is damaged.
    """
    if not path.is_file():
        return
    try:
        before = {**(defaults or {}), **json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}. Choose another -o.") from error
    wanted = json.loads(json.dumps(dict(now)))
    changed = sorted(name for name in wanted if before.get(name) != wanted[name])
    if changed:
        raise ConfigError(
            f"{path.parent} was started with another {', '.join(changed)}: repeat the same options "
            "or choose another -o."
        )
