"""DIW, probed mixtures, ForkMerge and STILTs in straight lines: torch, float64, one process, SGD, linear schedule.

Written only from the rules, as a reference for tests. Models are not changed. Every function returns one record per
epoch.
"""

import math

import torch

from reference.straight_line import (
    joint_counts,
    loss_of,
    schedule_factor,
    seeded_permutation,
    sgd_step,
    take,
    task_gradient,
)


class Run:
    """The data of a run, and its plain steps."""

    def __init__(self, model, train, meta, target, *, epochs, learning_rate, rows_per_step, data_seed, warmup_steps=0,
                 start=()):  # fmt: skip
        self.model, self.train, self.meta, self.target = model, train, meta, target
        self.epochs, self.learning_rate, self.G = epochs, learning_rate, rows_per_step
        self.seed, self.warmup, self.start = data_seed, warmup_steps, start
        self.theta = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
        self.K = {t: math.ceil(len(rows) / rows_per_step) for t, rows in train.items()}
        self.N = sum(self.K.values())
        self.auxiliaries = [t for t in train if t != target]

    def begin_epoch(self, e):
        """Rows: a task's permutation, repeated, of which every step of the task in the epoch takes the next G."""
        self.e, self.taken = e, dict.fromkeys(self.train, 0)
        self.rows = {t: seeded_permutation(len(self.train[t]), self.seed, e, t, "rows") for t in self.train}

    def walk(self, theta, order, positions, weight=None):
        """One step per task of `order`, at the places of the schedule given."""
        for t, position in zip(order, positions, strict=True):
            rows = [self.rows[t][j % len(self.rows[t])] for j in range(self.taken[t], self.taken[t] + self.G)]
            self.taken[t] += self.G
            lr = self.learning_rate * schedule_factor(position, self.epochs * self.N, "linear", self.warmup)
            gradient = task_gradient(self.model, theta, t, take(self.train[t], rows))
            theta = sgd_step(theta, gradient, {}, lr * (1.0 if weight is None else weight[t]), 0.0, 0.0)
        return theta

    def schedule_range(self, start, end, n):
        """n places from `start` to `end`, which are counted in epochs."""
        return [self.N * (start + (end - start) * i / n) for i in range(n)]

    def mixed(self, n, masses, name):
        counts = joint_counts(n, masses)
        laid_out = [t for t in sorted(counts) for _ in range(counts[t])]
        return [laid_out[i] for i in seeded_permutation(n, self.seed, self.e, name)]

    def meta_batch(self):
        return take(self.meta, range(min(512, len(self.meta))))

    def meta_loss(self, theta):
        with torch.no_grad():
            return float(loss_of(self.model, theta, self.target, self.meta_batch()))


def plus(theta, *deltas):
    return {name: p + sum(delta[name] for delta in deltas) for name, p in theta.items()}


def probing(run, probe_steps, mix, weighted, new_weights):
    """The joint phase, the probes from its end, new weights by `new_weights(w, θ0, {task: δ})`."""
    w, records = dict.fromkeys(run.train, 1.0) | dict(run.start), []
    w = {t: w[t] * len(w) / sum(w.values()) for t in w}
    J = run.N - sum(probe_steps.values())
    assert J > 0
    for e in range(run.epochs):
        run.begin_epoch(e)
        is_last = e == run.epochs - 1
        n = run.N if is_last else J
        masses = {t: mass for t, mass in mix(w).items() if w[t] > 0}
        order = run.mixed(n, masses, "joint")
        run.theta = run.walk(run.theta, order, run.schedule_range(e, e + n / run.N, n), w if weighted else None)
        deltas = {}
        for t, k in {} if is_last else probe_steps.items():
            probed = run.walk(run.theta, [t] * k, run.schedule_range(e + J / run.N, e + 1, k))
            deltas[t] = {name: probed[name] - p for name, p in run.theta.items()}
        used = w
        if not is_last:
            w = new_weights(w, run.theta, deltas)
        records.append(
            {
                "theta": run.theta,
                "deltas": deltas,
                "task_weights_used": used,
                "task_weights": w,
                "meta_loss": [run.meta_loss(run.theta)],
            }
        )
    return records


