"""Labelled images: ImageNet's classes, folders of images, resizing, and LMDB files."""
