"""αVIL in straight lines: plain torch, float64, one process. Written from the rules alone, as the tests' reference."""

import math
import zlib
from fractions import Fraction

import torch
from torch.func import functional_call


def derive_seed(*parts):
    return zlib.crc32(":".join(str(p) for p in parts).encode("utf-8"))


def seeded_permutation(n, *parts):
    return torch.randperm(n, generator=torch.Generator().manual_seed(derive_seed(*parts))).tolist()


def take(dataset, rows):
    """The rows as one batch, {field: stacked tensor}."""
    items = [dataset[row] for row in rows]
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}


def loss_of(model, theta, task, batch):
    return functional_call(model, theta, (task,), dict(batch))["loss"]


def task_gradient(model, theta, task, batch):
    """{name: gradient or None}; None for what the task's loss does not reach."""
    leaves = {name: p.detach().clone().requires_grad_() for name, p in theta.items()}
    grads = torch.autograd.grad(loss_of(model, leaves, task, batch), list(leaves.values()), allow_unused=True)
    return dict(zip(leaves, grads, strict=True))


def clip(grads, max_norm):
    norm = math.sqrt(sum(float((g * g).sum()) for g in grads.values() if g is not None))
    factor = min(1.0, max_norm / (norm + 1e-6))
    return {name: None if g is None else g * factor for name, g in grads.items()}


def sgd_step(theta, grads, buffers, lr, momentum, weight_decay):
    """The new θ. `buffers` (name -> momentum) is changed in place. A parameter without a gradient stays as it is."""
    new = dict(theta)
    for name, g in grads.items():
        if g is None:
            continue
        d = g + weight_decay * theta[name]
        if momentum:
            buffers[name] = d if name not in buffers else momentum * buffers[name] + d
            d = buffers[name]
        new[name] = theta[name] - lr * d
    return new


def joint_counts(steps, masses):
    """Largest remainder of steps·mass/Σ mass, in exact arithmetic; ties go to the alphabetically first task."""
    masses = {task: Fraction(mass) for task, mass in masses.items()}
    quotas = {task: steps * mass / sum(masses.values()) for task, mass in masses.items()}
    counts = {task: math.floor(quota) for task, quota in quotas.items()}
    left = steps - sum(counts.values())
    for task in sorted(quotas, key=lambda task: (counts[task] - quotas[task], task))[:left]:
        counts[task] += 1
    return counts


def schedule_factor(x, total, lr_schedule, warmup_steps):
    if lr_schedule == "constant":
        return 1.0
    if x < warmup_steps:
        return x / max(1, warmup_steps)
    return max(0.0, (total - x) / max(1, total - warmup_steps))


def merge(theta0, delta, alpha, alpha_applies_to):
    """θ0 + Σ α_t δ_t; under "encoder" the coefficient is 1 outside `encoder.*`. Differentiable in α."""
    merged = {}
    for name, p in theta0.items():
        weighed = alpha_applies_to == "all" or name.startswith("encoder.")
        merged[name] = p + sum((alpha[t] if weighed else 1.0) * delta[t][name] for t in delta)
    return merged


