"""Which auxiliaries an epoch trains, if it may not train all: those with the greatest upper confidence bounds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, pstdev
from typing import Any

import torch

from ..data.seeding import derive_seed


class AuxiliaryChoice:
    """
    Chooses an epoch's auxiliaries by the upper confidence bounds of their rewards:

        R_t + s · √(2 ln N / n_t)

    R_t is the mean reward of auxiliary t over the n_t epochs that trained it, N is Σ n_t, and s is the standard
    deviation of all rewards so far. An auxiliary that was never trained has an infinite bound, so each is tried once
    before one is tried twice. A random order that depends on (seed, epoch) decides between equal bounds.

    From UCB1-FLAD (Albalak, Raffel, Wang, arXiv 2302.00674): auxiliaries as arms of a bandit, and the bound of UCB1
    (Auer, Cesa-Bianchi, Fischer, 2002), with s = 1. There, the reward is the cosine similarity of the gradients of
    auxiliary and target, R_t is an exponential moving average of it, and each step trains one auxiliary.

    Ours: the reward is what the auxiliary's δ saved the target on held-out rows, in units of its standard error, which
    keeps epochs comparable although contributions shrink with the loss; it is the plain contribution where standard
    errors are not known. Rewards have no fixed range, hence s. A choice is of several auxiliaries, and for an epoch. A
    δ that was not measured, because its phase diverged, has the reward 0.

    Args:
        most (`int`, *optional*): The most auxiliaries of an epoch. `None` chooses all.
        seed (`int`): Seed of the order of equal bounds.
    """

    def __init__(self, most: int | None, seed: int) -> None:
        self.most = most
        self.seed = seed
        self._rewards: dict[str, list[float]] = {}

    def choose(self, auxiliaries: Sequence[str], epoch: int) -> list[str]:
        """
        The auxiliaries that an epoch trains.

        Args:
            auxiliaries (`Sequence[str]`): Those that it may train.
            epoch (`int`): The epoch, from 0.

        Returns:
            `list[str]`: In the order of `auxiliaries`.
        """
        if self.most is None or len(auxiliaries) <= self.most:
            return list(auxiliaries)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, epoch, "auxiliaries"))
        order = torch.randperm(len(auxiliaries), generator=generator).tolist()
        best = sorted(order, key=lambda number: self.bound(auxiliaries[number]), reverse=True)
        return [auxiliaries[number] for number in sorted(best[: self.most])]

    def bound(self, task: str) -> float:
        """`float`: The upper confidence bound of an auxiliary."""
        own = self._rewards.get(task)
        if not own:
            return math.inf
        all_rewards = [reward for of_task in self._rewards.values() for reward in of_task]
        return fmean(own) + pstdev(all_rewards) * math.sqrt(2 * math.log(len(all_rewards)) / len(own))

    def observe(self, chosen: Iterable[str], rounds: Sequence[Mapping[str, Mapping[str, Any]]]) -> None:
        """
        Counts an epoch.

        Args:
            chosen (`Iterable[str]`): The auxiliaries that it trained.
            rounds (`Sequence[Mapping]`): The contributions of every round by task, each with `mean` and
                `standard_error`.
        """
        if self.most is None:
            return
        for task in chosen:
            rewards = [_reward(of_round[task]) for of_round in rounds if task in of_round]
            self._rewards.setdefault(task, []).append(fmean(rewards) if rewards else 0.0)

    def state_dict(self) -> dict[str, Any]:
        """`dict`: The rewards by auxiliary, JSON-serialisable."""
        return {"rewards": {task: list(rewards) for task, rewards in self._rewards.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of [`state_dict`]."""
        self._rewards = {task: list(rewards) for task, rewards in state["rewards"].items()}


def _reward(contribution: Mapping[str, Any]) -> float:
    mean, error = contribution["mean"], contribution["standard_error"]
    reward = mean if error is None else mean / error if error else 0.0
    return reward if math.isfinite(reward) else 0.0
