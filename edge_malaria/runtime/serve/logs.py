"""The server's log: a sentence a line, or JSON for programs that read logs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and an error's traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        # What a message is about, for programs: ``extra={"fields": {...}}``.
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class Sentences(logging.Formatter):
    """The message alone; one that warns says so."""

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        text = super().format(record)
        return f"warning: {text}" if record.levelno == logging.WARNING else text


def set_up(*, as_json: bool) -> None:
    """Lets everything of this process that logs write to standard error.

    systemd's journal keeps standard error; with ``as_json`` each of its messages is an object.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if as_json else Sentences("%(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
