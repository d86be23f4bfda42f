"""One target under atheris: libFuzzer chooses the cases by the code that they reach."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path


def main(name: str, seconds: int) -> None:
    """Runs for so many seconds; a finding ends the process with its text on stderr."""
    import atheris

    with atheris.instrument_imports(include=["edge_malaria"]):
        from benchmarks.fuzz.outcomes import outcome
        from benchmarks.fuzz.targets import targets
    target = targets()[name]

    def one(data: bytes) -> None:
        said = outcome(target, data)
        if said not in ("read", "refused"):
            print(f"FINDING {name}: {said}", file=sys.stderr, flush=True)
            raise RuntimeError(said)

    with tempfile.TemporaryDirectory() as corpus:
        for index, seed in enumerate(target.seeds):
            (Path(corpus) / f"seed{index}").write_bytes(seed)
        flags = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=4096", "-seed=1"]
        atheris.Setup([sys.argv[0], *flags, f"-artifact_prefix={corpus}/", corpus], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
