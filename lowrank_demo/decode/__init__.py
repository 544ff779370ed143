"""Decode image files to network input, with NVIDIA DALI or Pillow."""
