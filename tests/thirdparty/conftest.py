"""What lies here is a distribution of its own: its tests run where it is installed, see tests/test_thirdparty.py."""

collect_ignore = ["flowkit-example"]
