"""Encoded images to network input, by DALI or Pillow."""
