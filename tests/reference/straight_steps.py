"""Training by weighed gradients in straight lines: plain torch, float64, one process, whole vectors.

`straight_steps` walks the steps; a rule turns the tasks' losses into the direction of a step. Rules are written from
the formulas on flattened gradients and by autograd: no inner-product shortcuts, no code of the package.
"""

import math

import torch
from torch.func import functional_call, hessian

from reference.straight_line import derive_seed, loss_of, schedule_factor, seeded_permutation, take


class StraightStep:
    """What a rule may use in one step: θ as leaves, a batch of each task, held-out rows of the target, η."""

    def __init__(self, model, theta, batches, meta_batch, target, lr, number, seed):
        self.model, self.batches, self.meta_batch, self.target = model, batches, meta_batch, target
        self.theta = {name: p.detach().clone().requires_grad_() for name, p in theta.items()}
        self.names, self.lr, self.number, self.seed = list(theta), lr, number, seed
        self.tasks = list(batches)
        self.auxiliaries = self.tasks[1:]

    def loss(self, task, theta=None, batch=None):
        return loss_of(self.model, theta or self.theta, task, batch or self.batches[task])

    def gradient(self, task, theta=None, batch=None):
        """{name: gradient}, zeros where the loss does not reach."""
        theta = theta or self.theta
        return full_gradient(self.loss(task, theta, batch), theta)

    def vector(self, gradient, part="encoder."):
        return torch.cat([gradient[name].flatten() for name in self.names if name.startswith(part)])

    def moved(self, direction, scale):
        return {n: (p.detach() + scale * direction[n]).requires_grad_() for n, p in self.theta.items()}


def full_gradient(loss, theta):
    grads = torch.autograd.grad(loss, list(theta.values()), allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(theta.items(), grads, strict=True)}


def total(gradients, weights):
    """Σ w_t g_t of everything, heads too."""
    names = next(iter(gradients.values()))
    return {n: sum(weights[t] * gradients[t][n] for t in gradients) for n in names}


def with_own_heads(step, gradients, encoder_vector):
    """Encoder from a flat vector; heads follow their own gradients, of which only one is not zero."""
    result, start = {}, 0
    for n in step.names:
        if n.startswith("encoder."):
            size = step.theta[n].numel()
            result[n] = encoder_vector[start : start + size].view_as(step.theta[n])
            start += size
        else:
            result[n] = sum(g[n] for g in gradients.values())
    return result


def straight_steps(
    model, train, meta, target, rule, *, epochs, learning_rate, per_step_rows, data_seed, seed=42, meta_rows=64,
    at_epoch_end=None,
):  # fmt: skip
    """θ and the mean weights of every epoch; `rule(step)` returns (direction, weights)."""
    tasks = [target, *sorted(t for t in train if t != target)]
    steps_of = {t: math.ceil(len(train[t]) / per_step_rows) for t in tasks}
    num_steps = math.ceil(sum(steps_of.values()) / len(tasks))
    theta = {n: p.detach().clone() for n, p in model.named_parameters()}
    records, number = [], 0
    for e in range(epochs):
        perm = {t: seeded_permutation(len(train[t]), data_seed, e, t, "rows") for t in tasks}
        sums = dict.fromkeys(tasks, 0.0)
        for i in range(num_steps):
            rows = {
                t: [perm[t][j % len(perm[t])] for j in range(i * per_step_rows, (i + 1) * per_step_rows)]
                for t in tasks
            }
            drawn = range(len(meta))
            if meta_rows < len(meta):
                drawn = seeded_permutation(len(meta), data_seed, e, i, "meta")[:meta_rows]
            lr = learning_rate * schedule_factor(number, epochs * num_steps, "linear", 0)
            batches = {t: take(train[t], rows[t]) for t in tasks}
            step = StraightStep(
                model, theta, batches, take(meta, drawn), target, lr, number, derive_seed(seed, e, i, "method")
            )
            direction, weights = rule(step)
            theta = {n: theta[n] - lr * direction[n] for n in theta}
            if hasattr(rule, "after"):
                rule.after(step, theta)
            for t in tasks:
                sums[t] += weights[t]
            number += 1
        if hasattr(rule, "end_epoch"):
            rule.end_epoch()
        records.append({"theta": theta, "weights": {t: total / num_steps for t, total in sums.items()}})
    return records


# ---- Rules with a target


def mt_tartan(step):
    weights = dict.fromkeys(step.tasks, 1 / len(step.tasks))
    loss = sum(step.loss(t) for t in step.tasks) / len(step.tasks)
    return full_gradient(loss, step.theta), weights


