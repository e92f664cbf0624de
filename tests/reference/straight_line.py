"""αVIL in straight lines: plain torch, float64, one process. Written only from the rules, as a reference for tests."""

import math
import zlib
from fractions import Fraction

import torch
from sklearn.model_selection import train_test_split
from torch.func import functional_call


def derive_seed(*parts):
    return zlib.crc32(":".join(str(p) for p in parts).encode("utf-8"))


def seeded_permutation(n, *parts):
    return torch.randperm(n, generator=torch.Generator().manual_seed(derive_seed(*parts))).tolist()


def steps_of_similar_length(rows, lengths, size, generator):
    """Rows in steps of `size`: sorted by length ± 5 % within 32 steps, the last step filled up, steps shuffled."""
    rows = rows + [rows[i % len(rows)] for i in range(-len(rows) % size)]
    noise = torch.rand(len(rows), generator=generator, dtype=torch.float64)
    keyed = [(lengths[row] * (0.95 + 0.1 * float(x)), row) for row, x in zip(rows, noise, strict=True)]
    steps = []
    for start in range(0, len(keyed), 32 * size):
        window = sorted(keyed[start : start + 32 * size], key=lambda pair: pair[0])
        steps += [[row for _, row in window[i : i + size]] for i in range(0, len(window), size)]
    return [row for i in torch.randperm(len(steps), generator=generator).tolist() for row in steps[i]]


def take(dataset, rows):
    """The rows as one batch, {field: stacked tensor}."""
    items = [dataset[row] for row in rows]
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}


def loss_of(model, theta, task, batch):
    return functional_call(model, theta, (task,), dict(batch))["loss"]


def entropy_of(model, theta, task, batch):
    """Mean of −Σ p log p over the rows; the labels stay out of the model."""
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    p = torch.softmax(functional_call(model, theta, (task,), inputs)["logits"], dim=-1)
    return -(p * torch.log(p)).sum(dim=-1).mean()


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


def layer_of(name):
    """`encoder.<number>.*` is the layer <number>; what is not the encoder's is the heads'."""
    return name.split(".")[1] if name.startswith("encoder.") else "(heads)"


