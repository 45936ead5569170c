"""Random specs, valid and mutated. Mirrors no package: what it holds is that reading, building and running agree.

Each of the two tests runs some 60 examples in the fast suite and FLOWKIT_FUZZ_EXAMPLES of them, 100 by default, in the
slow one, with a fixed seed:

    FLOWKIT_FUZZ_EXAMPLES=10000 pytest tests/fuzz/test_fuzz_valid.py -m slow -s
"""
