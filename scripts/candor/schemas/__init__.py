"""Contracts of the tables, one module each; base.py says what a contract is."""
