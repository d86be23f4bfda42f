"""Tables of docs/PARITY.md: engines and processors against each other on all test cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.documents.markdown import evidence, figure, table


def drawn_int8() -> Mapping[str, Any]:
    """LiteRT's int8 file against Keras on the drawn cells."""
    pairs = (evidence("parity") or {})["report"]["pairs"]
    wanted = ("keras", "litert.int8", "drawn")
    return next(p for p in pairs if (p["reference"], p["candidate"], p["evidence"]) == wanted)


def engines() -> str:
    """What differs between engines, processors and precisions, in cells."""
    drawn = drawn_int8()
    test, arm = figure("model", "pairs.cells", ",d"), "arm_cortex_a72"
    differing = figure("model", "pairs.int8_litert_vs_onnx_differing", "d")
    inputs = figure("parity", f"{arm}.cells_with_other_inputs", "d")
    rows = (
        (
            "int8 on LiteRT against Keras: calls that turn",
            f"{drawn['n']:,} drawn cells, half of them near the threshold",
            f"{drawn['flips']}",
        ),
        ("int8 on LiteRT against ONNX Runtime: outputs", f"{test} test cells", differing),
        ("prepared inputs, Cortex-A72 (qemu) against x86-64", f"{test} test cells", inputs),
        (
            "int8 on LiteRT, Cortex-A72 (qemu) against x86-64: outputs",
            f"{test} test cells",
            figure("parity", f"{arm}.litert.int8.differing_cells", "d"),
        ),
        (
            "the same of the second network",
            f"{figure('parity', f'{arm}.second/litert.int8.cells', ',d')} test cells",
            figure("parity", f"{arm}.second/litert.int8.differing_cells", "d"),
        ),
    )
    return table(("compared", "on", "differ"), rows)


TABLES: dict[str, Callable[[], str]] = {"parity-engines": engines}
