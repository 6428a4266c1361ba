"""The page of `engine.report`: one HTML file for all decades, whole without a network."""
