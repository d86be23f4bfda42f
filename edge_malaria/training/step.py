"""One compiled training step, on TensorFlow (the workstation) or JAX (a machine with a GPU).

Both compute the same thing: bootstrapped targets, label smoothing, AdamW, and the moving average
of all variables. The backend is Keras's own choice (``KERAS_BACKEND``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge_malaria.keras_layers import keras
from edge_malaria.training.recipe import Recipe

Step = Callable[[Any, Any, Any, Any], Any]


def compiled_step(model: Any, average: Any, optimizer: Any, recipe: Recipe) -> Step:
    """A function (cells [B, S, S, 3], targets [B, 1], bootstrap share, average's keep) -> loss.

    It updates ``model``, ``optimizer`` and ``average`` in place.
    """
    if keras.backend.backend() == "jax":
        return _jax_step(model, average, optimizer, recipe)
    return _tensorflow_step(model, average, optimizer, recipe)


def _tensorflow_step(model: Any, average: Any, optimizer: Any, recipe: Recipe) -> Step:
    import tensorflow as tf

    variables = model.trainable_variables
    pairs = list(zip(average.variables, model.variables, strict=True))
    smoothing = recipe.label_smoothing

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(cells: Any, targets: Any, bootstrap: Any, keep: Any) -> Any:
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


def _jax_step(model: Any, average: Any, optimizer: Any, recipe: Recipe) -> Step:
    import jax
    import jax.numpy as jnp

    smoothing = recipe.label_smoothing
    groups = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    slow_groups = (average.trainable_variables, average.non_trainable_variables)

    @jax.jit
    def pure(state: Any, slow: Any, cells: Any, targets: Any, bootstrap: Any, keep: Any) -> Any:
        trainable, fixed, moments = state
        if recipe.bootstrap > 0:
            opinion = jax.nn.sigmoid(average.stateless_call(*slow, cells, training=False)[0])
            targets = (1.0 - bootstrap) * targets + bootstrap * jax.lax.stop_gradient(opinion)
        targets = targets * (1.0 - smoothing) + 0.5 * smoothing

        def mean_loss(weights: Any) -> Any:
            logits, after = model.stateless_call(weights, fixed, cells, training=True)
            terms = jnp.maximum(logits, 0.0) - logits * targets
            return jnp.mean(terms + jnp.log1p(jnp.exp(-jnp.abs(logits)))), after

        (loss, fixed), gradient = jax.value_and_grad(mean_loss, has_aux=True)(trainable)
        trainable, moments = optimizer.stateless_apply(moments, gradient, trainable)
        slow = jax.tree.map(
            lambda old, new: keep * old + (1.0 - keep) * new, slow, (trainable, fixed)
        )
        return loss, (trainable, fixed, moments), slow

    def step(cells: Any, targets: Any, bootstrap: Any, keep: Any) -> Any:
        state = tuple([v.value for v in group] for group in groups)
        slow = tuple([v.value for v in group] for group in slow_groups)
        loss, state, slow = pure(state, slow, cells, targets, bootstrap, keep)
        for variables, values in zip((*groups, *slow_groups), (*state, *slow), strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        return loss

    return step
