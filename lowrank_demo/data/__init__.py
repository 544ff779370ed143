"""Labelled images: ImageNet's classes, image folders, resizing, LMDB files."""
