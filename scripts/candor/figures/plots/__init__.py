"""One module per plot, each with draw(); imported by name. What each reads: READS in config/figures.py."""
