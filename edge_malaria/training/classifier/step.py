"""One compiled training step: teachers, bootstrapped targets, smoothing, AdamW, moving average."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edge_malaria.training.classifier.recipe import Recipe

Step = Callable[[Any, Any, Any, Any], Any]


def compiled_step(
    model: Any, average: Any, optimizer: Any, recipe: Recipe, teachers: Sequence[Any] = ()
) -> Step:
    """A function (cells [B, S, S, 3], targets [B, 1], bootstrap share, average's keep) -> loss.

    It updates ``model``, ``optimizer`` and ``average`` in place. ``teachers`` take the same cells
    and are never changed.
    """
    import tensorflow as tf

    variables = model.trainable_variables
    pairs = list(zip(average.variables, model.variables, strict=True))
    smoothing = recipe.label_smoothing

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(cells: Any, targets: Any, bootstrap: Any, keep: Any) -> Any:
        if teachers:
            answers = tf.add_n([tf.sigmoid(teacher(cells, training=False)) for teacher in teachers])
            mean = answers / float(len(teachers))
            targets = (1.0 - recipe.teacher_share) * targets + recipe.teacher_share * mean
        if recipe.bootstrap > 0:
            opinion = tf.sigmoid(average(cells, training=False))
            targets = (1.0 - bootstrap) * targets + bootstrap * tf.stop_gradient(opinion)
        targets = targets * (1.0 - smoothing) + 0.5 * smoothing
        with tf.GradientTape() as tape:
            logits = model(cells, training=True)
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
            loss = tf.reduce_mean(losses)
        optimizer.apply(tape.gradient(loss, variables), variables)
        for slow, fast in pairs:
            slow.assign(keep * slow + (1.0 - keep) * fast)
        return loss

    return step  # type: ignore[no-any-return]
