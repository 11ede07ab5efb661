"""The diffusion transformer: clips of any shape in one packed sequence, Wan's mathematics."""
