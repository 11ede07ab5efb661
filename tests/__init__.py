"""A package of its own: packages on the index ship another ``tests``, which would be found first."""
