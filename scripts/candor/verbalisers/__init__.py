"""Verbalisers: what puts a subject's inner state into words, and how much of it the words keep."""