def straight_line_avil(
    model,
    train,
    meta,
    target,
    *,
    epochs,
    learning_rate,
    per_step_rows,
    delta_fraction=1.0,
    max_phase_steps=None,
    joint_fraction=0.0,
    task_sampling="proportional",
    sampling_temperature=1.0,
    max_grad_norm=0.0,
    momentum=0.0,
    weight_decay=0.0,
    phase_optimizer_state="per_task",
    weight_applies_to="loss",
    min_task_weight,
    max_task_weight=None,
    normalize_task_weights,
    alpha_steps,
    alpha_learning_rate,
    alpha_optimizer="sgd",
    alpha_init=1.0,
    alpha_batch_size,
    alpha_applies_to="all",
    lr_schedule="constant",
    warmup_steps=0,
    data_seed,
):
    """Run αVIL and return one record per epoch. The model itself is not changed: read the last record's "theta"."""
    for value, allowed in [
        (task_sampling, ("proportional", "uniform", "temperature", "weights")),
        (phase_optimizer_state, ("per_task", "reset")),
        (weight_applies_to, ("loss", "learning_rate")),
        (alpha_optimizer, ("sgd", "adam")),
        (alpha_applies_to, ("all", "encoder")),
        (lr_schedule, ("constant", "linear")),
    ]:
        if value not in allowed:
            raise ValueError(f"{value!r} is none of {allowed}")

    tasks = list(train)
    G, M = per_step_rows, len(meta)
    theta = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    w = dict.fromkeys(tasks, 1.0)
    start_alpha = 1.0 / len(tasks) if alpha_init == "mean" else float(alpha_init)
    states = {}  # phase name -> {parameter name -> momentum}
    largest_first_norm = 0.0  # c: kept for the whole run

    # The plan's lengths are the same in every epoch.
    m = {t: max(1, round(delta_fraction * len(train[t]))) for t in tasks}
    K = {t: math.ceil(m[t] / G) for t in tasks}
    if max_phase_steps is not None:
        K = {t: min(K[t], max_phase_steps) for t in tasks}
    J, k = 0, dict(K)
    if joint_fraction > 0:
        J = round(joint_fraction * sum(K.values()))
        k = {t: max(1, round((1 - joint_fraction) * K[t])) for t in tasks}
    N = J + sum(k.values())

    def rate(epoch, share):
        """Base learning rate at this share of the epoch."""
        return learning_rate * schedule_factor(N * (epoch + share), epochs * N, lr_schedule, warmup_steps)

    def train_step(theta, task, rows, lr, weight, buffers):
        grads = task_gradient(model, theta, task, take(train[task], rows))
        if max_grad_norm > 0:
            grads = clip(grads, max_grad_norm)
        if weight_applies_to == "loss":
            grads = {name: None if g is None else weight * g for name, g in grads.items()}
        else:
            lr = lr * weight
        return sgd_step(theta, grads, buffers, lr, momentum, weight_decay)

    def enter_phase(name):
        """The phase's momentum: its own one of the last epoch, or an empty one."""
        if phase_optimizer_state == "reset":
            states[name] = {}
        return states.setdefault(name, {})

    records = []
    for e in range(epochs):
        # Rows: the stream of a task is its permutation, repeated; step i of the epoch takes rows i·G ... (i+1)·G − 1.
        perm = {t: seeded_permutation(len(train[t]), data_seed, e, t, "rows")[: m[t]] for t in tasks}

        def rows_of(t, i, perm=perm):
            return [perm[t][j % m[t]] for j in range(i * G, (i + 1) * G)]

        # The joint phase.
        counts, order = dict.fromkeys(tasks, 0), []
        if J > 0:
            masses = {
                "proportional": K,
                "uniform": dict.fromkeys(tasks, 1),
                "temperature": {t: K[t] ** (1 / sampling_temperature) for t in tasks},
                "weights": w,
            }[task_sampling]
            counts = joint_counts(J, masses)
            laid_out = [t for t in sorted(tasks) for _ in range(counts[t])]
            order = [laid_out[i] for i in seeded_permutation(J, data_seed, e, "joint")]
            buffers = enter_phase("joint")
            taken = dict.fromkeys(tasks, 0)
            for i, t in enumerate(order):
                weight = 1.0 if task_sampling == "weights" else w[t]
                theta = train_step(theta, t, rows_of(t, taken[t]), rate(e, (J / N) * (i / J)), weight, buffers)
                taken[t] += 1

        # The forks.
        theta0 = theta
        delta = {}
        for t in tasks:
            theta_t = theta0
            if not (weight_applies_to == "loss" and w[t] == 0):
                buffers = enter_phase(f"fork:{t}")
                for i in range(k[t]):
                    lr = rate(e, J / N + (1 - J / N) * (i / k[t]))
                    theta_t = train_step(theta_t, t, rows_of(t, counts[t] + i), lr, w[t], buffers)
            delta[t] = {name: theta_t[name] - theta0[name] for name in theta0}

        # The α steps, with α in the graph.
        b = min(alpha_batch_size, M)
        generator = torch.Generator().manual_seed(derive_seed(data_seed, e, target, "meta"))
        queue = []
        alpha = torch.full((len(tasks),), start_alpha, dtype=torch.float64, requires_grad=True)
        adam = torch.optim.Adam([alpha], lr=alpha_learning_rate, betas=(0.9, 0.999), eps=1e-8)
        batch = take(meta, range(b))  # stands for the last batch where alpha_steps is 0
        alpha_trace, meta_loss, alpha_grads = [], [], []
        for s in range(alpha_steps):
            if b < M:
                if len(queue) < b:
                    queue = torch.randperm(M, generator=generator).tolist()
                batch, queue = take(meta, queue[:b]), queue[b:]
            merged = merge(theta0, delta, dict(zip(tasks, alpha, strict=True)), alpha_applies_to)
            loss = loss_of(model, merged, target, batch)
            (g,) = torch.autograd.grad(loss, [alpha])
            alpha_trace.append(dict(zip(tasks, alpha.tolist(), strict=True)))
            meta_loss.append(loss.item())
            alpha_grads.append(dict(zip(tasks, g.tolist(), strict=True)))
            if alpha_optimizer == "adam":
                alpha.grad = g
                adam.step()
            else:
                if s == 0:
                    largest_first_norm = max(largest_first_norm, float(g.norm()))
                alpha = (alpha - alpha_learning_rate * g / (largest_first_norm or 1.0)).detach().requires_grad_()
        final = dict(zip(tasks, alpha.tolist(), strict=True))
        alpha_trace.append(final)
        with torch.no_grad():
            last = loss_of(model, merge(theta0, delta, final, alpha_applies_to), target, batch)
        meta_loss.append(float(last))

        # The judge.
        at_start = dict.fromkeys(tasks, start_alpha)
        judged = take(meta, range(min(M, 512)))
        with torch.no_grad():
            before, after = (
                float(loss_of(model, merge(theta0, delta, a, alpha_applies_to), target, judged))
                for a in (at_start, final)
            )
        fallback = not math.isfinite(after) or after > before
        chosen = at_start if fallback else final

        # The merge and the weights.
        theta = merge(theta0, delta, chosen, alpha_applies_to)
        used, w = w, {}
        for t in tasks:
            w[t] = max(min_task_weight, used[t] + (chosen[t] / start_alpha - 1))
            if max_task_weight is not None:
                w[t] = min(max_task_weight, w[t])
        if normalize_task_weights:
            mean = sum(w.values()) / len(tasks)
            w = {t: w[t] / mean for t in tasks}

        records.append(
            {
                "theta0": theta0,
                "delta": delta,
                "alpha": chosen,
                "alpha_trace": alpha_trace,
                "alpha_grads": alpha_grads,
                "meta_loss": meta_loss,
                "judge": (before, after),
                "fallback": fallback,
                "theta": theta,
                "task_weights_used": used,
                "task_weights": w,
                "joint_order": order,
                "fork_steps": k,
            }
        )
    return records
