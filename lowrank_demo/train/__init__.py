"""Learning the ranks: reference training, the learning-compression algorithm, fine-tuning."""
