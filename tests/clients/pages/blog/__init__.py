"""The blog as an application of Django's."""
