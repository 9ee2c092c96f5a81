"""Figures: what they are drawn from, how they look, one module per plot in plots/, and how they are saved."""
