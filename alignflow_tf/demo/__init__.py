"""A page in the browser to try out a trained model."""
