"""Data sets: ImageNet's classes."""
