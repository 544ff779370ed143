"""Models in other formats, and folders for the Hugging Face Hub."""
