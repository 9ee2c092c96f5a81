"""One module per family of probes, imported by name.

Every family's score is a pooling of per-token projections w·a, plus a bias, so a family is little more than `pool`:

- `FEATURES`: `tokens`; `mean` or `last` where the score is that of the mean activation, or the last token's;
  `log_loss` where no activation is read, but the text's mean log-loss.
- `PROJECTIONS`: how many projections of each token it reads; `projections(probe)` where that is for its config to say.
- `pool(z, mask, probe, width)`: z [n, t, PROJECTIONS, p] float, mask [n, t] bool (real tokens first, at least one in
  each row), the probe's config and the width of the activations; returns scores [n, p], without the bias. The last
  axis holds independent problems (seeds, folds, classes). A shift of the first projection shifts the score by as much,
  and a shift of another one does nothing; `scoring(probe)` where more than the first carry a score.
- `pool_rows(z, texts, probe, width)`, in families that have the gradient of `pool` in closed form: for training, the
  same of rows that lie end to end. z [PROJECTIONS, p, rows]; `texts` says whose they are (probes/texts.py); returns
  scores [p, n] and the function from their gradient [p, n] to that of z. Without it training pads and uses autograd.
- `candidates(features, probe)`, in families whose score is the largest projection among an example's rows, summed over
  its projections: these rows, ragged like the features. Training then need not read the others (probes/reading.py).
- `fit(features, labels, classes, probe)`, in families with a fit of their own: weights [width, c] and biases [c] from
  mean activations [n, width] and class indices [n]; with `SEEDED` true it takes a seed as well, the last argument. The
  others are trained by gradient descent (probes/training.py).
- `score_rows(x, weight)`, in place of `pool` in a family whose score is the mean over rows of a network of two layers:
  scores [rows, p] of rows x [rows, width], without the bias. Its weight is [hidden, width + 2, p]: of each hidden unit
  the weights, its bias, and its weight in the score.
"""
