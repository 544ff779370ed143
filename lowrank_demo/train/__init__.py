"""Training: the dense reference, compression, fine-tuning of the factored network (README.md beside this file)."""
