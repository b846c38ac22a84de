"""Scores of embeddings: the data sets' layouts and the measures. numpy only, so that every room can call it."""
