"""What a training step is made of: the plan, the draws, the loss, the optimisers, the average, the workers' sum."""
