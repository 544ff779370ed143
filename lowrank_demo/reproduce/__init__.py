"""Experiments of the paper that run on one machine, from data to table and figure."""
