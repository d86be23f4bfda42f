"""Files that are code, PyTorch's among them: never opened; what to write instead is said."""

from __future__ import annotations

from pathlib import Path

TORCH = (".pt", ".pth", ".ckpt")
PICKLES = (".pkl", ".pickle", ".joblib", ".sav")


def instead(path: Path, input_size: int | None) -> str:
    """What to do with such a file.

    Args:
        path: of ``TORCH`` or ``PICKLES``.
        input_size: side of the network's input, px, where it was said.
    """
    if path.suffix.lower() in PICKLES:
        return (
            f"{path} is a pickle, which is code: it is not opened. Where it was made, write "
            f'Keras networks with model.save("{path.stem}.keras"), PyTorch ones with '
            "torch.onnx.export; then export that file."
        )
    side = input_size or 64
    return (
        f"{path} is PyTorch's, which is code and weights: write it as ONNX where it was trained, "
        "then export that file:\n  torch.onnx.export(model.eval(), torch.zeros(1, 3, "
        f'{side}, {side}), "{path.stem}.onnx", opset_version=17, dynamo=False)'
    )
