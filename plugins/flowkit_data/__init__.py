"""Provides datasets of files, of scikit-learn, and simulated ones.

Files are tables, folders of images, MNIST's format and .npy. Of scikit-learn there are digits, breast_cancer and
diabetes. Simulated are two-dimensional toys, and draws of normal distributions with their parameters.
"""