def straight_line_diw(run, *, probe_fraction, rate, by_weights=False):
    unit = []

    def new_weights(w, theta, deltas):
        unit.append(run.meta_loss(theta))
        base = run.meta_loss(plus(theta, deltas[run.target]))
        new = {run.target: w[run.target]}
        for t in run.auxiliaries:
            effect = run.meta_loss(plus(theta, deltas[run.target], deltas[t])) - base
            new[t] = max(0.0, w[t] - rate * effect / unit[0])
        return {t: new[t] * len(w) / sum(new.values()) for t in w}

    steps = {t: max(1, round(probe_fraction * k)) for t, k in run.K.items()}
    return probing(run, steps, (lambda w: w) if by_weights else (lambda w: run.K), not by_weights, new_weights)


def straight_line_probed_mixture(run, *, probe_fraction, rate):
    largest = [0.0]
    k = max(1, int(probe_fraction * run.N / len(run.K)))

    def new_weights(w, theta, deltas):
        slopes = {t: (run.meta_loss(plus(theta, delta)) - run.meta_loss(theta)) / k for t, delta in deltas.items()}
        largest[0] = max(largest[0], *map(abs, slopes.values()))
        mixture = {t: w[t] / len(w) * math.exp(-rate * slopes[t] / largest[0]) for t in w}
        return {t: len(w) * p / sum(mixture.values()) for t, p in mixture.items()}

    return probing(run, dict.fromkeys(run.K, k), lambda w: w, False, new_weights)


def straight_line_forkmerge(run, *, branches, score):
    """`score(θ)` is the target's, the greater the better."""
    records, E = [], run.epochs
    run.begin_epoch(0)
    forks = {f"(with {t})": (t,) for t in run.auxiliaries}
    ranked = {}
    for name, n in joint_counts(run.N, dict.fromkeys(forks, 1)).items():
        (t,) = forks[name]
        order = run.mixed(n, {run.target: 1, t: 1}, name)
        ranked[t] = score(run.walk(run.theta, order, run.schedule_range(0, E, n)))
    ranking = sorted(run.auxiliaries, key=lambda t: -ranked[t])
    ones = dict.fromkeys(run.train, 1.0)
    records.append({"theta": run.theta, "task_weights": ones, "ranking": ranking, "ranking_scores": ranked})
    numbers = sorted({min(k, len(ranking)) for k in branches})
    for e in range(1, E):
        run.begin_epoch(e)
        ends, shares = {}, {}
        for name, n in joint_counts(run.N, {f"(branch {k})": 1 for k in numbers}).items():
            k = int(name[len("(branch ") : -1])
            # The target weighs 1, each of the k best auxiliaries 1/k: in whole numbers, for the counts.
            masses = {run.target: max(k, 1)} | dict.fromkeys(ranking[:k], 1)
            order = run.mixed(n, masses, name)
            begin, end = E * (e - 1) / (E - 1), E * e / (E - 1)
            ends[name] = run.walk(run.theta, order, run.schedule_range(begin, end, n))
            shares[name] = {t: mass / sum(masses.values()) for t, mass in masses.items()}
        scores = {name: score(theta) for name, theta in ends.items()}
        order = sorted(ends, key=lambda name: (-scores[name], list(ends).index(name)))

        def merged(coefficients, ends=ends):
            total = sum(coefficients.values())
            return {key: sum(c * ends[name][key] for name, c in coefficients.items()) / total for key in run.theta}

        found = {order[0]: 1.0}
        for i, name in enumerate(order[1:], start=1):
            tried = [a * sum(found.values()) / (i + 1) for a in (0, 0.2, 0.4, 0.6, 0.8, 1)]
            values = [score(merged({**found, name: c})) for c in tried]
            found[name] = tried[values.index(max(values))]
        run.theta = merged(found)
        total = sum(found.values())
        weights = {t: len(run.train) * sum(found[b] / total * shares[b].get(t, 0) for b in found) for t in run.train}
        records.append(
            {
                "theta": run.theta,
                "task_weights": weights,
                "branch_scores": scores,
                "merge_coefficients": found,
                "score": score(run.theta),
            }
        )
    return records


def straight_line_stilts(run, *, intermediate):
    records = []
    for e in range(run.epochs):
        run.begin_epoch(e)
        first, length = (0, intermediate) if e < intermediate else (intermediate, run.epochs - intermediate)
        begin, end = (run.epochs * (x - first) / length for x in (e, e + 1))
        order = (
            run.mixed(run.N, {t: run.K[t] for t in run.auxiliaries}, "joint")
            if e < intermediate
            else [run.target] * run.N
        )
        run.theta = run.walk(run.theta, order, run.schedule_range(begin, end, run.N))
        used = {t: float((t in run.auxiliaries) == (e < intermediate)) for t in run.train}
        records.append({"theta": run.theta, "task_weights_used": used})
    return records
