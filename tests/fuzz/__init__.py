"""Random specs, valid and mutated. Mirrors no package: what it holds is that reading, building and running agree.

The same ones each time: some 60 in the fast suite, 100 in the slow one, many in `make nightly`. How far it is:

    FLOWKIT_NIGHTLY=1 pytest tests/fuzz/test_fuzz_valid.py -m slow -s
"""
