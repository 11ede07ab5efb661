"""Where a video comes from, and what may not leave: the mark in its pixels, its signed credentials, the gate."""
