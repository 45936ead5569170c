"""Provides the layers of Glow (Kingma & Dhariwal 2018) and RealNVP (Dinh et al. 2017), for images and vectors."""
