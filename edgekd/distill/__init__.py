"""Training: from a recipe to a bundle. The loop knows no method by name."""
