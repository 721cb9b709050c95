"""SavedModels of translators and domains, for TF Serving and other runtimes."""
