"""Plotly figures. No torch, no Gradio."""
