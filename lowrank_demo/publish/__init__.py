"""Write models in other formats, and upload models and the app to the Hugging Face Hub."""
