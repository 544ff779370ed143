"""Image files to normalised tensors: NVIDIA DALI on the GPU or the CPU, or Pillow; one result whichever it is."""
