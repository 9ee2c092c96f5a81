"""One module per family of probes, imported by name.

Every family's score is a pooling of per-token projections w·a, plus a bias, so a family is little more than `pool`:

- `FEATURES`: `tokens`, or `mean` where the score depends on the mean activation alone.
- `PROJECTIONS`: how many projections of each token it reads.
- `pool(z, mask, probe, width)`: z [n, t, PROJECTIONS, p] float, mask [n, t] bool (real tokens first, at least one in
  each row), the probe's config and the width of the activations; returns scores [n, p], without the bias. The last
  axis holds independent problems (seeds, folds, classes).
- `fit(features, labels, weights, probe)`, in families with a closed form: see probes/closed_form.py.
"""
