"""Metrics: point values from scores and labels, their intervals, and the metric table of a task."""
