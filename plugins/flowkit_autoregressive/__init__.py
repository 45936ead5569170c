"""Provides the parts of autoregressive layers: MADE (Germain et al. 2015), and orders of the values of an event."""
