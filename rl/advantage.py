"""From a group's rewards to its advantages. A function of your own will do: float [G] -> float [G]."""

from __future__ import annotations

import numpy as np


def group_normalized(rewards: np.ndarray, *, epsilon: float = 0.05) -> np.ndarray:
    """A_i = (r_i - mean(r)) / (std(r) + epsilon), with the population's standard deviation.

    GRPO (Shao et al., 2024, arXiv:2402.03300, section 4.1.2). An epsilon that is not tiny keeps a group
    with one right answer in eight from weighing three times as much as an even one.

    Args:
      rewards: float [G], of the members that were scored.
      epsilon: in units of reward.

    Returns:
      Advantages, float [G]. They sum to zero; all zero where the rewards are equal.
    """
    return group_centered(rewards) / (rewards.std() + epsilon)


def group_centered(rewards: np.ndarray) -> np.ndarray:
    """A_i = r_i - mean(r), which does not overweight problems that are nearly always or never solved.

    Dr. GRPO (Liu et al., 2025, arXiv:2503.20783, section 3.2).

    Args:
      rewards: float [G], of the members that were scored.

    Returns:
      Advantages, float [G]. They sum to zero; all zero where the rewards are equal.
    """
    if (rewards == rewards[0]).all():  # Their mean may differ from them by rounding: (0.1 + 0.1 + 0.1) / 3 > 0.1.
        return np.zeros_like(rewards)
    return rewards - rewards.mean()
