"""Measures the program side by side with its limits and its rivals. Ratios are the result, not times."""
