"""Classify photos, time the networks, and show what an answer rests on."""
