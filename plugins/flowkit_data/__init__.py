"""Datasets: scikit-learn's digits, MNIST-format files, arrays on disk, and two-dimensional toys."""
