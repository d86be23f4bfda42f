"""The classical methods by name: what they look at and the scikit-learn classifier behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import MissingExtra, UsageError

Looks = Literal["handcrafted", "words", "network"]
Floats = NDArray[np.float32]

try:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.kernel_approximation import AdditiveChi2Sampler
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, LinearSVC
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtra("scikit-learn", "train") from error

# Probabilities of 0 and 1 become finite log-odds.
CLIP = 1e-6


@dataclass(frozen=True)
class Method:
    """One classical method.

    Attributes:
        name: what ``--method`` takes.
        looks: which numbers it sees.
        make: seed -> an unfitted scikit-learn classifier.
        summary: one line.
        arch: of ``network``: the architecture whose penultimate layer is read.
    """

    name: str
    looks: Looks
    make: Callable[[int], Any]
    summary: str
    arch: str | None = None


def _scaled(classifier: Any) -> Any:
    return Pipeline([("scale", StandardScaler()), ("classify", classifier)])


def _svm(seed: int) -> Any:
    return _scaled(SVC(C=10.0, kernel="rbf", gamma="scale", cache_size=500, random_state=seed))


def _naive_bayes(seed: int) -> Any:
    del seed
    return _scaled(GaussianNB())


def _nearest(seed: int) -> Any:
    del seed
    return _scaled(KNeighborsClassifier(15, weights="distance"))


def _perceptron(seed: int) -> Any:
    network = MLPClassifier(
        (64, 32),
        alpha=1e-3,
        learning_rate_init=3e-3,
        early_stopping=True,
        n_iter_no_change=15,
        random_state=seed,
    )
    return _scaled(network)


def _boosting(seed: int) -> Any:
    trees = HistGradientBoostingClassifier(
        max_iter=200, l2_regularization=1.0, early_stopping=False, random_state=seed
    )
    return _scaled(trees)


def _words_svm(seed: int) -> Any:
    # Vedaldi, Zisserman, "Efficient additive kernels via explicit feature maps", PAMI 34(3), 2012:
    # a linear SVM on these is nearly one with the chi-squared kernel.
    linear = LinearSVC(C=1.0, dual=False, random_state=seed, max_iter=5000)
    steps = [("chi2", AdditiveChi2Sampler()), ("scale", StandardScaler()), ("classify", linear)]
    return Pipeline(steps)


def _linear_svm(seed: int) -> Any:
    return _scaled(LinearSVC(C=0.01, dual=False, random_state=seed, max_iter=5000))


_ALL = (
    Method("svm", "handcrafted", _svm, "colour, texture and shape; SVM with an RBF kernel"),
    Method("naive-bayes", "handcrafted", _naive_bayes, "the same features; Gaussian naive Bayes"),
    Method("knn", "handcrafted", _nearest, "the same features; 15 nearest neighbours"),
    Method("mlp", "handcrafted", _perceptron, "the same features; perceptron 64-32"),
    Method("boosting", "handcrafted", _boosting, "the same features; gradient-boosted trees"),
    Method("bag-of-features", "words", _words_svm, "dense SIFT words; SVM, chi-squared kernel"),
    Method("alexnet-svm", "network", _linear_svm, "AlexNet's last features; SVM", "alexnet"),
    Method("vgg16-svm", "network", _linear_svm, "VGG-16's last features; SVM", "vgg16"),
)
METHODS = {method.name: method for method in _ALL}


def method(name: str) -> Method:
    """The one called ``name``.

    Raises:
        UsageError: unknown.
    """
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}: expected one of {', '.join(METHODS)}.")
    return METHODS[name]


def scores(classifier: Any, features: Floats) -> Floats:
    """Scores that rise with the chance of a parasite: a margin or log-odds; float32 [N].

    Args:
        classifier: fitted on labels 0 and 1.
        features: float32 [N, F].
    """
    last = classifier.steps[-1][1]
    if hasattr(last, "predict_joint_log_proba"):
        # Naive Bayes' probabilities saturate; the likelihoods behind them run into thousands,
        # because its features are not independent. The area sine keeps their order.
        joint = last.predict_joint_log_proba(classifier[:-1].transform(features))
        return np.asarray(np.arcsinh(joint[:, 1] - joint[:, 0]), np.float32)
    if hasattr(last, "decision_function"):
        return np.asarray(classifier.decision_function(features), np.float32)
    chance = np.clip(classifier.predict_proba(features)[:, 1], CLIP, 1.0 - CLIP)
    return np.asarray(np.log(chance / (1.0 - chance)), np.float32)
