"""An int8 graph as kernel calls with every buffer placed: what the C file is written from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from converters.firmware import layers, pointwise
from converters.firmware.plan import Lifetime, Plan, plan_arena
from converters.firmware.steps import Refused, Step, label
from converters.tflite_graph import Graph, Operator, Tensor

LOWERINGS: Mapping[str, Callable[[Graph, Operator], Step]] = {
    "CONV_2D": layers.convolution,
    "DEPTHWISE_CONV_2D": layers.depthwise,
    "FULLY_CONNECTED": layers.fully_connected,
    "AVERAGE_POOL_2D": layers.pool,
    "MAX_POOL_2D": layers.pool,
    "ADD": pointwise.add,
    "MEAN": pointwise.mean,
    "RESHAPE": pointwise.reshape,
    "SQUEEZE": pointwise.reshape,
    "EXPAND_DIMS": pointwise.reshape,
    "LOGISTIC": pointwise.logistic,
    "SOFTMAX": pointwise.softmax,
    "QUANTIZE": pointwise.requantize,
    "MUL": pointwise.scale_by,
}


# How Flatten looks for an open batch: arithmetic on shapes, known here since the batch is 1.
_SHAPE_ARITHMETIC = ("SHAPE", "STRIDED_SLICE", "PACK")


@dataclass(frozen=True)
class Network:
    """A lowered network.

    Attributes:
        steps: in order; those with ``alias`` compute nothing.
        homes: activation tensor -> name of its buffer.
        plan: where the buffers lie; scratch of step i is the buffer ``scratch<i>``.
        input, output: the graph's tensors.
    """

    steps: tuple[Step, ...]
    homes: Mapping[int, str]
    plan: Plan
    input: Tensor
    output: Tensor

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(step.macs for step in self.steps)

    def offset(self, tensor: int) -> int:
        """The byte offset of an activation in the arena."""
        return self.plan.offsets[self.homes[tensor]]


def _refuse_float(graph: Graph, operators: Sequence[Operator], name: str) -> None:
    """Refuses ``int8-mixed`` and float files by name, with the operator that gives them away."""
    kinds = set()
    first = None
    for operator in operators:
        for index in (*operator.inputs[:1], *operator.outputs):
            if index < 0:
                continue
            dtype = graph.tensors[index].dtype
            kinds.add(dtype)
            if dtype != "int8" and first is None:
                first = f"{label(operator)} has a {dtype} tensor {graph.tensors[index].name!r}"
    if first is None:
        return
    kind = "int8-mixed" if "int8" in kinds else "not an int8 network"
    raise Refused(
        f"{name} is {kind}: {first}. The C file is integer only: export with --int8 from a model "
        "whose operators all have int8 kernels."
    )


def lower(graph: Graph, name: str = "model") -> Network:
    """Lowers a graph and places its buffers.

    Raises:
        Refused: an operator, dtype or shape that the kernels do not have.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise Refused(f"{name} has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs, "
                      "expected 1 and 1.")  # fmt: skip
    operators = [operator for operator in graph.operators if not _only_shapes(graph, operator)]
    _refuse_operators(operators, name)
    _refuse_float(graph, operators, name)
    steps = []
    for operator in operators:
        for index in (*operator.inputs[:1], *operator.outputs):
            if index >= 0 and not len(graph.tensors[index].scales):
                raise Refused(f"{label(operator)}: tensor {index} has no scale.")
        steps.append(LOWERINGS[operator.name](graph, operator))
    return _placed(graph, tuple(steps))


def _only_shapes(graph: Graph, operator: Operator) -> bool:
    kinds = {graph.tensors[index].dtype for index in operator.outputs if index >= 0}
    return operator.name in _SHAPE_ARITHMETIC and kinds == {"int32"}


def _refuse_operators(operators: Sequence[Operator], name: str) -> None:
    unknown = [label(operator) for operator in operators if operator.name not in LOWERINGS]
    if unknown:
        raise Refused(
            f"{name} needs {', '.join(unknown[:4])}: not supported. Supported: "
            f"{', '.join(LOWERINGS)}."
        )


def _placed(graph: Graph, steps: tuple[Step, ...]) -> Network:
    source, result = graph.inputs[0], graph.outputs[0]
    last = {source: 0}
    for number, step in enumerate(steps):
        for tensor in step.inputs:
            last[tensor] = number
        last.setdefault(step.output, number)
    last[result] = len(steps)
    homes, spans = {source: f"t{source}"}, {f"t{source}": [-1, last[source]]}
    sizes = {f"t{source}": graph.tensors[source].elements}
    for number, step in enumerate(steps):
        home = _shared_home(graph, step, number, homes, spans)
        if home is None:
            home = f"t{step.output}"
            spans[home] = [number, number]
            sizes[home] = graph.tensors[step.output].elements
        homes[step.output] = home
        spans[home][1] = max(spans[home][1], last[step.output])
        if step.scratch_bytes:
            spans[f"scratch{number}"] = [number, number]
            sizes[f"scratch{number}"] = step.scratch_bytes
    plan = plan_arena([Lifetime(home, sizes[home], *span) for home, span in spans.items()])
    return Network(steps, homes, plan, graph.tensors[source], graph.tensors[result])


def _shared_home(
    graph: Graph, step: Step, number: int, homes: Mapping[int, str], spans: Mapping[str, list[int]]
) -> str | None:
    """The input's buffer, where the output may lie on it; None where it needs its own."""
    if not (step.alias or step.in_place):
        return None
    for tensor in step.inputs:
        free = spans[homes[tensor]][1] <= number
        if (step.alias or free) and (
            graph.tensors[tensor].elements == graph.tensors[step.output].elements
        ):
            return homes[tensor]
    return None
