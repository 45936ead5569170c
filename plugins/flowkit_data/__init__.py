"""Provides datasets: scikit-learn's digits, files in MNIST's format, .npy files, and two-dimensional toys."""
