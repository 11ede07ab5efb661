"""Rectified flow: noise and target, solvers, guidance, and which tokens are given."""
