"""What a corpus, a training run and its videos cost, before anything is rented."""
