"""The four pipelines, as the programs that ``create-embedding`` writes.

Each is a module with ``SETTINGS`` and ``main(words, settings)``. A written program is a copy of
it with other settings; a written YAML file is the settings alone.
"""
