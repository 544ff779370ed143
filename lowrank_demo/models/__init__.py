"""What a model is: its layers and cost, its card, and where its weights are. No torch."""
