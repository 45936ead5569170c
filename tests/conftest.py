"""One thread a process: the suite runs in several, and torch's threads, waiting for each other, would starve them."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; subprocesses inherit it

import torch

torch.set_num_threads(1)