class MetaTartan:
    def __init__(self, learning_rate, head_steps, head_learning_rate):
        self.lr, self.head_steps, self.head_lr, self.z = learning_rate, head_steps, head_learning_rate, None

    def __call__(self, step):
        self.z = torch.zeros(len(step.tasks), dtype=torch.float64) if self.z is None else self.z
        theta = {n: p.detach().clone().requires_grad_() for n, p in step.theta.items()}
        for _ in range(self.head_steps):
            g = step.gradient(step.target, theta, step.meta_batch)
            theta = {
                n: (
                    p.detach() - (self.head_lr * g[n] if n.startswith(f"heads.{step.target}.") else 0)
                ).requires_grad_()
                for n, p in theta.items()
            }
        dev = step.vector(step.gradient(step.target, theta, step.meta_batch))
        gradients = {t: step.gradient(t) for t in step.tasks}
        for k, t in enumerate(step.tasks):
            self.z[k] += self.lr * torch.cosine_similarity(dev, step.vector(gradients[t]), dim=0, eps=1e-30)
        w = dict(zip(step.tasks, self.z.softmax(0).tolist(), strict=True))
        return total(gradients, w), w


class Arml:
    def __init__(self, interval, learning_rate):
        self.interval, self.lr, self.a = interval, learning_rate, None

    def __call__(self, step):
        gradients = {t: step.gradient(t) for t in step.tasks}
        if self.a is None:
            self.a = torch.ones(len(step.auxiliaries), dtype=torch.float64)
        if step.number % self.interval == self.interval - 1:
            a = self.a.clone().requires_grad_()
            mixed = sum(a[k] * step.vector(gradients[t]) for k, t in enumerate(step.auxiliaries))
            ((step.vector(gradients[step.target]) - mixed) ** 2).sum().backward()
            a = self.a - self.lr * a.grad
            a = a + (len(a) - a.sum()) / len(a)
            self.a = a.clamp(min=0)
        w = {step.target: 1.0, **dict(zip(step.auxiliaries, self.a.tolist(), strict=True))}
        return total(gradients, w), w


def gcs(weighted):
    def rule(step):
        gradients = {t: step.gradient(t) for t in step.tasks}
        vectors = {t: step.vector(g) for t, g in gradients.items()}
        w = {step.target: 1.0}
        for t in step.auxiliaries:
            cosine = float(torch.cosine_similarity(vectors[step.target], vectors[t], dim=0))
            w[t] = max(0.0, cosine) if weighted else float(cosine > 0)
        return with_own_heads(step, gradients, sum(w[t] * vectors[t] for t in step.tasks)), w

    return rule


def target_pcgrad(step):
    gradients = {t: step.gradient(t) for t in step.tasks}
    target = step.vector(gradients[step.target])
    direction, factor = target.clone(), 1.0
    for t in step.auxiliaries:
        g = step.vector(gradients[t])
        conflict = float(g @ target)
        if conflict < 0:
            g = g - conflict / float(target @ target) * target
            factor -= conflict / float(target @ target)
        direction = direction + g
    return with_own_heads(step, gradients, direction), {t: factor if t == step.target else 1.0 for t in step.tasks}


class OlAux:
    def __init__(self, interval, learning_rate):
        self.interval, self.lr, self.w, self.cosines = interval, learning_rate, None, []

    def __call__(self, step):
        gradients = {t: step.gradient(t) for t in step.tasks}
        self.w = dict.fromkeys(step.auxiliaries, 1.0) if self.w is None else self.w
        w = {step.target: 1.0, **self.w}
        target = step.vector(gradients[step.target])
        self.cosines.append(
            {t: float(torch.cosine_similarity(target, step.vector(gradients[t]), dim=0)) for t in step.auxiliaries}
        )
        if len(self.cosines) == self.interval:
            self.w = {t: max(0.0, self.w[t] + self.lr * sum(c[t] for c in self.cosines)) for t in step.auxiliaries}
            self.cosines = []
        return total(gradients, w), w


def hydalearn(step):
    gradients = {t: step.gradient(t) for t in step.tasks}
    before = step.loss(step.target, batch=step.meta_batch).item()
    gains = {
        t: max(0.0, before - step.loss(step.target, step.moved(g, -step.lr), step.meta_batch).item())
        for t, g in gradients.items()
    }
    if not any(gains.values()):
        gains[step.target] = 1.0
    mean = sum(gains.values()) / len(gains)
    w = {t: gain / mean for t, gain in gains.items()}
    return total(gradients, w), w


