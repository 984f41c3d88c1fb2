"""The code of errands, which runs in a process of its own; it imports neither pytest nor NumPy.

``import_time`` and ``import_effects`` look at what importing a plugin costs and changes,
``detection`` calls ``sagellm_detect_devices`` under watch.
"""
