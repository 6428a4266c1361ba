"""The pure centre: the upper triangle's geometry and values. Imports nothing else of the engine."""
