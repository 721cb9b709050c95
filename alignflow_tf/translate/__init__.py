"""Translation of folders of pictures; see docs/translate.md."""
