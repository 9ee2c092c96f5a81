"""One module per family of probes, imported by name.

Every family's score is a pooling of per-token projections w·a, plus a bias, so a family is little more than `pool`:

- `FEATURES`: `tokens`; `mean` or `last` where the score is that of the mean activation, or the last token's.
- `PROJECTIONS`: how many projections of each token it reads.
- `pool(z, mask, probe, width)`: z [n, t, PROJECTIONS, p] float, mask [n, t] bool (real tokens first, at least one in
  each row), the probe's config and the width of the activations; returns scores [n, p], without the bias. The last
  axis holds independent problems (seeds, folds, classes).
- `fit(features, labels, classes, probe)`, in families with a fit of their own: weights [width, c] and biases [c] from
  mean activations [n, width] and class indices [n]. The others are trained by gradient descent (probes/training.py).
"""
