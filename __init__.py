"""ClusterRay: hand it a folder, get the picture back.

The version, and nothing else yet: the public face (``submit``, ``map``, ``Client``) is handed on lazily from here as it comes.
"""

__version__ = "0.1.0"
