"""TAWT in straight lines: plain torch, float64, one process."""

import math

import torch

from reference.straight_line import (
    clip,
    joint_counts,
    loss_of,
    schedule_factor,
    seeded_permutation,
    take,
    task_gradient,
)


def straight_tawt(
    model, train, target, *, epochs, learning_rate, per_step_rows, data_seed, eta=1.0, batch_size=64,
    max_grad_norm=0.0, start=(),
):  # fmt: skip
    """θ, weights T·w and cosines of every epoch; w scales each loss's clipped gradient."""
    tasks = list(train)
    K = {t: math.ceil(len(train[t]) / per_step_rows) for t in tasks}
    N = sum(K.values())
    theta = {n: p.detach().clone() for n, p in model.named_parameters()}
    w = dict.fromkeys(tasks, 1.0) | dict(start)
    w = {t: w[t] / sum(w.values()) for t in tasks}
    records = []
    for e in range(epochs):
        perm = {t: seeded_permutation(len(train[t]), data_seed, e, t, "rows") for t in tasks}
        counts = joint_counts(N, K)
        laid_out = [t for t in sorted(tasks) for _ in range(counts[t])]
        order = [laid_out[i] for i in seeded_permutation(N, data_seed, e, "joint")]
        taken = dict.fromkeys(tasks, 0)
        for i, t in enumerate(order):
            rows = [perm[t][j % len(perm[t])] for j in range(taken[t] * per_step_rows, (taken[t] + 1) * per_step_rows)]
            taken[t] += 1
            grads = task_gradient(model, theta, t, take(train[t], rows))
            grads = clip(grads, max_grad_norm) if max_grad_norm > 0 else grads
            lr = learning_rate * schedule_factor(N * e + i, epochs * N, "linear", 0) * len(tasks) * w[t]
            theta = {n: p if grads[n] is None else p - lr * grads[n] for n, p in theta.items()}
        if e + 1 == epochs:  # no epoch is left to use other weights
            records.append({"theta": theta, "weights": records[-1]["weights"], "cosines": None})
            break
        vectors = {}
        for t in tasks:
            rows = seeded_permutation(len(train[t]), data_seed, e, t, "tawt")[:batch_size]
            leaves = {n: p.clone().requires_grad_() for n, p in theta.items()}
            encoder = [p for n, p in leaves.items() if n.startswith("encoder.")]
            grads = torch.autograd.grad(loss_of(model, leaves, t, take(train[t], rows)), encoder)
            vectors[t] = torch.cat([g.flatten() for g in grads])
        cosines = {t: float(torch.cosine_similarity(vectors[target], vectors[t], dim=0)) for t in tasks}
        raised = {t: w[t] * math.exp(eta * cosines[t]) for t in tasks}
        w = {t: r / sum(raised.values()) for t, r in raised.items()}
        records.append({"theta": theta, "weights": {t: len(tasks) * w[t] for t in tasks}, "cosines": cosines})
    return records
