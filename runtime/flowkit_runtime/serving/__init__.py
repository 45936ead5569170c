"""Serves bundles over HTTP: `flowkit-runtime serve`.

FastAPI and uvicorn are imported here alone; the rest of the runtime doesn't need them.
"""
