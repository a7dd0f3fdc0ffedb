# SPDX-License-Identifier: Apache-2.0
"""Fits a router on embedded prompts; scikit-learn's logistic regression, or the domains' means.

What a softmax is divided by (Guo et al., arXiv 1706.04599) and, for the probe, how strong its
penalty is, is chosen on folds that were not fitted, so that the probabilities mean something on
prompts that the router has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.models.routing.fitted import CENTROID, Array, LinearRouter

FOLDS = 5
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # inverse penalties


def fit(kind: str, points: Array, domains: Sequence[str], seed: int) -> LinearRouter:
    """The router of these prompts.

    Args:
        kind: `CENTROID` or ``probe``.
        points: [prompts, hidden].
        domains: of each prompt.
        seed: of the folds.
    """
    from sklearn.model_selection import StratifiedKFold

    labels = tuple(dict.fromkeys(domains))
    wanted = np.array([labels.index(domain) for domain in domains])
    fewest = int(np.bincount(wanted).min())
    folds = StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=seed)
    parts = list(folds.split(points, wanted))
    best: tuple[float, float, float] | None = None
    for strength in STRENGTHS if kind != CENTROID else (1.0,):
        logits = np.zeros((len(points), len(labels)))
        for learned, tried in parts:
            made = _fit(kind, points[learned], wanted[learned], labels, strength)
            logits[tried] = made.logits(points[tried])
        temperature, loss = _temperature(logits, wanted)
        if best is None or loss < best[0]:
            best = loss, strength, temperature
    assert best is not None
    _, strength, temperature = best
    made = _fit(kind, points, wanted, labels, strength)
    return LinearRouter(**{**vars(made), "temperature": temperature})


def _fit(
    kind: str, points: Array, wanted: Array, labels: tuple[str, ...], strength: float
) -> LinearRouter:
    points = points.astype(np.float64)
    shift = points.mean(0)
    scale = points.std(0)
    scale[scale == 0] = 1.0
    moved = (points - shift) / scale
    if kind == CENTROID:
        moved = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
        weight = np.stack([moved[wanted == number].mean(0) for number in range(len(labels))])
        weight = weight / np.maximum(np.linalg.norm(weight, axis=1, keepdims=True), 1e-12)
        return LinearRouter(kind, labels, shift, scale, weight, np.zeros(len(labels)))
    from sklearn.linear_model import LogisticRegression

    probe = LogisticRegression(C=strength, max_iter=2000).fit(moved, wanted)
    weight, bias = probe.coef_, probe.intercept_
    if len(labels) == 2:  # one row there, the second class's
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return LinearRouter(kind, labels, shift, scale, weight, bias)


def _temperature(logits: Array, wanted: Array) -> tuple[float, float]:
    """What the logits are best divided by, and the mean log loss with it."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def loss(log_temperature: float) -> float:
        told = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-told[np.arange(len(wanted)), wanted].mean())

    found: Any = minimize_scalar(loss, bounds=(-6.0, 6.0), method="bounded")
    return float(np.exp(found.x)), float(found.fun)