class AuxiLearn:
    """With the whole Hessian."""

    def __init__(self, interval, learning_rate, momentum, neumann_terms, neumann_learning_rate):
        self.interval, self.lr, self.momentum = interval, learning_rate, momentum
        self.terms, self.eta = neumann_terms, neumann_learning_rate
        self.a, self.velocity = None, None

    def __call__(self, step):
        gradients = {t: step.gradient(t) for t in step.tasks}
        if self.a is None:
            self.a = torch.ones(len(step.auxiliaries), dtype=torch.float64)
        if step.number % self.interval == self.interval - 1:
            shapes = [(n, step.theta[n].shape) for n in step.names]

            def training_loss(flat):
                theta, start = {}, 0
                for n, shape in shapes:
                    theta[n] = flat[start : start + shape.numel()].view(shape)
                    start += shape.numel()
                losses = {
                    t: functional_call(step.model, theta, (t,), dict(step.batches[t]))["loss"] for t in step.tasks
                }
                return losses[step.target] + sum(self.a[k] * losses[t] for k, t in enumerate(step.auxiliaries))

            H = hessian(training_loss)(torch.cat([step.theta[n].detach().flatten() for n in step.names]))
            v = step.vector(step.gradient(step.target, batch=step.meta_batch), part="")
            p = sum(torch.linalg.matrix_power(torch.eye(len(v)) - self.eta * H, j) @ v for j in range(self.terms + 1))
            hyper = torch.stack([-(p @ step.vector(gradients[t], part="")) for t in step.auxiliaries])
            self.velocity = hyper if self.velocity is None else self.momentum * self.velocity + hyper
            self.a = (self.a - self.lr * self.velocity).clamp(min=0)
        w = {step.target: 1.0, **dict(zip(step.auxiliaries, self.a.tolist(), strict=True))}
        return total(gradients, w), w


class AutoLambda:
    """λ in the graph: the held-out loss differentiated through the virtual step."""

    def __init__(self, learning_rate, initial):
        self.lr, self.initial, self.weights, self.adam = learning_rate, initial, None, None

    def __call__(self, step):
        if self.weights is None:
            self.weights = torch.full((len(step.tasks),), self.initial, dtype=torch.float64, requires_grad=True)
            self.adam = torch.optim.Adam([self.weights], lr=self.lr)
        loss = sum(w * step.loss(t) for w, t in zip(self.weights, step.tasks, strict=True))
        inner = torch.autograd.grad(loss, list(step.theta.values()), create_graph=True)
        ahead = {n: p - step.lr * g for (n, p), g in zip(step.theta.items(), inner, strict=True)}
        (self.weights.grad,) = torch.autograd.grad(step.loss(step.target, ahead, step.meta_batch), [self.weights])
        self.adam.step()
        w = dict(zip(step.tasks, self.weights.tolist(), strict=True))
        return total({t: step.gradient(t) for t in step.tasks}, w), w


# ---- Without a target


class GradNorm:
    def __init__(self, asymmetry, learning_rate, layer):
        self.asymmetry, self.lr, self.layer, self.first, self.weights = asymmetry, learning_rate, layer, None, None

    def __call__(self, step):
        if self.weights is None:
            self.weights = torch.ones(len(step.tasks), dtype=torch.float64, requires_grad=True)
            self.adam = torch.optim.Adam([self.weights], lr=self.lr)
            self.first = [step.loss(t).item() for t in step.tasks]
        w = dict(zip(step.tasks, self.weights.tolist(), strict=True))
        gradients = {t: step.gradient(t) for t in step.tasks}
        ratios = torch.tensor([step.loss(t).item() / f for t, f in zip(step.tasks, self.first, strict=True)])
        norms = torch.stack(
            [(x * gradients[t][self.layer]).norm() for x, t in zip(self.weights, step.tasks, strict=True)]
        )
        wanted = (norms.mean() * (ratios / ratios.mean()) ** self.asymmetry).detach()
        self.adam.zero_grad()
        (norms - wanted).abs().sum().backward()
        self.adam.step()
        with torch.no_grad():
            self.weights.clamp_(min=1e-3)
            self.weights *= len(step.tasks) / self.weights.sum()
        return total(gradients, w), w


def by_aggregator(aggregator):
    """A TorchJD aggregator on the whole matrix of the encoder's gradients."""

    def rule(step):
        gradients = {t: step.gradient(t) for t in step.tasks}
        matrix = torch.stack([step.vector(gradients[t]) for t in step.tasks])
        torch.manual_seed(step.seed)
        direction = aggregator(matrix)
        weights = torch.linalg.lstsq(matrix.T, direction[:, None]).solution[:, 0]
        return with_own_heads(step, gradients, direction), dict(zip(step.tasks, weights.tolist(), strict=True))

    return rule


class ByScalarizer:
    """A TorchJD scalarizer on the losses, one backward pass through it."""

    def __init__(self, scalarizer, learning_rate=None):
        self.scalarizer = scalarizer.double()
        own = list(scalarizer.parameters())
        self.adam = torch.optim.Adam(own, lr=learning_rate) if learning_rate is not None else None

    def __call__(self, step):
        losses = torch.stack([step.loss(t) for t in step.tasks])
        losses.retain_grad()
        torch.manual_seed(step.seed)
        if self.adam is not None:
            self.adam.zero_grad()
        self.scalarizer(losses).backward()
        if self.adam is not None:
            self.adam.step()
        direction = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in step.theta.items()}
        return direction, dict(zip(step.tasks, losses.grad.tolist(), strict=True))

    def after(self, step, theta):
        if hasattr(self.scalarizer, "update"):
            with torch.no_grad():
                self.scalarizer.update(torch.stack([step.loss(t, theta) for t in step.tasks]))

    def end_epoch(self):
        if hasattr(self.scalarizer, "step"):
            self.scalarizer.step()
