"""Does the text steer? Samples a checkpoint on captions of the controlled world and reads the answers back."""
