"""What the page, the API and the command line share: models in memory, photos, validations, limits."""