def merge(theta0, delta, alpha, alpha_applies_to):
    """θ0 + Σ α_t δ_t; under "encoder" the coefficient is 1 outside `encoder.*`. Differentiable in α.

    α_t is one number, or one by layer.
    """
    merged = {}
    for name, p in theta0.items():
        weighed = alpha_applies_to == "all" or name.startswith("encoder.")
        merged[name] = p
        for t in delta:
            a = alpha[t][layer_of(name)] if weighed and isinstance(alpha[t], dict) else alpha[t]
            merged[name] = merged[name] + (a if weighed else 1.0) * delta[t][name]
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
    phase_lengths="proportional",
    joint_fraction=0.0,
    target_phase="fork",
    merge_deltas=True,
    rounds_per_epoch=1,
    max_auxiliaries_per_epoch=None,
    chosen=None,
    final_target_epochs=0,
    task_sampling="proportional",
    sampling_temperature=1.0,
    max_grad_norm=0.0,
    momentum=0.0,
    weight_decay=0.0,
    phase_optimizer_state="per_task",
    weight_applies_to="loss",
    min_task_weight,
    min_target_weight=None,
    max_task_weight=None,
    max_weight_change=None,
    normalize_task_weights,
    task_weights=(),
    weight_average=0.0,
    prune_below=None,
    prune_patience=2,
    alpha_steps,
    alpha_learning_rate,
    alpha_optimizer="sgd",
    alpha_objective="loss",
    alpha_granularity="task",
    alpha_l1=0.0,
    alpha_l2=0.0,
    alpha_init=1.0,
    alpha_min=-math.inf,
    alpha_max=math.inf,
    alpha_batch_size,
    alpha_acceptance="fit",
    alpha_applies_to="all",
    lr_schedule="constant",
    warmup_steps=0,
    lengths=None,
    data_seed,
):
    """Run αVIL and return one record per epoch. The model itself is not changed: read the last record's "theta".

    `chosen` has the auxiliaries of every epoch, if there may be only a few.
    """
    for value, allowed in [
        (phase_lengths, ("proportional", "equal", "temperature")),
        (target_phase, ("fork", "last", "both")),
        (task_sampling, ("proportional", "uniform", "temperature", "weights")),
        (phase_optimizer_state, ("per_task", "reset")),
        (weight_applies_to, ("loss", "learning_rate")),
        (normalize_task_weights, ("none", "all", "auxiliaries", "target")),
        (alpha_optimizer, ("sgd", "adam")),
        (alpha_objective, ("loss", "entropy")),
        (alpha_granularity, ("task", "layer")),
        (alpha_applies_to, ("all", "encoder")),
        (lr_schedule, ("constant", "linear")),
    ]:
        if value not in allowed:
            raise ValueError(f"{value!r} is none of {allowed}")

    tasks = list(train)
    judged = take(meta, range(min(len(meta), 512)))
    if alpha_acceptance == "held_out":
        classes = [int(meta[i]["labels"]) for i in range(len(meta))]
        fitted, accepted = train_test_split(range(len(meta)), test_size=0.5, random_state=data_seed, stratify=classes)
        judged, meta = take(meta, sorted(accepted)), [meta[i] for i in sorted(fitted)]
    G, M = per_step_rows, len(meta)
    theta = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    start_alpha = 1.0 / len(tasks) if alpha_init == "mean" else float(alpha_init)
    states = {}  # phase name -> {parameter name -> momentum}
    largest_first_norm = 0.0  # c: kept for the whole run
    objective = {"loss": loss_of, "entropy": entropy_of}[alpha_objective]
    weighed = [name for name in theta if alpha_applies_to == "all" or name.startswith("encoder.")]
    layers = list(dict.fromkeys(map(layer_of, weighed))) if alpha_granularity == "layer" else [None]
    pruned, epochs_below = set(), dict.fromkeys(tasks, 0)

    def by_task(alpha):
        """{task: number} or {task: {layer: number}} of a tensor of shape (tasks, layers)."""
        if layers == [None]:
            return {t: row[0] for t, row in zip(tasks, alpha, strict=True)}
        return {t: dict(zip(layers, row, strict=True)) for t, row in zip(tasks, alpha, strict=True)}

    def in_one_number(alpha):
        """Per task, the mean over the encoder's layers."""
        kept = [i for i, layer in enumerate(layers) if layer != "(heads)"]
        return {t: sum(float(row[i]) for i in kept) / len(kept) for t, row in zip(tasks, alpha, strict=True)}

    def longest(counts):
        """The steps of the target and of the longest auxiliaries that an epoch may have."""
        others = sorted(counts[t] for t in tasks if t != target)
        return counts[target] + sum(others[-(max_auxiliaries_per_epoch or len(others)) :])

    # The longest plan's lengths are the same in every epoch.
    m = {t: max(1, round(delta_fraction * len(train[t]))) for t in tasks}
    K = {t: math.ceil(m[t] / G) for t in tasks}
    if max_phase_steps is not None:
        K = {t: min(K[t], max_phase_steps) for t in tasks}
    J, k = 0, dict(K)
    if joint_fraction > 0:
        J = round(joint_fraction * longest(K))
        k = {t: max(1, round((1 - joint_fraction) * K[t])) for t in tasks}
    if phase_lengths != "proportional":
        k = joint_counts(
            sum(k.values()), {t: 1 if phase_lengths == "equal" else K[t] ** (1 / sampling_temperature) for t in tasks}
        )
    if not merge_deltas:
        J = max(1, J)
    N = J + longest(k) + (k[target] if target_phase == "both" else 0)
    E = epochs - final_target_epochs  # epochs of αVIL; those after it train the target alone
    R = rounds_per_epoch

    def normalize(w):
        if normalize_task_weights == "none":
            return w
        of_target, of_others = w[target], sum(w[t] for t in w if t != target)
        if normalize_task_weights == "target":
            new_target, new_others = 1, of_others / of_target
        elif normalize_task_weights == "auxiliaries":
            new_target, new_others = of_target, len(w) - 1
        else:
            new_target = max(min_target_weight or 0, of_target * len(w) / (of_target + of_others))
            new_others = len(w) - new_target
        return {t: new_target if t == target else w[t] * new_others / of_others for t in w}

    w = normalize(dict.fromkeys(tasks, 1.0) | dict(task_weights))

    def rate(epoch, share):
        """Base learning rate at this share of the epoch. Each of the run's two stages has the whole schedule."""
        x = N * (epoch + share)
        if final_target_epochs > 0:
            x = N * epochs * ((epoch + share) / E if epoch < E else (epoch - E + share) / final_target_epochs)
        return learning_rate * schedule_factor(x, epochs * N, lr_schedule, warmup_steps)

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
        perm = {}
        for t in tasks:
            draw = torch.Generator().manual_seed(derive_seed(data_seed, e, t, "rows"))
            perm[t] = torch.randperm(len(train[t]), generator=draw).tolist()[: m[t]]
            if lengths is not None:
                perm[t] = steps_of_similar_length(perm[t], lengths[t], G, draw)

        def rows_of(t, i, perm=perm):
            return [perm[t][j % len(perm[t])] for j in range(i * G, (i + 1) * G)]

        if e >= E:
            buffers = enter_phase("target")
            for i in range(N):
                theta = train_step(theta, target, rows_of(target, i), rate(e, i / N), 1.0, buffers)
            records.append({"theta": theta, "task_weights": w, "alpha": {}})
            continue

        # The joint phase.
        counts, order = dict.fromkeys(tasks, 0), []
        staying = [t for t in tasks if t not in pruned]
        present = [t for t in staying if chosen is None or t == target or t in chosen[e]]
        j = round(joint_fraction * sum(K[t] for t in present))  # at most J
        if not merge_deltas:
            j = max(1, j)
        only_joint = not merge_deltas and e + 1 == E
        if only_joint:
            j += sum(k[t] for t in present)
        if j > 0:
            masses = {
                "proportional": {t: K[t] for t in present},
                "uniform": dict.fromkeys(present, 1),
                "temperature": {t: K[t] ** (1 / sampling_temperature) for t in present},
                "weights": {t: w[t] for t in present},
            }[task_sampling]
            counts |= joint_counts(j, masses)
            laid_out = [t for t in sorted(tasks) for _ in range(counts[t])]
            order = [laid_out[i] for i in seeded_permutation(j, data_seed, e, "joint")]
            buffers = enter_phase("joint")
            taken = dict.fromkeys(tasks, 0)
            for i, t in enumerate(order):
                weight = 1.0 if task_sampling == "weights" else w[t]
                lr = rate(e, (1.0 if only_joint else J / N) * (i / j))
                theta = train_step(theta, t, rows_of(t, taken[t]), lr, weight, buffers)
                taken[t] += 1

        if only_joint:
            records.append({"theta": theta, "task_weights": w, "alpha": {}})
            continue

        taken, alphas_of_rounds = dict(counts), []
        for r in range(R):
            start, end = (J / N + (1 - J / N) * part / R for part in (r, r + 1))
            part_of = {t: (r + 1) * k[t] // R - r * k[t] // R for t in tasks}

            # The forks.
            theta0 = theta
            delta = {}
            for t in tasks:
                theta_t = theta0
                forks = t in present and not (target_phase == "last" and t == target)
                if forks and not (weight_applies_to == "loss" and w[t] == 0):
                    buffers = enter_phase(f"fork:{t}")
                    for i in range(part_of[t]):
                        lr = rate(e, start + (end - start) * (i / part_of[t]))
                        theta_t = train_step(theta_t, t, rows_of(t, taken[t] + i), lr, w[t], buffers)
                    taken[t] += part_of[t]
                delta[t] = {name: theta_t[name] - theta0[name] for name in theta0}

            # The α steps, with α in the graph.
            b = min(alpha_batch_size, M)
            generator = torch.Generator().manual_seed(derive_seed(data_seed, e, target, "meta", *([r] if r else [])))
            queue = []
            alpha = torch.full((len(tasks), len(layers)), start_alpha, dtype=torch.float64, requires_grad=True)
            adam = torch.optim.Adam([alpha], lr=alpha_learning_rate, betas=(0.9, 0.999), eps=1e-8)
            batch = take(meta, range(b))  # serves as the last batch if alpha_steps is 0
            alpha_trace, meta_loss, alpha_grads = [], [], []
            for s in range(alpha_steps):
                if b < M:
                    if len(queue) < b:
                        queue = torch.randperm(M, generator=generator).tolist()
                    batch, queue = take(meta, queue[:b]), queue[b:]
                merged = merge(theta0, delta, by_task(alpha), alpha_applies_to)
                loss = objective(model, merged, target, batch)
                away = alpha - start_alpha
                penalty = (alpha_l1 * away.abs() + alpha_l2 * away**2).mean(dim=1).sum()
                (g,) = torch.autograd.grad(loss + penalty if alpha_optimizer == "adam" else loss, [alpha])
                alpha_trace.append(in_one_number(alpha.detach()))
                meta_loss.append(loss.item())
                alpha_grads.append(dict(zip(tasks, g.sum(dim=1).tolist(), strict=True)))
                if alpha_optimizer == "adam":
                    alpha.grad = g
                    adam.step()
                else:
                    if s == 0:
                        largest_first_norm = max(largest_first_norm, float(g.norm()) / math.sqrt(len(layers)))
                    h = alpha_learning_rate / (largest_first_norm or 1.0)
                    alpha = (alpha - h * g).detach()
                    # The proximal step of the penalty p: the x with x − α + h·p'(x) = 0, or the start if between.
                    l1, l2 = alpha_l1 / len(layers), alpha_l2 / len(layers)
                    above = (alpha - h * (l1 - 2 * l2 * start_alpha)) / (1 + 2 * h * l2)
                    below = (alpha + h * (l1 + 2 * l2 * start_alpha)) / (1 + 2 * h * l2)
                    at_start = torch.full_like(alpha, start_alpha)
                    alpha = torch.where(above > start_alpha, above, torch.where(below < start_alpha, below, at_start))
                    alpha.requires_grad_()
                for value in alpha.data.view(-1):
                    value.fill_(min(max(float(value), alpha_min), alpha_max))
            final = alpha.detach()
            alpha_trace.append(in_one_number(final))
            with torch.no_grad():
                last = objective(model, merge(theta0, delta, by_task(final), alpha_applies_to), target, batch)
            meta_loss.append(float(last))

            # The acceptance test.
            at_start = torch.full_like(final, start_alpha)
            with torch.no_grad():
                before, after = (
                    float(objective(model, merge(theta0, delta, by_task(a), alpha_applies_to), target, judged))
                    for a in (at_start, final)
                )
            fallback = not math.isfinite(after) or after > before
            coefficients = at_start if fallback else final

            # The merge, and the target's phase after it.
            alphas_of_rounds.append(in_one_number(coefficients))
            theta = merge(theta0, delta, by_task(coefficients), alpha_applies_to) if merge_deltas else theta0
            if target_phase != "fork":
                buffers = enter_phase("target")
                for i in range(part_of[target]):
                    lr = rate(e, start + (end - start) * (i / part_of[target]))
                    theta = train_step(theta, target, rows_of(target, taken[target] + i), lr, 1.0, buffers)
                taken[target] += part_of[target]

        # The weights.
        fitted = {t: sum(a[t] for a in alphas_of_rounds) / R for t in tasks if t not in pruned}
        used, w = w, {}
        for t in staying:
            step = fitted[t] / start_alpha - 1
            if max_weight_change is not None and abs(step) > max_weight_change:
                step = math.copysign(max_weight_change, step)
            least = min_target_weight if t == target and min_target_weight is not None else min_task_weight
            w[t] = max(least, used[t] + step)
            if max_task_weight is not None:
                w[t] = min(max_task_weight, w[t])
            w[t] = weight_average * used[t] + (1 - weight_average) * w[t]
        leaving = []
        if prune_below is not None:
            for t in staying:
                epochs_below[t] = epochs_below[t] + 1 if w[t] <= prune_below else 0
                if t != target and epochs_below[t] >= prune_patience:
                    leaving.append(t)
        pruned |= set(leaving)
        staying = [t for t in staying if t not in pruned]
        w = normalize({t: w[t] for t in staying})
        w = {t: 0.0 if t in pruned else w[t] for t in tasks}

        records.append(
            {
                "theta0": theta0,
                "delta": delta,
                "alpha": fitted,
                "alpha_by_layer": {
                    t: dict(zip(layers, row, strict=True))
                    for t, row in zip(tasks, coefficients.tolist(), strict=True)
                    if t in fitted
                },
                "pruned": leaving,
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
