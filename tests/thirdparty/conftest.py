"""What lies here is a distribution of its own: test_thirdparty.py runs its tests where it is installed."""

collect_ignore = ["flowkit-example"]
